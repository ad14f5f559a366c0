"""Pictures as tensors and back: the one place where h w c becomes c h w."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainer.pixels import Image


def chw(image: Image) -> Tensor:
    """h w c -> c h w."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def hwc(x: Tensor) -> Image:
    """c h w, on any device, in any precision -> h w c."""
    return np.ascontiguousarray(x.permute(1, 2, 0).float().cpu().numpy())
