"""Data: what each layout gives to training and keeps aside; kinds, damaged files, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trees

from trainer import dataset
from trainer.feed.clips import clips
from trainer.feed.data import Data, Need, kinds_of, read
from trainer.feed.pairs import shots
from trainer.feed.pools import pools

Make = Callable[[Path], Path]


def desmokedata(root: Path) -> Path:
    return trees.desmokedata(root, 160)  # the last eleven are of a block that is kept aside


@pytest.mark.parametrize(
    ("make", "train", "aside"),
    [
        (trees.surgclean, 6, 12),
        (trees.lsvd, 10, 10),
        (trees.see_through_smoke, 10, 6),
        (desmokedata, 149, 11),
        (trees.scenes, 6, 6),
        (trees.pair_halves, 2, 2),
    ],
)
def test_published_halves_are_kept_and_no_scene_is_split(
    tmp_path: Path, make: Make, train: int, aside: int
) -> None:
    data = read(make(tmp_path))
    halves = shots(data)
    assert [len(h) for h in halves] == [train, aside]
    items = {i.degraded: i for i in data.items if i.paired}
    assert {items[s.degraded].split for s in halves[0]} <= {"train", "all"}
    assert {items[s.degraded].split for s in halves[1]} <= {"test", "val", "all"}
    if data.found.dataset not in ("lsvd", "pairs"):  # their publishers use names twice
        assert not {s.group for s in halves[0]} & {s.group for s in halves[1]}


def test_val_is_kept_aside_before_test(tmp_path: Path) -> None:
    _, aside = shots(read(trees.pair_halves(tmp_path)))
    assert {s.degraded.parent.parent.name for s in aside} == {"val"}


@pytest.mark.parametrize(
    ("make", "offers"),
    [
        (trees.surgclean, ("pairs", "pools")),
        (trees.lsvd, ("pairs", "clips", "pools")),
        (trees.scenes, ("pairs", "clips", "pools", "scenes")),
        (trees.clip_folders, ("clips",)),
        (trees.desmoke_lap, ("pools",)),
        (desmokedata, ("pairs", "pools")),
    ],
)
def test_what_a_layout_offers(tmp_path: Path, make: Make, offers: tuple[Need, ...]) -> None:
    data = read(make(tmp_path))
    assert data.offers == offers
    for need in {"pairs", "clips", "pools", "scenes"} - set(offers):
        with pytest.raises(ValueError, match="nothing to train on"):
            data.halves(need)  # type: ignore[arg-type]


def test_one_side_alone_is_no_pool(tmp_path: Path) -> None:
    trees.picture(tmp_path / "case" / "hazy" / "1.png", 1)
    data = read(tmp_path)
    assert data.offers == ()
    with pytest.raises(ValueError, match="no clear picture"):
        pools(data)


def test_one_kind_alone(tmp_path: Path) -> None:
    data = read(trees.surgclean(tmp_path), kinds=kinds_of("smoke"))
    names = [str(s.degraded) for half in shots(data) for s in half]
    assert len(names) == 6 and all("/Desmoke/" in n for n in names)
    assert len(shots(read(tmp_path, kinds=kinds_of("fog, splash")))[0]) == 4
    assert "smoke only: 2 items to train on, 4 kept aside" in data.lines("pairs")[0]


def test_kinds_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no fog, only smoke"):
        read(desmokedata(tmp_path / "a"), kinds=("fog",))
    with pytest.raises(ValueError, match="does not say the kinds"):
        read(trees.pair_folders(tmp_path / "b"), kinds=("smoke",))
    with pytest.raises(ValueError, match="not 'mist'"):
        kinds_of("smoke,mist")
    with pytest.raises(ValueError, match="takes smoke"):
        kinds_of("")


def test_clear_pictures_stay_whatever_the_kind(tmp_path: Path) -> None:
    data = read(trees.desmoke_lap(tmp_path), kinds=("smoke",))
    assert [len(side) for side in pools(data)] == [4, 4]


def checked(root: Path, out: Path) -> Path:
    out.write_text(dataset.check(root).as_json())
    return out


def test_what_a_check_found_damaged_is_left_out(tmp_path: Path) -> None:
    root = trees.surgclean(tmp_path / "data")
    next(root.rglob("Desmoke/train/gt/a0.png")).write_bytes(b"nothing")
    report = checked(root, tmp_path / "check.json")
    assert len(shots(read(root))[0]) == 6
    assert len(shots(read(root, without=report))[0]) == 5
    moved = root.rename(tmp_path / "elsewhere")
    assert len(shots(read(moved, without=report))[0]) == 5


def test_files_that_a_check_left_out_are_told(tmp_path: Path) -> None:
    root = trees.scenes(tmp_path / "data")
    bad = root / "clean" / "cam__P1_clean_1.jpg", root / "pairs" / "scene01" / "smoky_002.jpg"
    for path in bad:
        path.write_bytes(b"nothing")
    assert not read(root).left_out
    assert read(root, without=checked(root, tmp_path / "check.json")).left_out == set(bad)


def test_a_check_of_something_else_is_refused(tmp_path: Path) -> None:
    report = checked(trees.surgclean(tmp_path / "a"), tmp_path / "check.json")
    with pytest.raises(ValueError, match="is a check of surgclean"):
        read(trees.lsvd(tmp_path / "b"), without=report)
    report.write_text("[]")
    with pytest.raises(ValueError, match="no report"):
        read(tmp_path / "a", without=report)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "a", without=tmp_path / "absent.json")


def test_a_damaged_frame_cuts_its_clip(tmp_path: Path) -> None:
    root = trees.lsvd(tmp_path / "data")
    (whole,) = clips(read(root), 4)[0]
    assert len(whole.frames) == len([m for m in whole.masks if m]) == 10
    (root / "LSVD_train" / "clip 1" / "5.png").write_bytes(b"nothing")
    parts, _ = clips(read(root, without=checked(root, tmp_path / "check.json")), 4)
    assert [[f.stem for f in p.frames] for p in parts] == [
        ["1", "2", "3", "4"], ["6", "7", "8", "9", "10"]]  # fmt: skip
    assert {p.clear.stem for p in parts} == {"0"}


def test_unpaired_recipes_never_see_what_is_kept_for_testing(tmp_path: Path) -> None:
    for make in (trees.surgclean, trees.see_through_smoke, trees.scenes):
        data = read(make(tmp_path / make.__name__))
        held = {i.clear for i in data.items if i.split == "test"}
        degraded, clear = pools(data)
        assert degraded and clear and held and not held & set(clear)
        assert not {i.degraded for i in data.items if i.split == "test"} & set(degraded)


def test_the_test_half_alone_is_not_trained_on(tmp_path: Path) -> None:
    data = read(trees.surgclean(tmp_path))
    only = Data(data.found, tuple(i for i in data.items if i.split == "test"))
    with pytest.raises(ValueError, match="only what is kept for testing"):
        shots(only)


def test_one_scene_that_falls_aside_is_trained_on(tmp_path: Path) -> None:
    from trainer.feed.data import _kept_aside

    name = next(f"case{c}" for c in "abcdefghijklmnop" if _kept_aside(f"case{c}"))
    for side in ("input", "gt"):
        trees.picture(tmp_path / side / f"{name}_1.png", len(side))
    assert [len(half) for half in shots(read(tmp_path))] == [1, 0]


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    root = trees.surgclean(tmp_path)
    next(root.rglob("Defog/train/gt/a0.png")).unlink()
    lines = read(root).lines("pairs")
    assert lines[0] == "surgclean: 5 items to train on, 12 kept aside"
    assert "1 problems, the first" in lines[1] and "dataset check" in lines[1]
    assert "first frame" in read(trees.clip_folders(tmp_path / "c")).lines("clips")[1]
