"""Where presence begins: logit offsets at which few clear frames would be called degraded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.veil import Veil
from trainer import dataset
from trainer.pixels import unit
from trainer.samples import load_clear

FALSE_SHARES = (0.011, 0.001, 0.001)  # smoke, fog, splash: together under two per cent


def presence_offset(net: Veil, data: Path) -> tuple[float, float, float]:
    """Per kind, the logit that its FALSE_SHARE of the TRAINING patients' clear frames exceed.

    The held-out patients are not looked at: they judge the result.
    """
    frames = load_clear(data, held_out=False)[::2]
    found = []
    with torch.no_grad():
        for frame in frames:
            pixels = dataset.resize(frame.pixels, (144, 256))
            image = torch.from_numpy(unit(pixels).transpose(2, 0, 1).copy())[None]
            nothing = torch.zeros_like(image)
            found.append(net(image, nothing, nothing[:, :1]).presence[0].numpy())
    logits = np.stack(found)
    smoke, fog, splash = (
        float(np.quantile(logits[:, n], 1 - share)) for n, share in enumerate(FALSE_SHARES)
    )
    return smoke, fog, splash
