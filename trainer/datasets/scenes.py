"""Clear frames by patient and real pairs by scene: what `veil` is trained on.

Layout: `clean/<source>_<patient>_....jpg` and `pairs/pairs.csv`, which names the smoky and the
clear picture of each pair, their scene and how well they agree; `smoky/` as `clean/`, unpaired,
where only the names with `_smoke_` are known to show smoke.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from trainer.datasets.item import Found, Item, child, last_number, pictures
from trainer.datasets.members import listed

# patients no model ever trains on; cholec80 and "unknown" cannot be told apart, so they train
HELD_OUT_SHARE = 0.2
ASIDE = ("6", "9", "15")  # scenes of pairs.csv that no recipe trains on


@dataclass(frozen=True, slots=True)
class ClearFrame:
    """One clear frame and whose it is."""

    path: Path
    patient: str

    @property
    def held_out(self) -> bool:
        """Whether the patient is kept for testing: by a hash of the name, so it never moves."""
        if "unknown" in self.patient or "unkno" in self.patient:
            return False
        digest = hashlib.sha256(self.patient.encode()).digest()
        return digest[0] < 256 * HELD_OUT_SHARE


@dataclass(frozen=True, slots=True)
class Pair:
    """A real smoky frame and a real clear frame of the same scene, seconds apart."""

    scene: str
    smoky: Path
    clear: Path
    ncc: float


PATIENT = re.compile(r"^([a-z0-9]+)_+(?:t[_-])?([A-Za-z0-9]+(?:_[0-9]+)?)")


def patient_of(name: str) -> str:
    """The patient or case in a file name of shared/data/clean."""
    match = PATIENT.match(name)
    return "-".join(match.groups()) if match else name


def clear_frames(root: Path) -> list[ClearFrame]:
    """All clear frames, sorted by name."""
    found = sorted(p for p in listed(root / "clean") if p.suffix == ".jpg")
    return [ClearFrame(p, patient_of(p.name)) for p in found]


def pairs(root: Path) -> list[Pair]:
    """All real pairs as pairs.csv lists them."""
    with (root / "pairs" / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Pair(r["scene"], root / "pairs" / r["smoky"], root / "pairs" / r["clear"], float(r["ncc"]))
        for r in rows
    ]


def references(root: Path, scene: str) -> list[Path]:
    """All clear frames of one scene."""
    return sorted((root / "pairs" / f"scene{int(scene):02d}").glob("clear_*.jpg"))


class Scenes:
    """Reads the layout."""

    name = "scenes"
    about = "clean/*.jpg by patient, and pairs/pairs.csv by scene"

    def recognise(self, folder: Path) -> Path | None:
        for root in (folder, child(folder, "data")):
            if root is not None and (root / "pairs" / "pairs.csv").is_file():
                return root
        return None

    def read(self, root: Path) -> Found:
        found = Found(self.name, root)
        if not (root / "clean").is_dir():
            found.wrong(root / "clean", "the folder is missing")
        for frame in clear_frames(root):
            found.items.append(
                Item(
                    name=f"clean/{frame.path.name}",
                    scene=frame.patient,
                    split="test" if frame.held_out else "train",
                    clear=frame.path,
                )
            )
        listed: set[Path] = set()
        for pair in pairs(root):
            listed |= {pair.smoky, pair.clear}
            lost = [p for p in (pair.smoky, pair.clear) if not p.is_file()]
            for path in lost:
                found.wrong(path, "is named in pairs.csv and not there")
            if not lost:
                found.items.append(
                    Item(
                        name=f"pairs/{pair.smoky.parent.name}/{pair.smoky.name}",
                        scene=f"scene{pair.scene}",
                        split="test" if pair.scene in ASIDE else "train",
                        degraded=pair.smoky,
                        clear=pair.clear,
                        kind="smoke",
                        position=last_number(pair.smoky.stem),
                    )
                )
        smoky = (root / "pairs").glob("scene*/smoky_*.jpg")
        unlisted = len(set(smoky) - listed)
        if unlisted:
            found.notes.append(f"{unlisted} smoky pictures are not in pairs.csv")
        alone = pictures(root / "smoky")
        labelled = [p for p in alone if "_smoke_" in p.name]
        if len(labelled) < len(alone):
            found.notes.append(f"smoky/: {len(alone) - len(labelled)} pictures of no known kind")
        for path in labelled:
            frame = ClearFrame(path, patient_of(path.name))
            found.items.append(
                Item(
                    name=f"smoky/{path.name}",
                    scene=frame.patient,
                    split="test" if frame.held_out else "train",
                    degraded=path,
                    kind="smoke",
                )
            )
        return found
