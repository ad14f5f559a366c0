"""Unpaired training: greyness, darkness, cycles."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from training import FAST

from trainer.fit.task import Batch
from trainer.tasks.critic import Critic
from trainer.tasks.unpaired import UnpairedTask, alike, darkness


class Shift(nn.Module):
    """Adds a constant."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


def batch() -> Batch:
    g = torch.Generator().manual_seed(1)
    return {n: torch.rand(1, 3, 48, 48, generator=g) for n in ("input", "target")}


def test_smoke_is_grey_and_bright() -> None:
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 0.8
    smoke = 0.5 * red + 0.4
    assert alike(smoke) > alike(red) and darkness(smoke) > darkness(red) == 0
    assert abs(float(alike(red)) - 0.2) < 1e-6 and abs(float(darkness(smoke)) - 0.4) < 1e-6


def test_makers_that_undo_each_other_pay_for_no_cycle() -> None:
    critics = (Critic(4), Critic(4))
    even = UnpairedTask(Shift(-0.2), Shift(0.2), critics, FAST).cost("makers", batch())
    odd = UnpairedTask(Shift(-0.2), Shift(0.1), critics, FAST).cost("makers", batch())
    assert float(even.parts["cycle"]) < 1e-5 < float(odd.parts["cycle"])
    assert abs(float(even.parts["same"]) - 5 * 0.4) < 1e-4
    assert torch.allclose(even.loss, torch.stack(list(even.parts.values())).sum())


def test_critics_move_no_maker() -> None:
    task = UnpairedTask(Shift(-0.2), Shift(0.1), (Critic(4), Critic(4)), FAST)
    given = batch()
    given.update(task.cost("makers", given).left)
    task.cost("critics", given).loss.backward()  # type: ignore[no-untyped-call]
    assert task.nets["net"].get_parameter("by").grad is None
    assert all(p.grad is not None for p in task.nets["smoke critic"].parameters())
