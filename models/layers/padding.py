"""Padding to the sizes that a network can take."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def round_up(side: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is no smaller than `side`."""
    return (side + multiple - 1) // multiple * multiple


def pad_to(x: torch.Tensor, height: int, width: int, mode: str = "constant") -> torch.Tensor:
    """b c h w -> b c height width: rows added below, columns at the right; 0 or `reflect`."""
    h, w = x.shape[-2:]
    if (h, w) == (height, width):
        return x
    return F.pad(x, (0, width - w, 0, height - h), mode=mode)


def pad_to_multiple(x: torch.Tensor, multiple: int, mode: str = "constant") -> torch.Tensor:
    """b c h w -> the same with both sides rounded up to `multiple`."""
    h, w = x.shape[-2:]
    return pad_to(x, round_up(h, multiple), round_up(w, multiple), mode)
