"""`veil` from synthetic, real and clear samples: its cost, its judge, its recipes' job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.veil import Maps, Veil, repair
from models.weights import read
from trainer.datasets.item import Item
from trainer.feed.data import Data, Need
from trainer.fit.checkpoint import LAST
from trainer.fit.loop import Judge
from trainer.fit.task import Adam, Batch, Cost, Turn
from trainer.loss import veil_loss
from trainer.pixels import grey_levels
from trainer.presence import fit_presence
from trainer.samples import Mix, Samples, load_clear, load_pairs
from trainer.tasks.judging import figures
from trainer.tensors import hwc

PRESENCE = "presence.pt"  # beside the checkpoint
JUDGED = 24  # samples


class VeilTask:
    """One net, one turn: batches as trainer/samples.py packs them."""

    def __init__(self, net: Veil, optimiser: Adam) -> None:
        self.nets: dict[str, nn.Module] = {"net": net}
        self.ships = "net"
        self.turns = (Turn(name="net", trains=("net",), optimiser=optimiser),)

    def cost(self, turn: str, batch: Batch) -> Cost:
        maps: Maps = self.nets["net"](batch["image"], batch["reference"], batch["known"])
        loss, parts = veil_loss(maps, batch)
        return Cost(loss, parts, {})

    def pictures(self, net: nn.Module, batch: Batch) -> Tensor:
        """input | restored | truth"""
        return torch.cat((batch["image"], repaired(net, batch), batch["clear"]), 3)


def repaired(net: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """b 3 h w"""
    maps: Maps = net(batch["image"], batch["reference"], batch["known"])
    return repair(batch["image"], maps.coefficients)


class VeilJudge:
    """PSNR, SSIM and exposure-normalised PSNR over the first samples that are degraded; the score
    is the PSNR."""

    def __init__(self, samples: Samples, count: int = JUDGED) -> None:
        self._drawn = [samples[n] for n in range(count)]

    def __call__(self, net: nn.Module) -> Mapping[str, float]:
        device = next(net.parameters()).device
        rows = []
        for drawn in self._drawn:
            batch = {key: value[None].to(device) for key, value in drawn.items()}
            with torch.inference_mode():
                out = repaired(net, batch)[0]
            sides = grey_levels(hwc(drawn["image"])), grey_levels(hwc(drawn["clear"]))
            rows.append((sides[0], hwc(out), sides[1]))
        return figures(rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainVeil:
    """mix, seed: of the samples; after: the recipe whose weights it begins with, where `start`
    names no checkpoint; without: scenes left out (None: no real pairs at all); looks: samples that
    the presence head is fitted on afterwards (0: none)."""

    optimiser: Adam
    mix: Mix
    seed: int
    after: str | None = None
    start: str | None = None
    without: tuple[str, ...] | None = None
    looks: int = 0

    needs: ClassVar[Need] = "scenes"

    def build(self) -> VeilTask:
        """Raises ValueError for a start that is no veil."""
        net = Veil() if self.start is None else weighted(Path(self.start))
        return VeilTask(net, self.optimiser)

    def source(self, data: Data) -> Samples:
        """Raises ValueError without a clear frame fit to degrade."""
        clear = load_clear(data.root, held_out=False, left_out=data.left_out)
        scenes = frozenset(i.scene.removeprefix("scene") for i in self.halves(data)[0] if i.paired)
        real = load_pairs(data.root, scenes, data.left_out) if scenes else []
        samples = Samples(clear, real, self.mix, self.seed)
        if not samples.truthful:
            raise ValueError(f"{data.root}/clean holds no clear frame fit to degrade")
        return samples

    def judge(self, data: Data) -> Judge | None:
        """Over clear frames of patients that never train; the same for every recipe of veil."""
        clear = load_clear(data.root, held_out=True, left_out=data.left_out)
        samples = Samples(clear, [], Mix(clear=0.0), seed=0)
        return VeilJudge(samples) if samples.truthful else None

    def halves(self, data: Data) -> tuple[list[Item], list[Item]]:
        """What it trains on, and what it keeps aside: its scenes, and the held-out patients."""
        trains: list[Item] = []
        aside: list[Item] = []
        for item in data.items:
            if item.paired:
                if self.without is not None:
                    left_out = item.scene.removeprefix("scene") in self.without
                    (aside if left_out else trains).append(item)
            elif item.clear is not None:
                (trains if item.split == "train" else aside).append(item)
        return trains, aside

    def finish(self, samples: Samples, folder: Path, say: Callable[[str], None]) -> None:
        """Fits the presence head over the trained net, where there is to be one and none is yet."""
        if self.looks and not (folder / PRESENCE).exists():
            head = fit_presence(
                trained(folder / LAST), samples.clear, samples.real,
                count=self.looks, seed=self.seed, say=say,
            )  # fmt: skip
            head.save(folder / PRESENCE)


def weighted(checkpoint: Path) -> Veil:
    """A net with a checkpoint's weights. Raises ValueError where they are not veil's."""
    net = Veil()
    weights = read(checkpoint)
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint} holds other weights than veil's") from error
    return net


def trained(checkpoint: Path) -> Veil:
    """The net of a run's checkpoint, ready to run. Raises FileNotFoundError, and as `weighted`."""
    if not checkpoint.is_file():
        name = checkpoint.parent.name
        raise FileNotFoundError(f"{checkpoint} is missing: surgiclear train {name} makes it")
    return weighted(checkpoint).eval()
