"""Pairs found, kept aside, held in memory; nothing left out in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training import data, scene, veiled, write

from trainer.feed.data import read
from trainer.feed.pairs import UNSURE, Kept, Shot, shots


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data(tmp_path_factory.mktemp("pairs") / "data")


def test_what_a_folder_keeps_aside_is_not_trained_on(root: Path) -> None:
    train, aside = shots(read(root / "pairs"))
    assert len(train) == len(aside) == 6
    assert all(
        "train" in str(s.degraded) and "test" in str(a.clear)
        for s, a in zip(train, aside, strict=True)
    )
    assert [s.group for s in train] == [f"case{n}" for n in range(6)]


def test_samples_are_numbered_by_plain_names(tmp_path: Path) -> None:
    """A run that goes on after an update must see the samples that it would have seen."""
    for name in ("b_10", "b_9", "a_1"):
        for part in ("input", "gt"):
            write(tmp_path / "train" / part / f"{name}.png", scene(1, 16, 16))
            write(tmp_path / "test" / part / f"{name}.png", scene(1, 16, 16))
    for half in shots(read(tmp_path)):
        assert [s.degraded.stem for s in half] == ["a_1", "b_10", "b_9"]


def test_a_flat_folder_keeps_whole_groups_aside(tmp_path: Path) -> None:
    for n in range(40):
        for frame in range(2):
            for part in ("input", "gt"):
                write(tmp_path / part / f"video{n}_{frame}.png", scene(n, 16, 16))
    train, aside = shots(read(tmp_path))
    assert train and aside and len(train) + len(aside) == 80
    assert not {s.group for s in train} & {s.group for s in aside}


def test_scenes_of_pairs_csv(tmp_path: Path) -> None:
    rows = ["scene,smoky,clear,ncc"]
    for number in (1, 6, 9):
        folder = f"scene{number:02d}"
        rows.append(f"{number},{folder}/smoky_1.jpg,{folder}/clear_0.jpg,0.9")
        write(tmp_path / "pairs" / folder / "smoky_1.jpg", scene(1, 16, 16))
        write(tmp_path / "pairs" / folder / "clear_0.jpg", scene(2, 16, 16))
    (tmp_path / "pairs" / "pairs.csv").write_text("\n".join(rows) + "\n")
    train, aside = shots(read(tmp_path))
    groups = [s.group for s in train], [s.group for s in aside]
    assert groups == (["scene1"], ["scene6", "scene9"])


def test_a_picture_without_a_partner_is_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path / "input" / "a.png", scene(1))
    write(tmp_path / "input" / "b.png", scene(2))
    write(tmp_path / "gt" / "b.png", scene(3))
    found = read(tmp_path)
    assert [s.degraded.name for half in shots(found) for s in half] == ["b.png"]
    assert "a.png: has no picture of its name in gt/" in found.lines("pairs")[-1]


def test_pictures_beyond_the_budget_are_decoded_when_wanted(root: Path) -> None:
    train, _ = shots(read(root / "pairs"))
    held, fresh = Kept(train), Kept(train, budget_mib=0)
    assert len(held._held) == 6 and not fresh._held
    for n in range(6):
        for a, b in zip(held.views(n), fresh.views(n), strict=True):
            assert np.array_equal(a, b)


def test_alignment_moves_the_clear_picture_and_masks(tmp_path: Path) -> None:
    clear = scene(3, 96, 128)
    write(tmp_path / "gt" / "a.png", clear)
    write(tmp_path / "input" / "a.png", veiled(np.roll(clear, 4, 1), 0.3))
    shot = Shot("a", tmp_path / "input" / "a.png", tmp_path / "gt" / "a.png")
    plain, moved = Kept([shot]).views(0), Kept([shot], aligned=True).views(0)
    assert (plain.mask == 255).all() and set(np.unique(moved.mask)) == {0, UNSURE, 255}
    trusted = moved.mask == 255
    want = np.roll(clear, 4, 1).astype(int)
    before = np.abs(plain.clear - want)[trusted].mean()
    after = np.abs(moved.clear - want)[trusted].mean()
    assert trusted.mean() > 0.5 and after < 0.4 * before


def test_a_clear_picture_of_another_size_is_fitted(tmp_path: Path) -> None:
    write(tmp_path / "i.png", scene(1, 32, 48))
    write(tmp_path / "g.png", scene(1, 64, 96))
    views = Kept([Shot("", tmp_path / "i.png", tmp_path / "g.png")]).views(0)
    assert views.clear.shape == views.degraded.shape == (32, 48, 3)
