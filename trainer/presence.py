"""Fits the head that finds smoke, fog and splashes, over a trained `veil` that is not moved.

The trunk looks once at many samples; the head is then fitted in seconds. Each clear frame of the
training patients is also judged by a head that never saw its patient: where presence begins must
not be read off frames known by heart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from models.presence import Presence
from models.veil import Veil
from trainer.calibrate import small
from trainer.dataset import HAZY_LIMIT
from trainer.loss import presence_weight
from trainer.pixels import Pixels
from trainer.samples import Cached, CachedPair, Mix, Samples

Say = Callable[[str], None]
GROUPS = 4  # of patients
MIX = Mix(real=0.1, real_clear=0.05, clear=0.35, reference=0.3)
BATCH = 128
EPOCHS = 12
RATE = 2e-3
WEIGHT_DECAY = 0.1
JITTER = 0.1  # deviations of noise on every number: neighbours of a sample are like it


@dataclass(frozen=True, slots=True)
class Looked:
    """What the trunk saw in samples. pooled: n k; presence, weight: n 3."""

    pooled: Tensor
    presence: Tensor
    weight: Tensor

    @staticmethod
    def joined(parts: Sequence[Looked]) -> Looked:
        return Looked(
            torch.cat([p.pooled for p in parts]),
            torch.cat([p.presence for p in parts]),
            torch.cat([p.weight for p in parts]),
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """The head, and the logits (n 3) of the training patients' clear frames, every frame by a
    head that never saw its patient: alone, and beside another clear frame of the patient."""

    head: Presence
    alone: Tensor
    beside: Tensor

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        fresh = path.with_suffix(".new")
        torch.save(
            {"head": self.head.state_dict(), "alone": self.alone, "beside": self.beside}, fresh
        )
        fresh.replace(path)

    @staticmethod
    def load(path: Path) -> Fitted:
        """Raises FileNotFoundError, which says how it is made."""
        if not path.is_file():
            how = f"surgiclear train {path.parent.name} --resume fits it"
            raise FileNotFoundError(f"{path} is missing, the presence head: {how}")
        state = torch.load(path, weights_only=True)
        head = Presence(len(state["head"]["centre"]))
        head.load_state_dict(state["head"])
        return Fitted(head.eval(), state["alone"], state["beside"])


def fit_presence(
    net: Veil,
    clear: Sequence[Cached],
    real: Sequence[CachedPair],
    *,
    count: int,
    seed: int,
    say: Say,
) -> Fitted:
    """net: trained, in eval mode; clear, real: of the training; count: samples looked at.

    Raises ValueError where a group of patients would have no frame to degrade.
    """
    groups = [[f for f in clear if group(f.patient) == n] for n in range(GROUPS)]
    looked = []
    for n, frames in enumerate(groups):
        samples = Samples(frames, list(real), MIX, seed + n)
        if not samples.truthful:
            raise ValueError(f"group {n} of the patients has no clear frame fit to degrade")
        say(f"presence: looks at the samples of patient group {n + 1} of {GROUPS}")
        looked.append(look(net, samples, count // GROUPS))
    alone, beside = [], []
    for n, frames in enumerate(groups):
        others = Looked.joined([part for m, part in enumerate(looked) if m != n])
        head = fit(others, seed)
        with torch.no_grad():
            for frame, other in judged(frames):
                alone.append(head(pooled(net, frame)))
                if other is not None:
                    beside.append(head(pooled(net, frame, other)))
    return Fitted(fit(Looked.joined(looked), seed), torch.cat(alone), torch.cat(beside))


def judged(frames: Sequence[Cached]) -> Iterator[tuple[Pixels, Pixels | None]]:
    """Every second frame, with the next one of its patient that could be a reference, if any."""
    for n, frame in enumerate(frames[::2]):
        later = [*frames[2 * n + 1 :], *frames[: 2 * n]]
        fit_for = (f for f in later if f.patient == frame.patient and f.hazy < HAZY_LIMIT)
        other = next(fit_for, None)
        yield frame.pixels, None if other is None else other.pixels


def group(patient: str) -> int:
    """Of a patient, by a hash of the name: it never moves."""
    return hashlib.sha256(f"presence {patient}".encode()).digest()[0] % GROUPS


@torch.no_grad()
def look(net: Veil, samples: Samples, count: int) -> Looked:
    """The first `count` samples through the trunk."""
    parts = []
    for first in range(0, count, 16):
        drawn = [samples[n] for n in range(first, min(first + 16, count))]
        batch = {key: torch.stack([d[key] for d in drawn]) for key in drawn[0]}
        maps = net(batch["image"], batch["reference"], batch["known"])
        parts.append(Looked(maps.pooled, batch["presence"], presence_weight(batch)))
    return Looked.joined(parts)


@torch.no_grad()
def pooled(net: Veil, pixels: Pixels, reference: Pixels | None = None) -> Tensor:
    """One picture through the trunk: 1 k."""
    image = small(pixels)
    other = torch.zeros_like(image) if reference is None else small(reference)
    known = torch.full_like(image[:, :1], float(reference is not None))
    found: Tensor = net(image, other, known).pooled
    return found


def fit(seen: Looked, seed: int) -> Presence:
    """AdamW along one cycle (L. Smith, arXiv:1708.07120); the same samples give the same head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Presence(seen.pooled.shape[1])
        head.centre = seen.pooled.mean(0)
        head.spread = seen.pooled.std(0) + 1e-3
        numbers = head.usual(seen.pooled)
        steps = EPOCHS * max(len(numbers) // BATCH, 1)
        optimiser = torch.optim.AdamW(head.parameters(), weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
        order = torch.cat([torch.randperm(len(numbers)) for _ in range(EPOCHS + 1)])
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            near = numbers[rows] + JITTER * torch.randn(len(rows), numbers.shape[1])
            loss = F.binary_cross_entropy_with_logits(
                head.layers(near), seen.presence[rows], seen.weight[rows]
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return head.eval()
