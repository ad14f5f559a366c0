"""SeeThroughSmoke (Intuitive, arXiv 2603.25867, 2026): real da Vinci pairs by organ.

Layout: `{train,test}/<organ>/{GT,smoke}/`, pairs by equal name, and metadata.csv. The organs of
training (liver_kidney, small_Intestine, large_intestine, unknown, uterus) and test (brain, heart,
stomach) differ, and their spelling is as irregular as written here.
"""

from __future__ import annotations

import csv
from pathlib import Path

from trainer.datasets.item import SPLITS, Found, Item, child, folders, matched

ORGANS = {
    "train": ("liver_kidney", "small_Intestine", "large_intestine", "unknown", "uterus"),
    "test": ("brain", "heart", "stomach"),
}


class SeeThroughSmoke:
    """Reads the layout."""

    name = "see-through-smoke"
    about = "SeeThroughSmoke: {train,test}/<organ>/{GT,smoke}/"

    def recognise(self, folder: Path) -> Path | None:
        for root in (folder, *folders(folder)):
            for split in SPLITS:
                if any(child(o, "GT") and child(o, "smoke") for o in folders(root / split)):
                    return root
        return None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        for split in SPLITS:
            if not (root / split).is_dir():
                found.wrong(root / split, "the folder is missing")
                continue
            for organ in ORGANS[split]:
                if child(root / split, organ) is None:
                    found.wrong(root / split / organ, "the folder is missing")
            for place in folders(root / split):
                clear, smoky = child(place, "GT"), child(place, "smoke")
                found_pairs = matched(found, smoky or place / "smoke", clear or place / "GT")
                for name, degraded, truth in found_pairs:
                    found.items.append(
                        Item(
                            name=f"{split}/{place.name}/{name}",
                            scene=place.name.lower(),
                            split=split,
                            degraded=degraded,
                            clear=truth,
                            kind="smoke",
                        )
                    )
        _note_metadata(found, root)
        return found


def _note_metadata(found: Found, root: Path) -> None:
    path = root / "metadata.csv"
    if not path.is_file():
        found.wrong(path, "is missing")
        return
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = sum(1 for _ in csv.reader(file)) - 1
    if rows != len(found.items):
        found.notes.append(f"metadata.csv has {rows} rows for {len(found.items)} pairs")
