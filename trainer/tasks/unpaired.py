"""Unpaired desmoking in the manner of CycleGAN and Desmoke-LAP.

Papers: J.-Y. Zhu et al., ICCV 2017; Y. Pan et al., "DeSmoke-LAP: improved unpaired image-to-image
translation for desmoking in laparoscopic surgery", IJCARS 2022, which adds two losses on what is
made clear: channels must not be alike (smoke is grey) and the dark channel must be dark.

Differences: no buffer of old pictures for the critics, so that a run resumes exactly; the paper's
own weights of its two losses are not known to us, both count 1 here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from trainer.feed.crops import unit
from trainer.feed.data import Data, Need
from trainer.feed.pools import Pools, pools
from trainer.fit.loop import Judge
from trainer.fit.task import Adam, Batch, Cost, Turn
from trainer.tasks.critic import Critic, Generator, batched, convinced, discerning

CYCLE, SAME = 10.0, 5.0
PATCH = 15  # of the dark channel


def alike(image: Tensor) -> Tensor:
    """How grey a picture is: 1 less the spread between its channels; a scalar."""
    return 1 - (image.amax(1) - image.amin(1)).mean()


def darkness(image: Tensor) -> Tensor:
    """Mean of the dark channel (He et al., CVPR 2009); a scalar."""
    least = image.amin(1, keepdim=True)
    return -F.max_pool2d(-least, PATCH, 1, PATCH // 2).mean()


class UnpairedTask:
    """Two turns: both makers, both critics. clearer: the net that ships."""

    def __init__(
        self,
        clearer: nn.Module,
        smoker: nn.Module,
        critics: tuple[nn.Module, nn.Module],
        optimiser: Adam,
        *,
        grey: float = 1.0,
        dark: float = 1.0,
    ) -> None:
        self.nets = {
            "net": clearer,
            "smoker": smoker,
            "clear critic": critics[0],
            "smoke critic": critics[1],
        }
        self.ships = "net"
        self.turns = (
            Turn(name="makers", trains=("net", "smoker"), optimiser=optimiser),
            Turn(name="critics", trains=("clear critic", "smoke critic"), optimiser=optimiser),
        )
        self._grey, self._dark = grey, dark

    def cost(self, turn: str, batch: Batch) -> Cost:
        smoky, clear = unit(batch["input"]), unit(batch["target"])
        on_clear, on_smoke = self.nets["clear critic"], self.nets["smoke critic"]
        if turn == "critics":
            loss = discerning(*batched(on_clear, clear, batch["cleared"]))
            loss = loss + discerning(*batched(on_smoke, smoky, batch["smoked"]))
            return Cost(loss, {"critics": loss.detach()}, {})
        clearer, smoker = self.nets["net"], self.nets["smoker"]
        cleared, still_clear = batched(clearer, smoky, clear)
        smoked, still_smoky = batched(smoker, clear, smoky)
        back_smoky, back_clear = smoker(cleared), clearer(smoked)
        parts = {
            "convinced": convinced(on_clear(cleared)) + convinced(on_smoke(smoked)),
            "cycle": CYCLE * (F.l1_loss(back_smoky, smoky) + F.l1_loss(back_clear, clear)),
            "same": SAME * (F.l1_loss(still_clear, clear) + F.l1_loss(still_smoky, smoky)),
            "grey": self._grey * alike(cleared),
            "dark": self._dark * darkness(cleared),
        }
        loss = torch.stack(list(parts.values())).sum()
        left = {"cleared": cleared.detach(), "smoked": smoked.detach()}
        return Cost(loss, {k: v.detach() for k, v in parts.items()}, left)

    def pictures(self, net: nn.Module, batch: Batch) -> Tensor:
        """smoky | cleared"""
        x = unit(batch["input"])
        return torch.cat((x, net(x).float()), 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpaired:
    """net: None for CycleGAN's own generator, or any net of the zoo, which can then be exported."""

    optimiser: Adam
    net: str | None = None
    size: int = 256
    grey: float = 1.0
    dark: float = 1.0

    needs: ClassVar[Need] = "pools"

    def build(self) -> UnpairedTask:
        clearer = Generator() if self.net is None else models.load(self.net)
        critics = (Critic(), Critic())
        return UnpairedTask(
            clearer, Generator(), critics, self.optimiser, grey=self.grey, dark=self.dark
        )

    def source(self, data: Data) -> Pools:
        return Pools(*pools(data), self.size)

    def judge(self, data: Data) -> Judge | None:
        """None: there is no truth."""
        return None
