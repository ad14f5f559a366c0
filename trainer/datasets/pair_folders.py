"""Generic pairs: `input/` and `gt/` (or `hazy/` and `clear/`, `smoky/` and `clean/`).

They may lie in the folder itself, in one folder a case, or under train/, val/ and test/. The last
two names are also used for sides that belong to no pair: where no file name is in both, none is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from trainer.datasets.item import Found, Item, Split, child, folders, matched, pictures

SIDES = (("input", "gt"), ("hazy", "clear"), ("smoky", "clean"))
HALVES: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


class PairFolders:
    """Reads the layout."""

    name = "pairs"
    about = (
        "input/ and gt/ (or hazy/ and clear/, smoky/ and clean/), also under train/, val/, test/"
    )

    def recognise(self, folder: Path) -> Path | None:
        return folder if any(True for _ in _places(folder)) else None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        for place, split, left, right in _places(root):
            under = "" if place == root else f"{place.name}/"
            case = place.name if split == "all" and under else ""
            if left.name.lower() != "input" and not _shared(left, right):
                found.variant = "unpaired"
                for side, path in _alone(left, right):
                    scene = case or scene_of(path)
                    name = f"{under}{path.parent.name}/{path.name}"
                    degraded, clear = (path, None) if side == 0 else (None, path)
                    found.items.append(
                        Item(name=name, scene=scene, split=split, degraded=degraded, clear=clear)
                    )
                continue
            for name, degraded, clear in matched(found, left, right):
                found.items.append(
                    Item(
                        name=under + name,
                        scene=case or scene_of(degraded),
                        split=split,
                        degraded=degraded,
                        clear=clear,
                    )
                )
        return found


def scene_of(path: Path) -> str:
    """A name up to its last number: frames of one video differ in that alone."""
    return re.sub(r"[_-]?\d+$", "", path.stem) or path.stem


def _places(root: Path) -> Iterator[tuple[Path, Split, Path, Path]]:
    """Where one side is there (a missing partner is reported by `matched`): the folder, its half,
    its degraded and its clear side."""
    halves = {child(root, name): split for name, split in HALVES.items()}
    # plain order, not natural: training numbers its samples by it
    cases = [p for p in sorted(folders(root)) if p not in halves]
    for place in (root, *filter(None, halves), *cases):
        split: Split = halves.get(place, "all")
        for left, right in SIDES:
            degraded, clear = child(place, left), child(place, right)
            if degraded is not None and (clear is not None or left == "input"):
                yield place, split, degraded, clear or place / right
            elif degraded is None and clear is not None and right == "gt":
                yield place, split, place / left, clear


def _shared(left: Path, right: Path) -> bool:
    return bool({p.stem for p in pictures(left)} & {p.stem for p in pictures(right)})


def _alone(left: Path, right: Path) -> Iterator[tuple[int, Path]]:
    for side, folder in enumerate((left, right)):
        for path in sorted(pictures(folder)):
            yield side, path
