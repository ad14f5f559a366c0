"""What a data set gives to training: the items asked for, and which of them are kept aside.

The layouts are read by trainer/datasets, one file each; nothing here looks into a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.restorer import KINDS, Kind
from trainer import dataset
from trainer.datasets import Found, Item
from trainer.datasets.reader import without as sound
from trainer.datasets.scenes import Scenes

# pairs of pictures; clips with a clear frame; degraded and clear pictures that belong to no pair;
# clear frames by patient with pairs by scene
Need = Literal["pairs", "clips", "pools", "scenes"]
NEEDS: tuple[Need, ...] = ("pairs", "clips", "pools", "scenes")
ASIDE_SHARE = 0.15  # of the scenes, where the publishers do not say what to keep aside


@dataclass(frozen=True, slots=True)
class Data:
    """found: all that the folder holds; items: what is left of it when other kinds and damaged
    files are taken out; kinds: none where all are wanted."""

    found: Found
    items: tuple[Item, ...]
    kinds: tuple[Kind, ...] = ()

    @property
    def root(self) -> Path:
        return self.found.root

    @property
    def offers(self) -> tuple[Need, ...]:
        """What it can be trained on as."""
        fit = {need: [i for i in self.items if self._fits(i, need)] for need in NEEDS}
        sides = [any(i.degraded for i in fit["pools"]), any(i.clear for i in fit["pools"])]
        return tuple(need for need in NEEDS if fit[need] and (need != "pools" or all(sides)))

    @property
    def left_out(self) -> frozenset[Path]:
        """Files that no item has which was not taken out."""
        every = {p for i in self.found.items for p in i.files}
        return frozenset(every - {p for i in self.items for p in i.files})

    def halves(self, need: Need) -> tuple[list[Item], list[Item]]:
        """What to train on, and what to keep aside: as the publishers divide it (what they call
        `val` before `test`), else whole scenes by a hash of their names, so that none ever moves;
        but all of a set that nothing judges. Raises ValueError where nothing is left to train on.
        """
        every = [i for i in self.items if self._fits(i, need)]
        of = {split: [i for i in every if i.split == split] for split in ("train", "val", "test")}
        train = of["train"] or [i for i in every if i.split == "all"]
        aside = of["val"] or of["test"]
        if not train:
            only = "only what is kept for testing" if aside else f"nothing to train on as {need}"
            raise ValueError(f"{self.root} ({self.found.dataset}) holds {only}")
        if aside or need != "pairs":
            return train, aside
        rest = [i for i in train if not _kept_aside(i.scene)]
        # one scene or two may all fall aside: then there is nothing to judge by
        return (rest, [i for i in train if _kept_aside(i.scene)]) if rest else (train, [])

    def _fits(self, item: Item, need: Need) -> bool:
        if need == "clips":
            return item.paired and item.position is not None
        if need == "scenes":
            scenes = self.found.dataset == Scenes.name and not self.found.packed
            return scenes and item.clear is not None
        if self.found.assumed:
            return False
        return item.paired if need == "pairs" else bool(item.degraded or item.clear)

    def lines(
        self, need: Need, halves: tuple[Sequence[Item], Sequence[Item]] | None = None
    ) -> list[str]:
        """For people: what it is, how it is divided, and what is left out. halves: where they are
        not those of the need."""
        found = self.found
        train, aside = halves or self.halves(need)
        edition = f", {found.variant}" if found.variant else ""
        only = f", {' and '.join(self.kinds)} only" if self.kinds else ""
        out = [f"{found.dataset}{edition}{only}: {len(train)} items to train on, "
               f"{len(aside)} kept aside"]  # fmt: skip
        if found.assumed:
            out += found.notes
        if found.problems:
            out.append(
                f"{len(found.problems)} problems, the first: {found.problems[0]}; "
                f"surgiclear dataset check {self.root} tells all"
            )
        return out


def read(folder: Path, *, kinds: Sequence[Kind] = (), without: Path | None = None) -> Data:
    """The data set in a folder. kinds: only these, and clear pictures; without: a saved check,
    whose damaged files are left out.

    Raises as `recognise` and `without` do, and ValueError for kinds that it does not hold.
    """
    found = dataset.recognise(folder)
    items = found.items if without is None else sound(found, without)
    if kinds:
        held = sorted({i.kind for i in items if i.kind is not None})
        items = [i for i in items if i.degraded is None or i.kind in kinds]
        if not any(i.degraded for i in items):
            told = f"only {', '.join(held)}" if held else "which does not say the kinds"
            raise ValueError(f"{folder} is {found.dataset}: no {' or '.join(kinds)}, {told}")
    return Data(found, tuple(items), tuple(kinds))


def kinds_of(words: str | None) -> tuple[Kind, ...]:
    """`smoke,fog` as kinds; none for None. Raises ValueError for anything else."""
    wanted = [w.strip() for w in words.split(",")] if words is not None else []
    unknown = [w for w in wanted if w not in KINDS]
    if unknown:
        raise ValueError(f"--kinds takes {', '.join(KINDS)}, not {unknown[0]!r}")
    return tuple(k for k in KINDS if k in wanted)


def _kept_aside(scene: str) -> bool:
    return hashlib.sha256(scene.encode()).digest()[0] < 256 * ASIDE_SHARE
