"""Square windows over a channels-last map, and the relative positions inside one."""

from __future__ import annotations

import torch

Masks = tuple[torch.Tensor, torch.Tensor]  # (h / side) t t and (w / side) t t, t = side * side


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


def shift_masks(
    height: int, width: int, side: int, shift: int, far: float, like: torch.Tensor
) -> Masks:
    """What is added to the logits of a map that was rolled by `shift`: 0 between neighbours, `far`
    between pixels that only the wrap-around made neighbours (Liu et al., section 3.2).

    By rows and by columns of windows, of which a window takes one each: together they would be as
    large as the logits (a gigabyte at 1280x720), and a graph would hold them.
    """

    def bands(length: int) -> torch.Tensor:
        place = torch.arange(length, device=like.device)
        return (place >= length - shift).to(like.dtype).view(-1, side)

    def apart(region: torch.Tensor) -> torch.Tensor:  # n t -> n t t
        # numbers, since TensorRT cannot compare flags that it has not folded
        return (region[:, :, None] - region[:, None, :]).abs() * far

    rows = bands(height).repeat_interleave(side, dim=1)
    columns = bands(width).repeat(1, side)
    return apart(rows), apart(columns)


def joined(masks: Masks) -> torch.Tensor:
    """The masks of all windows, (h / side w / side) t t, corners twice as far."""
    rows, columns = masks
    return (rows[:, None] + columns).flatten(0, 1)


def masked(logits: torch.Tensor, masks: Masks) -> torch.Tensor:
    """(b n) heads t t with the masks of its windows added."""
    rows, columns = masks
    (_, heads, t, _), down, across = logits.shape, rows.shape[0], columns.shape[0]
    by_rows = logits.view(-1, down, across * heads, t, t) + rows[:, None]
    by_columns = by_rows.view(-1, across, heads, t, t) + columns[:, None]
    return by_columns.view(logits.shape)
