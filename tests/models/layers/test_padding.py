"""Padding to the sizes that a network can take."""

from __future__ import annotations

import pytest
import torch

from models.layers.padding import pad_to, pad_to_multiple, round_up


@pytest.mark.parametrize(("side", "want"), [(1, 32), (32, 32), (33, 64), (720, 736)])
def test_round_up(side: int, want: int) -> None:
    assert round_up(side, 32) == want


def test_rows_are_added_below_and_columns_at_the_right() -> None:
    x = torch.arange(1.0, 7.0).view(1, 1, 2, 3)
    assert pad_to(x, 3, 4)[0, 0].tolist() == [[1, 2, 3, 0], [4, 5, 6, 0], [0, 0, 0, 0]]
    reflected = pad_to(x, 3, 4, "reflect")
    assert reflected[0, 0].tolist() == [[1, 2, 3, 2], [4, 5, 6, 5], [1, 2, 3, 2]]


def test_each_side_is_rounded_up_by_itself() -> None:
    assert pad_to_multiple(torch.zeros(2, 3, 17, 32), 16).shape == (2, 3, 32, 32)


def test_a_picture_that_fits_is_not_copied() -> None:
    x = torch.rand(1, 3, 8, 16)
    assert pad_to_multiple(x, 8) is x
