"""Supervised restoration: masks, alignment at each step, the anchor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training import FAST, scene

import models
from trainer.fit.checkpoint import save_weights
from trainer.fit.task import Batch
from trainer.pixels import unit
from trainer.tasks.restore import Restore, RestoreTask


class Same(nn.Module):
    """The identity, with a weight so that there is something to train."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


def batch(shift: int = 0) -> Batch:
    clear = scene(2, 96, 96)
    moved = np.roll(clear, shift, 1)
    x, y = (torch.from_numpy(unit(p)).permute(2, 0, 1)[None] for p in (moved, clear))
    return {"input": x, "target": y, "mask": torch.ones(1, 1, 96, 96)}


def test_what_is_masked_costs_nothing() -> None:
    task = RestoreTask(Same(), FAST)
    given = batch()
    given["target"] = given["target"].clone()
    given["target"][..., :48] = 0
    dear = float(task.cost("net", given).loss.detach())
    given["mask"] = given["mask"].clone()
    given["mask"][..., :48] = 0
    assert dear > 0.1 and float(task.cost("net", given).loss.detach()) == 0


def test_alignment_at_each_step_forgives_a_movement() -> None:
    given = batch(5)
    plain = float(RestoreTask(Same(), FAST).cost("net", given).loss.detach())
    aligned = RestoreTask(Same(), FAST, alignment="output").cost("net", given)
    assert float(aligned.loss.detach()) < 0.4 * plain
    aligned.loss.backward()  # type: ignore[no-untyped-call]
    assert aligned.parts["l1"].item() == pytest.approx(float(aligned.loss.detach()))


def test_the_anchor_costs_the_way_from_the_start() -> None:
    net = Same()
    task = RestoreTask(net, FAST, anchor=2.0)
    assert float(task.cost("net", batch()).parts["way"]) == 0
    before = float(task.cost("net", batch()).loss.detach())
    with torch.no_grad():
        net.gain.add_(0.1)
    cost = task.cost("net", batch())
    assert float(cost.parts["way"]) == pytest.approx(0.01, rel=1e-3)
    assert float(cost.loss.detach()) == pytest.approx(
        before + float(cost.parts["l1"]) + 0.02, rel=1e-3
    )


def test_pictures_stand_side_by_side() -> None:
    rows = RestoreTask(Same(), FAST).pictures(Same(), batch())
    assert rows.shape == (1, 3, 96, 288)


def test_a_run_may_start_from_a_checkpoint(tmp_path: Path) -> None:
    begun = models.RESTORERS["ramit"].build()
    save_weights(tmp_path / "begun.safetensors", begun, {})
    job = Restore(net="ramit", size=64, optimiser=FAST)
    fresh = job.build().nets["net"].state_dict()
    again = replace(job, start=str(tmp_path / "begun.safetensors")).build().nets["net"].state_dict()
    assert all(torch.equal(again[key], value) for key, value in begun.state_dict().items())
    assert any(not torch.equal(fresh[key], value) for key, value in begun.state_dict().items())
