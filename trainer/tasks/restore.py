"""Supervised restoration from pairs: SurgClean's protocol, and a modern one, for any net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

import models
from models.layers.flow import Flow, inside, warp
from trainer.align import StructureFlow, masked_l1
from trainer.feed.crops import Crops, unit
from trainer.feed.data import Data, Need
from trainer.feed.mixed import Mixed, truthful
from trainer.feed.pairs import Kept, shots
from trainer.fit.loop import Judge
from trainer.fit.task import Adam, Batch, Cost, Turn
from trainer.loss import structure
from trainer.tasks.judging import PairJudge

Alignment = Literal["none", "output", "input"]


class RestoreTask:
    """One net, one turn. alignment: `output` warps the clear picture onto the restored one at
    every step, as SurgClean does; `input` expects pairs aligned beforehand, with their masks.

    SurgClean's flow is PWC-Net and lets gradients through the flow; ours does neither.
    """

    def __init__(
        self,
        net: nn.Module,
        optimiser: Adam,
        *,
        alignment: Alignment = "none",
        ssim: float = 0.0,
        anchor: float = 0.0,
        flow: Flow | None = None,
    ) -> None:
        self.nets = {"net": net}
        self.ships = "net"
        self.turns = (Turn(name="net", trains=("net",), optimiser=optimiser),)
        self._alignment, self._ssim, self._anchor = alignment, ssim, anchor
        self._flow: Flow = flow or StructureFlow()
        self._start = [p.detach().clone() for p in net.parameters()] if anchor else []

    def cost(self, turn: str, batch: Batch) -> Cost:
        """Masked L1 (and 1 - SSIM, and the way from the starting weights, where weighed)."""
        x, target, mask = unit(batch["input"]), unit(batch["target"]), unit(batch["mask"])
        out: Tensor = self.nets["net"](x)
        out = out.float()
        if self._alignment == "output":
            flow = self._flow(target, out.detach().clamp(0, 1))
            target, mask = warp(target, flow), mask * inside(flow)
        pixel = masked_l1(out, target, mask)
        loss, parts = pixel, {"l1": pixel.detach()}
        if self._ssim:
            shape = structure(out * mask, target * mask).mean()
            loss = loss + self._ssim * shape
            parts["structure"] = shape.detach()
        if self._anchor:
            way = self._way()
            loss = loss + self._anchor * way
            parts["way"] = way.detach()
        return Cost(loss, parts, {})

    def _way(self) -> Tensor:
        """Squared distance from the starting weights, over all of them (L2-SP: Li, Grandvalet,
        Davoine, ICML 2018)."""
        now = list(self.nets["net"].parameters())
        self._start = [s.to(p.device) for s, p in zip(self._start, now, strict=True)]
        return torch.stack(
            [((p - s) ** 2).sum() for p, s in zip(now, self._start, strict=True)]
        ).sum()

    def pictures(self, net: nn.Module, batch: Batch) -> Tensor:
        """input | restored | target"""
        x = unit(batch["input"])
        return torch.cat((x, net(x).float(), unit(batch["target"])), 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Restore:
    """net: a name of the zoo, `name:variant`, or a checkpoint's path; size: side of the crops;
    synthetic: share of samples made over the clear frames of `clean/`, where there are any;
    whole: share of samples that show the whole view; start: a checkpoint to go on from."""

    net: str
    size: int
    optimiser: Adam
    alignment: Alignment = "none"
    ssim: float = 0.0
    synthetic: float = 0.0
    whole: float = 0.0
    start: str | None = None

    needs: ClassVar[Need] = "pairs"

    def build(self) -> RestoreTask:
        return RestoreTask(
            models.load(self.start or self.net),
            self.optimiser,
            alignment=self.alignment,
            ssim=self.ssim,
        )

    def source(self, data: Data) -> Mixed:
        train, _ = shots(data)
        kept = Kept(train, aligned=self.alignment == "input")
        clear = truthful(data.root) if self.synthetic else []
        return Mixed(Crops(kept, (self.size, self.size), self.whole), clear, self.synthetic)

    def judge(self, data: Data) -> Judge | None:
        _, aside = shots(data)
        return PairJudge(Kept(aside)) if aside else None
