"""SelfSVD's turns: what each net pays for, and where SelfSVD*'s truth comes from."""

from __future__ import annotations

import torch
from torch import nn

from models.selfsvd import SelfSVD
from trainer.fit.task import Adam, Batch
from trainer.tasks.critic import Critic
from trainer.tasks.video import REGULAR, VideoTask

FAST = Adam(learning_rate=1e-3)


def still(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(source[:, :2])


def task(star: bool = False) -> VideoTask:
    torch.manual_seed(3)
    net = SelfSVD(8, 1, flow=still)
    nn.init.normal_(net.zero_conv.weight, 0, 0.3)
    return VideoTask(net, Critic(4), maker=FAST, judge=FAST, star=star, flow=still)


def batch() -> Batch:
    g = torch.Generator().manual_seed(1)
    return {
        "input": torch.rand(1, 2, 3, 48, 48, generator=g),
        "reference": torch.rand(1, 3, 48, 48, generator=g),
        "mask": torch.zeros(1, 2, 1, 12, 12),
    }


def test_the_net_pays_for_pixels_the_critic_and_the_reference() -> None:
    cost = task().cost("net", batch())
    parts = cost.parts
    want = parts["l1"] + parts["convinced"] + REGULAR * parts["reference"]
    assert torch.allclose(cost.loss, want) and all(v > 0 for v in parts.values())
    assert cost.left["made"].shape == (2, 3, 48, 48) and not cost.left["made"].requires_grad


def test_the_critic_tells_the_clear_frame_from_what_is_made() -> None:
    made = task()
    given = batch()
    given.update(made.cost("net", given).left)
    cost = made.cost("critic", given)
    cost.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in made.nets["critic"].parameters())
    assert all(p.grad is None for p in made.nets["net"].parameters())
    assert torch.equal(given["truth"], given["reference"])


def test_the_truth_of_the_second_stage_is_what_the_first_makes_of_the_reference() -> None:
    star, given = task(star=True), batch()
    truth = star.cost("net", given).left["truth"]
    teacher = star.nets["teacher"]
    open_ = torch.zeros(1, 1, 1, 12, 12)
    with torch.no_grad():
        want = teacher(given["reference"][:, None], given["reference"], open_)[:, 0].clamp(0, 1)
    assert torch.equal(truth, want) and not torch.equal(truth, given["reference"])
    assert not any("teacher" in turn.trains for turn in star.turns)
    assert all(
        p is not q for p, q in zip(teacher.parameters(), star.nets["net"].parameters(), strict=True)
    )


def test_pictures_show_the_last_frame() -> None:
    made, given = task(), batch()
    rows = made.pictures(made.nets["net"], given)
    assert rows.shape == (1, 3, 48, 144) and torch.equal(rows[..., :48], given["input"][:, -1])
