"""LSVD (Wu et al., SelfSVD, ECCV 2024): real clips whose first frame is the pre-smoke frame.

Layout: `LSVD_train/<clip>/*.png`, `LSVD_train_mask/<clip>/`, `LSVD_test/`, `LSVD_test_mask/`,
`LSVD_test_pro/`; files sort by the number in their name, number 0 in that order is the clear
frame, the others are smoky. A mask (a quarter of the size) is white where the clear frame
does not fit. Some pictures of the release are damaged.
"""

from __future__ import annotations

from pathlib import Path

from trainer.datasets.item import SPLITS, Found, Item, child, folders, led, pictures

PARTS = ("LSVD_train", "LSVD_train_mask", "LSVD_test", "LSVD_test_mask", "LSVD_test_pro")


class Lsvd:
    """Reads the layout."""

    name = "lsvd"
    about = "LSVD: LSVD_{train,test}/<clip>/*.png, the first frame clear"

    def recognise(self, folder: Path) -> Path | None:
        for root in (folder, *folders(folder)):
            if any(child(root, part) for part in ("LSVD_train", "LSVD_test")):
                return root
        return None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        for part in PARTS:
            if child(root, part) is None:
                found.wrong(root / part, "the folder is missing")
        for split in SPLITS:
            place = child(root, f"LSVD_{split}")
            if place is None:
                continue
            masks = child(root, f"LSVD_{split}_mask")
            for path in pictures(place):
                found.wrong(path, "lies outside the folders of clips")
            for clip in folders(place):
                frames = led(found, clip, _number)
                if frames is None:
                    continue
                clear, smoky = frames
                masked = _masks(found, masks, clip.name)
                for position, path in smoky:
                    found.items.append(
                        Item(
                            name=f"{split}/{clip.name}/{path.name}",
                            scene=clip.name,
                            split=split,
                            degraded=path,
                            clear=clear,
                            mask=masked.get(int(path.stem)),
                            kind="smoke",
                            position=position,
                        )
                    )
        processed = child(root, "LSVD_test_pro")
        tested = child(root, "LSVD_test")
        if processed is not None and tested is not None:
            for clip in folders(tested):
                if not pictures(processed / clip.name):
                    found.wrong(processed / clip.name, "has no clear frame to judge the clip by")
        return found


def _number(stem: str) -> int | None:
    return int(stem) if stem.isdigit() else None


def _masks(found: Found, masks: Path | None, clip: str) -> dict[int, Path]:
    if masks is None:
        return {}
    if not (masks / clip).is_dir():
        found.wrong(masks / clip, "the folder is missing")
        return {}
    return {int(p.stem): p for p in pictures(masks / clip) if p.stem.isdigit()}
