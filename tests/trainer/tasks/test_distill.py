"""Distillation: the teacher and the truth teach, what was known is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from training import FAST, Noisy, scene, veiled

from models.veil import MAP_INPUT, Veil
from trainer.feed.pairs import Views
from trainer.fit.task import Batch
from trainer.tasks.distill import SCALE, DistillTask, Frames, repaired, smaller


class One:
    """One pair."""

    def __len__(self) -> int:
        return 1

    def views(self, index: int) -> Views:
        clear = scene(1, 180, 320)
        return Views(veiled(clear), clear, np.full((180, 320), 255, np.uint8))


def batch() -> Batch:
    frames = [Frames(One()).sample(0, np.random.default_rng(n)) for n in range(2)]
    return torch.utils.data.default_collate(frames)  # type: ignore[no-any-return]


def task(share: float = 0.6, teacher: nn.Module | None = None) -> DistillTask:
    torch.manual_seed(5)
    return DistillTask(Veil(widths=(8, 8, 16, 16)), teacher or nn.Identity(), FAST, share=share)


def test_a_sample_is_a_whole_view_at_twice_the_size_of_veils() -> None:
    source = Frames(One())
    given = source.sample(0, np.random.default_rng(0))
    size = (3, SCALE * MAP_INPUT[0], SCALE * MAP_INPUT[1])
    assert given["input"].shape == given["target"].shape == given["reference"].shape == size
    known = {float(source.sample(0, np.random.default_rng(n))["known"]) for n in range(20)}
    assert known == {0.0, 1.0}
    assert smaller(torch.rand(1, *size)).shape[-2:] == MAP_INPUT


def test_the_teacher_counts_by_its_share() -> None:
    given = batch()
    costs = {s: task(s).cost("net", given) for s in (0.0, 0.5, 1.0)}
    for share, cost in costs.items():
        parts = cost.parts
        want = share * parts["taught"] + (1 - share) * parts["true"] + parts["kept"]
        assert float(cost.loss.detach()) == pytest.approx(float(want), rel=1e-5)
    assert costs[0.0].parts["taught"] != costs[0.0].parts["true"]


def test_what_was_known_of_kinds_is_kept() -> None:
    made, given = task(), batch()
    made.nets["net"].eval()
    assert float(made.cost("net", given).parts["kept"]) < 1e-9
    net = made.nets["net"]
    assert isinstance(net, Veil)
    with torch.no_grad():
        last = net.detect[2]
        assert isinstance(last, nn.Linear)
        last.bias.add_(1.0)
    assert float(made.cost("net", given).parts["kept"]) > 1e-3


def test_only_the_student_learns() -> None:
    made, given = task(teacher=Noisy(0.0)), batch()
    made.cost("net", given).loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for n in ("teacher", "before") for p in made.nets[n].parameters())
    assert any(p.grad is not None for p in made.nets["net"].parameters())
    rows = made.pictures(made.nets["net"].eval(), {k: v.float() / 255 for k, v in given.items()})
    assert rows.shape[-1] == 4 * SCALE * MAP_INPUT[1]


def test_veil_repairs_a_picture_of_any_size() -> None:
    net = Veil(widths=(8, 8, 16, 16)).eval()
    assert repaired(net, torch.rand(1, 3, 100, 180)).shape == (1, 3, 100, 180)
