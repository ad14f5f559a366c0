"""Puts the accepted candidates into SurgClean's layout; nothing is decoded for that.

The data set is built beside its place and exchanged whole, by hard links where the disk has them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trainer.curate.decisions import Row
from trainer.datasets.surgclean import FINE, FINE_NAMES, MAIN, SPLASHES, TASKS

NAME = "dataset"
LISTING = "made-by-curate.txt"


def apply(out: Path, rows: Sequence[Row]) -> int:
    """Makes out/dataset what the rows say; returns how many pairs it holds.

    Raises ValueError where a candidate's picture is gone, FileExistsError where the folder holds
    files that curate did not put there.
    """
    place, beside = out / NAME, out / f".{NAME}.part"
    if place.exists():
        _only_ours(place)
    if beside.exists():
        shutil.rmtree(beside)
    for folder in _folders():
        (beside / folder).mkdir(parents=True)
    made = []
    accepted = [row for row in rows if row.verdict == "accept"]
    for row in accepted:
        for side in ("input", "gt"):
            source = out / getattr(row, side)
            if not source.is_file():
                raise ValueError(f"{row.id}: {source} is gone; curate the video again")
            for target in _targets(row, side):
                (beside / target).parent.mkdir(parents=True, exist_ok=True)
                _link(source, beside / target)
                made.append(target.as_posix())
    (beside / LISTING).write_text("".join(f"{name}\n" for name in sorted(made)))
    if place.exists():
        shutil.rmtree(place)
    beside.replace(place)
    return len(accepted)


def _folders() -> Iterator[Path]:
    """All that the layout has, so that an empty one is no missing one."""
    for task, kind in TASKS.items():
        for side in ("input", "gt"):
            for split in ("train", "test"):
                yield Path(MAIN, task, split, side)
            grades = SPLASHES if kind == "splash" else [f"Level-{n}" for n in range(1, 5)]
            for grade in grades:
                yield Path(FINE, FINE_NAMES[kind][0], *_inner(kind), side, grade)


def _inner(kind: str) -> tuple[str, ...]:
    return () if kind == "splash" else ("test",)


def _targets(row: Row, side: str) -> Iterator[Path]:
    task, kind = next((t, k) for t, k in TASKS.items() if k == row.kind)
    name = f"{row.id}.png"
    yield Path(MAIN, task, row.split, side, name)
    if row.split != "test":
        return
    grade = f"Level-{row.level}"
    if kind == "splash":
        grade = next((g for g, splash in SPLASHES.items() if splash == row.splash_type), "")
    if grade:
        yield Path(FINE, FINE_NAMES[kind][0], *_inner(kind), side, grade, name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _only_ours(place: Path) -> None:
    listing = place / LISTING
    ours: Iterable[str] = listing.read_text().splitlines() if listing.is_file() else ()
    known = {*ours, LISTING}
    for path in place.rglob("*"):
        name = path.relative_to(place).as_posix()
        if path.is_file() and name not in known:
            raise FileExistsError(f"{path} was not put there by curate: move it away first")
