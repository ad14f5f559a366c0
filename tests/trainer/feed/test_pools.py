"""Pools: the published layouts, and draws that pair nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training import scene, veiled, write

from trainer.feed.data import read
from trainer.feed.pools import Pools, pools


def test_cases_with_hazy_and_clear(tmp_path: Path) -> None:
    for case in ("a", "b"):
        for n in range(2):
            write(tmp_path / case / "hazy" / f"{n}.png", veiled(scene(n)))
            write(tmp_path / case / "clear" / f"{n}.png", scene(n))
    degraded, clear = pools(read(tmp_path))
    assert len(degraded) == len(clear) == 4
    source = Pools(degraded, clear, 32)
    drawn = [source.sample(0, np.random.default_rng(n)) for n in range(20)]
    assert all(d["input"].shape == d["target"].shape == (3, 32, 32) for d in drawn)
    assert len({d["target"].numpy().tobytes() for d in drawn}) == 20
    assert not any(torch.equal(d["input"], d["target"]) for d in drawn)


def test_half_a_pool_is_none(tmp_path: Path) -> None:
    write(tmp_path / "hazy" / "a.png", scene(1))
    with pytest.raises(ValueError, match="hazy/ and clear/"):
        pools(read(tmp_path))
    write(tmp_path / "case" / "hazy" / "a.png", scene(1))
    with pytest.raises(ValueError, match="holds no clear picture"):
        pools(read(tmp_path))
