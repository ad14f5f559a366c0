"""FocalNet's steering branch: taught beside clear references, good, stale and wrong ones.

FocalNet itself stays as it is, so that its plain answer can lose nothing and is needed but once for
each sample. Where there is no reference the branch does nothing; that needs no teaching.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from models.focalnet import FocalNet
from models.steered import Steered
from models.weights import read
from trainer.datasets.scenes import ASIDE
from trainer.feed.answered import Answered
from trainer.feed.data import Data, Need
from trainer.fit.loop import Judge
from trainer.fit.task import Adam, Batch, Cost, Turn
from trainer.loss import contrast_gap, structure
from trainer.pixels import grey_levels
from trainer.samples import Mix, Samples, load_clear, load_pairs
from trainer.tasks.judging import figures
from trainer.tensors import hwc

JUDGED = 24  # samples
STALE, WRONG = 0.4, 1.0  # weights of references that are of little use, and of none


class SteerTask:
    """Batches as trainer/feed/answered.py makes them. Each answer is steered three times: by its
    own reference, by the same one moved far, and by a wrong one."""

    def __init__(self, net: Steered, optimiser: Adam) -> None:
        # the whole net ships; only the branch is trained
        self.nets: dict[str, nn.Module] = {"net": net, "steer": net.steer}
        self.ships = "net"
        self.turns = (Turn(name="steer", trains=("steer",), optimiser=optimiser),)

    def cost(self, turn: str, batch: Batch) -> Cost:
        net = self.nets["net"]
        assert isinstance(net, Steered)
        image, answer, clear = (batch[k] for k in ("image", "answer", "clear"))
        good, stale, wrong = (
            distance(net.steered(image, answer, batch[kind]), clear)
            for kind in ("reference", "far", "wrong")
        )
        loss = good + STALE * stale + WRONG * wrong
        plain = distance(answer, clear)
        parts = {"good": good, "stale": stale, "wrong": wrong, "plain": plain}
        return Cost(loss, {name: value.detach() for name, value in parts.items()}, {})

    def pictures(self, net: nn.Module, batch: Batch) -> Tensor:
        """input | reference | answer | steered | truth"""
        assert isinstance(net, Steered)
        image, answer, reference = (batch[k] for k in ("image", "answer", "reference"))
        steered = net.steered(image, answer, reference)
        return torch.cat((image, reference, answer, steered, batch["clear"]), 3)


def distance(out: Tensor, clear: Tensor) -> Tensor:
    """L1 of pixels and, since real pairs are not aligned, of means over 8x8, with structure and
    local contrast: a scalar. b 3 h w twice."""
    pixel = (out - clear).abs().mean()
    coarse = (F.avg_pool2d(out, 8) - F.avg_pool2d(clear, 8)).abs().mean()
    shape = structure(out, clear).mean()
    return pixel + coarse + 0.2 * shape + 0.05 * contrast_gap(out, clear).mean()


class SteerJudge:
    """PSNR, SSIM and exposure-normalised PSNR beside the references of some samples; the score is
    the PSNR. `plain`: the PSNR without reference."""

    def __init__(self, samples: Samples, count: int = JUDGED) -> None:
        self._drawn = [samples[n] for n in range(count)]

    def __call__(self, net: nn.Module) -> Mapping[str, float]:
        assert isinstance(net, Steered)
        device = next(net.parameters()).device
        rows, bare = [], []
        for drawn in self._drawn:
            image, reference = (drawn[k][None].to(device) for k in ("image", "reference"))
            with torch.inference_mode():
                plain = net(image)
                out = net.steered(image, plain, reference)
            a, b = (grey_levels(hwc(drawn[k])) for k in ("image", "clear"))
            rows.append((a, hwc(out[0].clamp(0, 1)), b))
            bare.append((a, hwc(plain[0].clamp(0, 1)), b))
        return {**figures(rows), "plain": figures(bare)["psnr"]}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSteer:
    """start: FocalNet's checkpoint, or that of a run of this kind, to go on with; mix, seed: of the
    samples, over all scenes that are not kept aside; count: how many samples there are."""

    optimiser: Adam
    mix: Mix
    seed: int
    count: int
    start: str | None = None

    needs: ClassVar[Need] = "scenes"

    def build(self) -> SteerTask:
        """Raises ValueError where `start` names no weights of FocalNet."""
        self._trunk()
        net = Steered()
        net.load_state_dict({**net.state_dict(), **read(str(self.start))})
        return SteerTask(net, self.optimiser)

    def source(self, data: Data) -> Answered:
        """Raises ValueError without a clear frame fit to degrade, and as `build`."""
        samples = self._samples(data, aside=False)
        if not samples.truthful:
            raise ValueError(f"{data.root}/clean holds no clear frame fit to degrade")
        return Answered(samples, self._trunk(), self.count)

    def _trunk(self) -> FocalNet:
        net = None if self.start is None else models.load(self.start)
        if not isinstance(net, FocalNet):
            raise ValueError("steering begins with a trained focalnet: name it with --start")
        return net

    def judge(self, data: Data) -> Judge | None:
        """Over the scenes and the patients kept aside."""
        samples = self._samples(data, aside=True)
        return SteerJudge(samples) if samples.truthful else None

    def _samples(self, data: Data, *, aside: bool) -> Samples:
        clear = load_clear(data.root, held_out=aside, left_out=data.left_out)
        every = {i.scene.removeprefix("scene") for i in data.items if i.paired}
        scenes = frozenset(every & set(ASIDE) if aside else every - set(ASIDE))
        real = load_pairs(data.root, scenes, data.left_out) if scenes else []
        mix = Mix(real=0.5, clear=0.0, reference=1.0, other_camera=0.0, other_part=0.0)
        return Samples(clear, real, mix if aside else self.mix, 0 if aside else self.seed)
