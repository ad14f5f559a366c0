"""Square windows over a channels-last map, and the relative positions inside one."""

from __future__ import annotations

import torch


def partition(x: torch.Tensor, side: int) -> torch.Tensor:
    """b h w c -> (b n) (side side) c, windows in row-major order; h, w multiples of `side`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // side, side, w // side, side, c)
    return x.transpose(2, 3).reshape(-1, side * side, c)


def merge(windows: torch.Tensor, side: int, height: int, width: int) -> torch.Tensor:
    """Undoes `partition`: (b n) (side side) c -> b height width c."""
    c = windows.shape[-1]
    x = windows.reshape(-1, height // side, width // side, side, side, c)
    return x.transpose(2, 3).reshape(-1, height, width, c)


def relative_index(side: int) -> torch.Tensor:
    """(side side) (side side) int64: which row of a (2 side - 1)^2 bias table a pair takes.

    Row 0 is the offset (1 - side, 1 - side) from key to query, in row-major order (Liu et al.,
    Swin Transformer, ICCV 2021, section 3.2).
    """
    axis = torch.arange(side)
    y, x = axis.repeat_interleave(side), axis.repeat(side)
    dy = y[:, None] - y[None, :] + side - 1
    dx = x[:, None] - x[None, :] + side - 1
    return dy * (2 * side - 1) + dx


def relative_bias(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Table (2 side - 1)^2 heads, index t t -> bias heads t t."""
    t = index.shape[0]
    return table[index.reshape(-1)].reshape(t, t, -1).permute(2, 0, 1)
