"""Windows and relative positions."""

from __future__ import annotations

import torch

from models.layers.windows import merge, partition, relative_bias, relative_index


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
