"""Decisions to SurgClean's layout, which the reader of SurgClean finds sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trees

from trainer import dataset
from trainer.curate.decisions import Row
from trainer.curate.layout import apply
from trainer.datasets.surgclean import FINE

BASE = Row(
    id="x", verdict="accept", kind="smoke", level="2", splash_type="", split="train", reason="",
    case="c", video="v.mp4", start_s="1", clear_s="1", frame_s="1", end_s="1", covered="0",
    agreement="1", input="candidates/1.png", gt="candidates/2.png",
)  # fmt: skip


def rows(out: Path) -> list[Row]:
    made = []
    for n, (kind, split) in enumerate(
        (k, s) for k in ("smoke", "fog", "splash") for s in ("train", "test")
    ):
        sides = [f"candidates/{n}{side}.png" for side in ("in", "gt")]
        for s, side in enumerate(sides):
            trees.picture(out / side, 10 * n + s)
        made.append(
            replace(
                BASE,
                id=f"r{n}",
                kind=kind,
                split=split,
                input=sides[0],
                gt=sides[1],
                splash_type="fluid" if kind == "splash" else "",
            )  # fmt: skip
        )
    return made


def test_what_is_accepted_reads_back(tmp_path: Path) -> None:
    made = rows(tmp_path)
    assert apply(tmp_path, [*made, replace(BASE, id="no", verdict="reject", input="gone")]) == 6
    report = dataset.check(tmp_path / "dataset")
    assert report.sound and report.found.dataset == "surgclean", report.problems
    assert report.counts["test", "smoke", "level 2"] == 1
    assert report.counts["test", "splash", "fluid"] == 1
    assert report.counts["train", "fog", "-"] == 1
    # no second copy on the disk
    for path in (tmp_path / "dataset").rglob("r1.png"):
        assert path.stat().st_nlink == 3  # candidate, main, level


def test_applying_again_follows_the_edit(tmp_path: Path) -> None:
    made = rows(tmp_path)
    apply(tmp_path, made)
    edited = [
        replace(made[0], verdict="reject"), replace(made[1], level="4", kind="fog"), *made[2:],
    ]  # fmt: skip
    assert apply(tmp_path, edited) == 5
    names = {p.relative_to(tmp_path / "dataset").as_posix()
             for p in (tmp_path / "dataset").rglob("r[01].png")}  # fmt: skip
    level = f"{FINE}/Defog_Level/test"
    assert names == {f"{level}/{side}/Level-4/r1.png" for side in ("input", "gt")} | {
        f"SurgClean Dataset/Defog/test/{side}/r1.png" for side in ("input", "gt")
    }


def test_nothing_of_a_person_is_removed(tmp_path: Path) -> None:
    made = rows(tmp_path)
    apply(tmp_path, made)
    mine = tmp_path / "dataset" / "SurgClean Dataset" / "Defog" / "train" / "input" / "mine.png"
    trees.picture(mine, 1)
    with pytest.raises(FileExistsError, match=r"mine\.png"):
        apply(tmp_path, made)
    assert mine.exists()


def test_a_picture_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    made = rows(tmp_path)
    apply(tmp_path, made)
    (tmp_path / made[0].input).unlink()
    with pytest.raises(ValueError, match="r0: .* is gone"):
        apply(tmp_path, made)
    assert dataset.check(tmp_path / "dataset").sound
