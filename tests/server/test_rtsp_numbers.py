"""Numbers in pictures: written, read back after any change of contrast, and unrolled."""

from __future__ import annotations

import numpy as np
import pytest

from server.card import card
from server.jpeg import decode, encode
from server.rtsp_numbers import CODE_BITS, Unrolled, read_number, write_number


def luma(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    plane = np.full((64, 480), 120, np.uint8)
    write_number(plane, number)
    return plane


@pytest.mark.parametrize("number", [0, 1, 399, 2**CODE_BITS - 1])
def test_a_number_is_read_back(number: int) -> None:
    plane = luma(number)
    assert read_number(plane) == number
    assert read_number((plane * 0.3 + 100).astype(np.uint8)) == number


def test_a_card_has_none_and_neither_has_a_plain_picture() -> None:
    assert read_number(decode(encode(card(640, 360, None), 85)).pixels[..., 1]) is None
    assert read_number(np.full((64, 480), 120, np.uint8)) is None


def test_one_wrong_bit_is_noticed() -> None:
    plane = luma(5)
    plane[-16:, :32] = plane[-16:, 31::-1]
    assert read_number(plane) is None


def test_a_loop_goes_on_and_what_is_behind_is_counted() -> None:
    unrolled = Unrolled(10)
    places = [unrolled.place(n % 10, n + 1) for n in range(35)]
    assert places == list(range(35))
    assert unrolled.disordered == 0
    assert unrolled.place(2, 36) == 32
    assert unrolled.place(4, 36) == 34
    assert unrolled.disordered == 2
    assert unrolled.last == 34
