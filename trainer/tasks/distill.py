"""Distillation into `veil`: the small net learns to do what a large one does.

The teacher sees the frame at twice the size of veil's input; its answer, made smaller, is what
veil's bounded repair of the small frame is held to, together with the truth. What veil already
knows of kinds and levels is kept by holding its detections to those of the net it starts from.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from models.veil import MAP_INPUT, Maps, Veil, repair
from models.weights import read
from trainer.feed.crops import tensor, unit
from trainer.feed.data import Data, Need
from trainer.feed.pairs import Kept, Pairs, shots
from trainer.fit.loop import Judge
from trainer.fit.task import Adam, Batch, Cost, Turn
from trainer.loss import structure
from trainer.pixels import Pixels
from trainer.tasks.judging import PairJudge

SCALE = 2  # of the teacher's picture to veil's


class Frames:
    """Whole views: input, target, reference: 3 h w uint8 at SCALE times veil's input; known: 1,
    whether the reference counts. The reference is the clear frame as a moved scope sees it."""

    def __init__(self, pairs: Pairs, referred: float = 0.5) -> None:
        self._pairs, self._referred = pairs, referred

    def __len__(self) -> int:
        return len(self._pairs)

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        views = self._pairs.views(index)
        h, w = views.degraded.shape[:2]
        share = float(rng.uniform(0.7, 1.0))
        y, x = (float(rng.uniform(0, 1 - share)) for _ in range(2))
        flip = -1 if rng.random() < 0.5 else 1
        size = (MAP_INPUT[1] * SCALE, MAP_INPUT[0] * SCALE)

        def cut(pixels: Pixels) -> Pixels:
            part = pixels[int(y * h) : int((y + share) * h), int(x * w) : int((x + share) * w)]
            out: Pixels = cv2.resize(
                np.ascontiguousarray(part[:, ::flip]), size, interpolation=cv2.INTER_AREA
            )
            return out

        clear = cut(views.clear)
        by = rng.normal(0, 0.03, 2) * size
        moved = cv2.warpAffine(
            clear,
            np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float32),
            size,
            borderMode=cv2.BORDER_REFLECT,
        )
        return {
            "input": tensor(cut(views.degraded)),
            "target": tensor(clear),
            "reference": tensor(moved),
            "known": torch.tensor([float(rng.random() < self._referred)]),
        }


def smaller(x: Tensor) -> Tensor:
    """By area to veil's input."""
    return F.avg_pool2d(x, SCALE)


def repaired(net: nn.Module, x: Tensor) -> Tensor:
    """A picture of any size through veil, without a reference: b 3 h w."""
    small = F.interpolate(x, MAP_INPUT, mode="area")
    maps: Maps = net(small, torch.zeros_like(small), torch.zeros_like(small[:, :1]))
    return repair(x, maps.coefficients)


class DistillTask:
    """One turn. share: how much the teacher counts, the truth counts the rest."""

    def __init__(
        self, student: Veil, teacher: nn.Module, optimiser: Adam, *, share: float = 0.6
    ) -> None:
        self.nets: dict[str, nn.Module] = {
            "net": student,
            "teacher": teacher,
            "before": copy.deepcopy(student).eval(),
        }
        self.ships = "net"
        self.turns = (Turn(name="net", trains=("net",), optimiser=optimiser),)
        self._share = share

    def cost(self, turn: str, batch: Batch) -> Cost:
        large = unit(batch["input"])
        x, target = smaller(large), smaller(unit(batch["target"]))
        known = batch["known"].view(-1, 1, 1, 1).expand(-1, 1, *x.shape[-2:])
        reference = smaller(unit(batch["reference"])) * known
        with torch.no_grad():
            answer = smaller(self.nets["teacher"](large).float().clamp(0, 1))
            before: Maps = self.nets["before"](x, reference, known)
        maps: Maps = self.nets["net"](x, reference, known)
        out = repair(x, maps.coefficients.float())
        taught = (out - answer).abs().mean() + 0.25 * structure(out, answer).mean()
        true = (out - target).abs().mean() + 0.25 * structure(out, target).mean()
        kept = (
            F.mse_loss(maps.presence.sigmoid(), before.presence.sigmoid())
            + F.mse_loss(maps.coverage, before.coverage)
            + F.mse_loss(maps.splash_type.softmax(1), before.splash_type.softmax(1))
        )
        parts = {"taught": taught.detach(), "true": true.detach(), "kept": kept.detach()}
        return Cost(self._share * taught + (1 - self._share) * true + kept, parts, {})

    def pictures(self, net: nn.Module, batch: Batch) -> Tensor:
        """input | veil | teacher | truth"""
        x = unit(batch["input"])
        answer = self.nets["teacher"](x).float()
        return torch.cat((x, repaired(net, x), answer, unit(batch["target"])), 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Distill:
    """teacher: a name of the zoo or a checkpoint; start: a checkpoint of veil."""

    optimiser: Adam
    teacher: str | None = None
    start: str | None = None
    share: float = 0.6

    needs: ClassVar[Need] = "pairs"

    def build(self) -> DistillTask:
        """Raises ValueError without a teacher's weights: fresh ones would teach noise."""
        if self.teacher is None:
            raise ValueError("distillation needs a trained teacher: name it with --teacher")
        student = Veil()
        if self.start is not None:
            student.load_state_dict(read(self.start))
        return DistillTask(student, models.load(self.teacher), self.optimiser, share=self.share)

    def source(self, data: Data) -> Frames:
        return Frames(Kept(shots(data)[0]))

    def judge(self, data: Data) -> Judge | None:
        _, aside = shots(data)
        return PairJudge(Kept(aside), side=1024, run=repaired) if aside else None
