"""The comparison with a plain loop: both are run, the figures are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training import Noisy, data

from trainer.feed.data import read
from trainer.feed.pairs import shots
from trainer.fit.bench import Rates, compare
from trainer.fit.launch import launch


def test_both_ways_are_timed(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    train, _ = shots(read(data(tmp_path / "data") / "pairs"))
    rates = compare(
        lambda: Noisy(0.0),
        train,
        launch("bf16-mixed"),
        side=32,
        batch=2,
        rounds=1,
        steps=2,
        workers=0,
    )
    assert rates.plain_s > 0 and rates.ours_s > 0 and rates.steps == 2
    assert len(rates.lines()) == 4


def test_the_ratio_is_of_wall_time() -> None:
    rates = Rates(2.0, 0.5, 1.0, 1.0, 4, 32, 9, 0.0, "cpu", "")
    assert rates.ratio == pytest.approx(4.0) and "4.00 times" in rates.lines()[-1]
