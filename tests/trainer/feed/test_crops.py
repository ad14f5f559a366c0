"""Crops: both sides of a pair alike, every part of a picture, any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training import scene

from trainer.feed.crops import Crops, Window, at_least, covering, unit
from trainer.feed.pairs import Views
from trainer.pixels import Pixels


class One:
    """One pair whose sides differ by a constant."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return 1

    def views(self, index: int) -> Views:
        mask = (self._pixels[..., 0] > 100).astype(np.uint8) * 255
        return Views(self._pixels, self._pixels + 1, mask)


def test_both_sides_and_the_mask_are_cut_alike() -> None:
    crops = Crops(One(scene(1)), (32, 32))
    seen = set()
    for n in range(30):
        batch = crops.sample(0, np.random.default_rng(n))
        assert batch["input"].shape == (3, 32, 32) and batch["mask"].shape == (1, 32, 32)
        assert torch.equal(batch["input"] + 1, batch["target"])
        assert torch.equal(batch["mask"][0] > 0, batch["input"][0] > 100)
        seen.add(batch["input"].numpy().tobytes())
    assert len(seen) == 30


def test_a_window_reaches_each_edge_and_lies_in_all_eight_ways() -> None:
    shape = (40, 50)
    drawn = [Window.draw(np.random.default_rng(n), shape, (32, 32)) for n in range(300)]
    assert {w.y for w in drawn} == set(range(9)) and {w.x for w in drawn} == set(range(19))
    assert len({(w.flip_x, w.flip_y, w.turn) for w in drawn}) == 8
    oblong = [Window.draw(np.random.default_rng(n), shape, (16, 32)) for n in range(50)]
    assert not any(w.turn for w in oblong)


def test_a_small_picture_is_enlarged() -> None:
    assert at_least(scene(1, 20, 90), (32, 32)).shape == (32, 144, 3)
    assert at_least(scene(1, 40, 40), (32, 32)).shape == (40, 40, 3)


def test_a_share_of_the_windows_shows_the_whole_view() -> None:
    left = np.zeros((64, 64, 3), np.uint8)
    left[:, 32:] = 200  # half dark, half bright: a detail rarely shows as much of both
    halves = []
    for whole in (0.0, 1.0):
        crops = Crops(One(left), (16, 16), whole)
        drawn = [crops.sample(0, np.random.default_rng(n))["input"] for n in range(40)]
        halves.append(np.mean([abs(float((d > 100).float().mean()) - 0.5) < 0.05 for d in drawn]))
    assert halves[0] < 0.5 and halves[1] == 1.0
    assert covering(scene(1, 90, 40), (32, 32)).shape == (72, 32, 3)


def test_bytes_become_shares() -> None:
    assert unit(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0, 1]
    kept = torch.tensor([0.25])
    assert unit(kept) is kept


def test_crops_come_from_files_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a readable picture"):
        (tmp_path / "x.png").write_bytes(b"no")
        from trainer.feed.pairs import Kept, Shot

        Kept([Shot("", tmp_path / "x.png", tmp_path / "x.png")])
