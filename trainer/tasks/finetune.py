"""Fine-tuning of a trained net on one hospital's curated pairs, with the do-no-harm gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import nn

import models
from trainer.feed.crops import Crops
from trainer.feed.data import Data, Need, read
from trainer.feed.pairs import Kept, shots
from trainer.fit.loop import Judge
from trainer.fit.task import Adam
from trainer.tasks.gate import Bounds, Exam, Verdict, examine
from trainer.tasks.judging import middle
from trainer.tasks.restore import Alignment, RestoreTask

EXAMS = 40  # pairs of each kind that the gate looks at
SIDE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetune:
    """start: the checkpoint that the engine was exported from; anchor: how strongly its weights
    hold the new ones (L2-SP); guard: a data folder that the net must stay good at."""

    optimiser: Adam
    start: str | None = None
    size: int = 256
    alignment: Alignment = "input"
    ssim: float = 0.2
    anchor: float = 1e-2
    guard: str | None = None
    bounds: Bounds = Bounds()

    needs: ClassVar[Need] = "pairs"

    def build(self) -> RestoreTask:
        """Raises ValueError without a net to start from."""
        return RestoreTask(
            self._before(),
            self.optimiser,
            alignment=self.alignment,
            ssim=self.ssim,
            anchor=self.anchor,
        )

    def _before(self) -> nn.Module:
        if self.start is None:
            raise ValueError("fine-tuning starts from a trained net: name it with --start")
        return models.load(self.start)

    def source(self, data: Data) -> Crops:
        train, _ = shots(data)
        return Crops(Kept(train, aligned=self.alignment == "input"), (self.size, self.size))

    def judge(self, data: Data) -> Judge | None:
        """None: what is kept aside is for the gate alone; picking the best step by it would use
        it up."""
        return None

    def gate(self, net: nn.Module, data: Data) -> Verdict:
        """Whether the tuned net may replace the one it started from. Raises ValueError where the
        data folder keeps nothing aside to look at."""
        own = _exams(data)
        guard = _exams(read(Path(self.guard))) if self.guard else []
        clear = [e.truth for e in own]
        return examine(
            self._before().to(next(net.parameters()).device),
            net,
            own=own,
            guard=guard,
            clear=clear,
            bounds=self.bounds,
        )


def _exams(data: Data) -> list[Exam]:
    """The middles of pairs that a data set keeps aside, evenly chosen."""
    _, aside = shots(data)
    if not aside:
        return []
    chosen = np.linspace(0, len(aside) - 1, min(EXAMS, len(aside))).round().astype(int)
    picked = [aside[int(i)] for i in chosen]
    kept = Kept(picked)
    views = [kept.views(i) for i in range(len(kept))]
    return [
        Exam(s.group, middle(v.degraded, SIDE), middle(v.clear, SIDE))
        for s, v in zip(picked, views, strict=True)
    ]
