"""Published data sets: one file each; the table of layouts, the most particular first."""

from __future__ import annotations

from trainer.datasets.clip_folders import ClipFolders
from trainer.datasets.desmoke_lap import DesmokeLap
from trainer.datasets.desmokedata import DesmokeData
from trainer.datasets.item import Found, Item, Layout, Problem
from trainer.datasets.lsvd import Lsvd
from trainer.datasets.pair_folders import PairFolders
from trainer.datasets.scenes import Scenes
from trainer.datasets.see_through_smoke import SeeThroughSmoke
from trainer.datasets.shards import Packed
from trainer.datasets.surgclean import SurgClean
from trainer.datasets.videos import Videos

__all__ = ["LAYOUTS", "Found", "Item", "Layout", "Problem"]

LAYOUTS: tuple[Layout, ...] = (
    Packed(),
    SurgClean(),
    Lsvd(),
    SeeThroughSmoke(),
    Scenes(),
    DesmokeData(),
    DesmokeLap(),
    PairFolders(),
    ClipFolders(),
    Videos(),
)
