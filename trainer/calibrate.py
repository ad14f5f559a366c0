"""What is set after training: where presence begins, and how bright clear views usually are."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.prior import Brightness, features
from models.veil import MAP_INPUT, to_yuv
from trainer import dataset
from trainer.pixels import Pixels, unit
from trainer.samples import load_pairs

FALSE_SHARES = (0.017, 0.001, 0.001)  # smoke, fog, splash: together under two per cent


def presence_offset(clear: Tensor) -> tuple[float, float, float]:
    """Per kind, the logit that its FALSE_SHARE of clear frames (n 3) exceed.

    They are those of the TRAINING patients (trainer/presence.py): the held-out ones are not
    looked at, they judge the result.
    """
    smoke, fog, splash = (
        float(torch.quantile(clear[:, n], 1 - share)) for n, share in enumerate(FALSE_SHARES)
    )
    return smoke, fog, splash


def brightness(data: Path, without: frozenset[str] = frozenset()) -> Brightness:
    """The prior fitted on the real pairs of all scenes but `without`; each scene weighs alike."""
    pairs = [p for p in load_pairs(data) if p.scene not in without]
    hidden = torch.cat([features(small(p.smoky)) for p in pairs])
    luma = torch.stack([to_yuv(small(p.clear))[0, 0].mean() for p in pairs])
    scenes = [p.scene for p in pairs]
    share = torch.tensor([1 / scenes.count(s) for s in scenes]) / len(set(scenes))
    return Brightness.fitted(hidden, luma, share)


def small(pixels: Pixels) -> Tensor:
    """The picture as the net sees it: 1 3 h w in [0, 1]."""
    shrunk = unit(dataset.resize(pixels, MAP_INPUT))
    return torch.from_numpy(shrunk.transpose(2, 0, 1).copy())[None]
