"""Windows and relative positions."""

from __future__ import annotations

import torch

from models.layers.windows import (
    joined,
    masked,
    merge,
    partition,
    relative_bias,
    relative_index,
    shift_masks,
)


def test_merge_undoes_partition() -> None:
    x = torch.randn(2, 12, 20, 3)
    windows = partition(x, 4)
    assert windows.shape == (2 * 3 * 5, 16, 3)
    assert torch.equal(merge(windows, 4, 12, 20), x)


def test_windows_are_in_row_major_order() -> None:
    x = torch.arange(8 * 12).view(1, 8, 12, 1)
    windows = partition(x, 4)
    assert windows[1, 0, 0] == 4  # first pixel of the window at the right of the first
    assert windows[3, 5, 0] == 4 * 12 + 12 + 1  # second row, second column of the lower left one


def test_the_index_depends_on_the_offset_only() -> None:
    side = 3
    index = relative_index(side)
    assert index.shape == (9, 9)
    assert index.dtype == torch.int64
    rows: dict[tuple[int, int], int] = {}
    for query in range(9):
        for key in range(9):
            offset = (query // side - key // side, query % side - key % side)
            assert rows.setdefault(offset, int(index[query, key])) == index[query, key]
    assert sorted(rows.values()) == list(range(25))
    assert rows[(1 - side, 1 - side)] == 0
    assert rows[(0, 1)] == rows[(0, 0)] + 1


def test_the_bias_is_the_table_looked_up() -> None:
    index, table = relative_index(2), torch.randn(9, 5)
    bias = relative_bias(table, index)
    assert bias.shape == (5, 4, 4)
    assert bias[3, 1, 2] == table[index[1, 2], 3]


def test_masks_keep_wrapped_pixels_apart() -> None:
    """Against regions of the whole map: what the roll brought from the other side is a region."""
    height, width, side, shift = 8, 12, 4, 2
    rows, columns = shift_masks(height, width, side, shift, -100.0, torch.zeros(()))
    assert rows.shape == (2, 16, 16)
    assert columns.shape == (3, 16, 16)
    place = torch.arange(height * width).view(1, height, width, 1)
    wrapped_y = partition((place // width >= height - shift).int(), side).squeeze(-1)
    wrapped_x = partition((place % width >= width - shift).int(), side).squeeze(-1)
    region = 2 * wrapped_y + wrapped_x  # windows t
    apart = region[:, :, None] != region[:, None, :]
    mask = joined((rows, columns))
    assert torch.equal(mask < 0, apart)
    assert mask[apart].max() == -100
    assert (mask[0] == 0).all()  # nothing wraps into the first window
    assert apart[-1].view(4, 4, 4, 4)[:2, :2, :2, 2:].all()  # four quarters, each to itself


def test_masks_are_added_to_the_logits_of_their_windows() -> None:
    masks = shift_masks(8, 12, 4, 2, -100.0, torch.zeros(()))
    logits = torch.randn(2 * 6, 3, 16, 16)  # two pictures of six windows, three heads
    want = logits.view(2, 6, 3, 16, 16) + joined(masks)[:, None]
    assert torch.allclose(masked(logits, masks), want.view_as(logits), atol=1e-4)
