"""DesmokeData (Xia et al., MICCAI 2024): real smoky frames with motion-tracked clear ones.

Layout: `images/dataset/{N}.png` smoky, `{N}_gt.png` clear, `images/paired_images.csv`. The two
editions (961 pairs; 3,000 of 2025) have the same names; neither states cases or a split.
"""

from __future__ import annotations

import csv
from pathlib import Path

from trainer.datasets.item import Found, Item, child, pictures, strangers

LISTING = "paired_images.csv"
EDITIONS = {961: "961 pairs (2024)", 3000: "3,000 pairs (2025)"}


class DesmokeData:
    """Reads the layout."""

    name = "desmokedata"
    about = "DesmokeData: images/dataset/{N}.png with {N}_gt.png"

    def recognise(self, folder: Path) -> Path | None:
        places = [folder / "images" / "dataset", folder / "dataset", folder]
        places += [p / "images" / "dataset" for p in (child(folder, "DesmokeData-main"),) if p]
        return next((p for p in places if _numbered(p)), None)

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        by_name = {p.name: p for p in pictures(root)}
        for path in strangers(root):
            found.wrong(path, "is not a picture")
        for name, path in by_name.items():
            if path.stem.endswith("_gt"):
                if path.stem.removesuffix("_gt") + path.suffix not in by_name:
                    found.wrong(path, "has no smoky picture")
                continue
            if not path.stem.isdigit():
                found.wrong(path, "is neither {N} nor {N}_gt")
                continue
            clear = by_name.get(f"{path.stem}_gt{path.suffix}")
            if clear is None:
                found.wrong(path, "has no clear picture (_gt)")
                continue
            found.items.append(
                Item(
                    name=name,
                    scene=_scene(int(path.stem)),
                    degraded=path,
                    clear=clear,
                    kind="smoke",
                )
            )
        _compare(found, root, set(by_name))
        found.variant = EDITIONS.get(len(found.items), "")
        found.notes.append(
            "no cases are named: neighbours of 50 numbers count as one scene, so that frames of "
            "one take do not fall on both sides of a split"
        )
        return found


def _scene(number: int) -> str:
    return f"block{number // 50:03d}"


def _numbered(place: Path) -> bool:
    names = {p.name for p in pictures(place)}
    return any(
        Path(name).stem.isdigit() and f"{Path(name).stem}_gt{Path(name).suffix}" in names
        for name in names
    )


def _compare(found: Found, root: Path, names: set[str]) -> None:
    """Holds the publishers' list of pairs against the folder."""
    listing = next((p for p in (root / LISTING, root.parent / LISTING) if p.is_file()), None)
    if listing is None:
        found.notes.append(f"no {LISTING}: pairs are told by their names")
        return
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found.wrong(listing, f"cannot be read ({error})")
        return
    listed = {Path(cell).name for row in rows for cell in row if Path(cell).suffix}
    for name in sorted(listed - names):
        found.wrong(listing, f"names {name}, which is not there")
    unlisted = len(names - listed)
    if unlisted:
        found.notes.append(f"{unlisted} pictures are not in {LISTING}")
