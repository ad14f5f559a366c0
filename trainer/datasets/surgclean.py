"""SurgClean (Lou et al., CVPR 2026): smoke, fog and splash pairs with levels on the test split.

Layout: `SurgClean Dataset/{Defog,Desmoke,Desplash}/{train,test}/{gt,input}`, pairs by equal name;
`SurgClean Dataset_Fine-grain Division/{Defog_Level,Desmoke_Level}/test/{gt,input}/Level-{1..4}`
and `.../Desplash_Category/[test/]{gt,input}/{bile,blood,fat,tissue fluid}` repeat the test
pictures, sorted; the published configuration calls them `levels/Desplash/test/...`. The pairs are
not aligned: gt is the nearest clear frame before. `surgiclear curate` writes this layout too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.restorer import Kind, SplashType
from trainer.datasets.item import SPLITS, Found, Item, child, entries, folders, matched, pictures

MAIN = "SurgClean Dataset"
FINE = "SurgClean Dataset_Fine-grain Division"
TASKS: dict[str, Kind] = {"Defog": "fog", "Desmoke": "smoke", "Desplash": "splash"}
FINE_NAMES: dict[Kind, tuple[str, ...]] = {  # as the README has them, then as the settings have
    "fog": ("Defog_Level", "Defog"),
    "smoke": ("Desmoke_Level", "Desmoke"),
    "splash": ("Desplash_Category", "Desplash"),
}
SPLASHES: dict[str, SplashType] = {
    "bile": "bile",
    "blood": "blood",
    "fat": "fat",
    "tissue fluid": "fluid",
}
EDITIONS = {3113: "3,113 images (2026)", 1020: "1,020 images (2025)"}


class SurgClean:
    """Reads the layout."""

    name = "surgclean"
    about = "SurgClean: {Defog,Desmoke,Desplash}/{train,test}/{gt,input}, levels on test"

    def recognise(self, folder: Path) -> Path | None:
        for root in (folder, *folders(folder)):
            if _main(root) is not None:
                return root if child(root, MAIN) or child(root, FINE) else folder
        return None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        main = _main(root)
        assert main is not None
        for task, kind in TASKS.items():
            place = child(main, task)
            if place is None:
                found.wrong(main / task, "the folder is missing")
                continue
            for split in SPLITS:
                half = place / split
                if not half.is_dir():
                    found.wrong(half, "the folder is missing")
                    continue
                for name, degraded, clear in matched(found, half / "input", half / "gt"):
                    found.items.append(
                        Item(
                            name=f"{task}/{split}/{name}",
                            scene=degraded.stem,
                            split=split,
                            degraded=degraded,
                            clear=clear,
                            kind=kind,
                        )
                    )
        fine = child(root, FINE) or child(root, "levels") or child(root.parent, FINE)
        if fine is None:
            found.notes.append("no fine-grain division beside it: the test pictures have no level")
        else:
            _grade(found, fine)
        count = len(found.items)
        found.variant = EDITIONS.get(count, "")
        if not found.variant:
            known = " nor ".join(EDITIONS.values())
            found.notes.append(f"{count} pairs: neither {known}")
        return found


def _main(root: Path) -> Path | None:
    """The folder that holds the tasks."""
    for place in (child(root, MAIN), root):
        if place is not None and any(
            child(place, task) and any((place / task / s / "input").is_dir() for s in SPLITS)
            for task in TASKS
        ):
            return place
    return None


def _grade(found: Found, fine: Path) -> None:
    """Gives the test items the level or splash type of the folder that repeats them."""
    at = {(i.kind, i.degraded.name): n for n, i in enumerate(found.items)
          if i.split == "test" and i.degraded is not None}  # fmt: skip
    graded: dict[int, str] = {}
    for kind, names in FINE_NAMES.items():
        place = next((p for p in (child(fine, n) for n in names) if p is not None), None)
        if place is None:
            found.wrong(fine / names[0], "the folder is missing")
            continue
        # Desplash_Category comes with and without test/
        inner = place / "test" if (place / "test").is_dir() else place
        inputs, gts = inner / "input", inner / "gt"
        for folder in (inputs, gts):
            if not folder.is_dir():
                found.wrong(folder, "the folder is missing")
        for grade in entries(inputs):
            if not grade.is_dir():
                found.wrong(grade, "lies outside the folders of levels")
                continue
            change = _meaning(kind, grade.name)
            if change is None:
                found.wrong(grade, "names no level or splash type")
                continue
            for path in pictures(grade):
                if child(gts, grade.name) is None or not (gts / grade.name / path.name).is_file():
                    found.wrong(path, f"has no picture of its name in gt/{grade.name}/")
                index = at.get((kind, path.name))
                if index is None:
                    found.wrong(path, "is not among the test pictures")
                elif index in graded:
                    found.wrong(path, f"is in {graded[index]} as well")
                else:
                    graded[index] = grade.name
                    found.items[index] = replace(found.items[index], **change)  # type: ignore[arg-type]
    for index in at.values():
        item = found.items[index]
        if index not in graded and item.degraded is not None:
            found.wrong(item.degraded, f"has no {'type' if item.kind == 'splash' else 'level'}")


def _meaning(kind: Kind, folder: str) -> dict[str, int | str] | None:
    if kind == "splash":
        splash = SPLASHES.get(folder.lower().replace("_", " "))
        return None if splash is None else {"splash_type": splash}
    digits = folder.lower().removeprefix("level").strip("-_ ")
    return {"level": int(digits)} if digits in ("1", "2", "3", "4") else None
