"""Generic pairs: `input/` and `gt/` (or `hazy/` and `clear/`), also under train/ and test/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer.datasets.item import SPLITS, Found, Item, Split, child, matched

SIDES = (("input", "gt"), ("hazy", "clear"))


class PairFolders:
    """Reads the layout."""

    name = "pairs"
    about = "input/ and gt/ (or hazy/ and clear/), also under train/ and test/"

    def recognise(self, folder: Path) -> Path | None:
        return folder if any(True for _ in _places(folder)) else None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        for split, degraded_folder, clear_folder in _places(root):
            for name, degraded, clear in matched(found, degraded_folder, clear_folder):
                found.items.append(
                    Item(
                        name=name if split == "all" else f"{split}/{name}",
                        scene=degraded.stem,
                        split=split,
                        degraded=degraded,
                        clear=clear,
                    )
                )
        return found


def _places(root: Path) -> Iterator[tuple[Split, Path, Path]]:
    """Where one side is there (a missing partner is reported by `matched`)."""
    halves: list[tuple[Split, Path]] = [("all", root), *((s, root / s) for s in SPLITS)]
    for split, place in halves:
        for left, right in SIDES:
            degraded, clear = child(place, left), child(place, right)
            if degraded is not None and (clear is not None or left == "input"):
                yield split, degraded, clear or place / right
            elif degraded is None and clear is not None and right == "gt":
                yield split, place / left, clear
