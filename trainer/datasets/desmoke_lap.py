"""Desmoke-LAP (Pan et al., IJCARS 2022): unpaired hazy and clear frames of ten hysterectomies.

Layout: `Dataset/<case>/{hazy,clear}/*.png`; 300 and 300 a case, one frame a second. The two sides
have nothing to do with each other: file names that agree are an accident.
"""

from __future__ import annotations

from pathlib import Path

from trainer.datasets.item import Found, Item, child, folders, pictures, strangers

SIDES = ("hazy", "clear")
PER_SIDE = 300


class DesmokeLap:
    """Reads the layout."""

    name = "desmoke-lap"
    about = "Desmoke-LAP: <case>/{hazy,clear}/*.png, unpaired"

    def recognise(self, folder: Path) -> Path | None:
        for root in (folder, child(folder, "Dataset")):
            if root is not None and any(_case(p) for p in folders(root)):
                return root
        return None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root, variant="unpaired")
        for case in folders(root):
            if not _case(case):
                found.notes.append(f"{case.name}/ holds neither hazy/ nor clear/: left out")
                continue
            for side in SIDES:
                place = case / side
                if not place.is_dir():
                    found.wrong(place, "the folder is missing")
                    continue
                for path in strangers(place):
                    found.wrong(path, "is not a picture")
                files = pictures(place)
                if len(files) != PER_SIDE:
                    found.notes.append(f"{case.name}/{side}: {len(files)}, published {PER_SIDE}")
                for path in files:
                    found.items.append(
                        Item(
                            name=f"{case.name}/{side}/{path.name}",
                            scene=case.name,
                            degraded=path if side == "hazy" else None,
                            clear=path if side == "clear" else None,
                            kind="smoke" if side == "hazy" else None,
                        )
                    )
        return found


def _case(folder: Path) -> bool:
    """train/ and test/ over hazy/ and clear/ are pairs of another publisher."""
    if folder.name.lower() in ("train", "test", "val"):
        return False
    return any((folder / side).is_dir() for side in SIDES)
