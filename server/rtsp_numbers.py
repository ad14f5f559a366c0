"""Pictures that say their number, in a way that no codec and no change of contrast hides."""

from __future__ import annotations

import numpy as np

from engines.picture import Plane

CODE_BITS, CELL = 12, 16  # each bit is two cells, light beside dark: which is lighter tells
CONTRAST = 20  # grey levels between the two, at least
WIDTH_LEAST = 2 * (CODE_BITS + 1) * CELL


def write_number(luma: Plane, number: int) -> None:
    """Into the lower left corner."""
    bits = [number >> bit & 1 for bit in range(CODE_BITS)]
    bits.append(sum(bits) % 2)
    cells = np.array([[16 + 219 * bit, 235 - 219 * bit] for bit in bits], np.uint8).reshape(-1)
    luma[-CELL:, : CELL * len(cells)] = cells.repeat(CELL)


def read_number(luma: Plane) -> int | None:
    """None where there is none (a card), or it cannot be read."""
    count = CODE_BITS + 1
    strip = luma[-CELL:, : 2 * count * CELL].astype(np.float32)
    inner = strip.reshape(CELL, 2 * count, CELL)[3:-3, :, 3:-3]
    pairs = inner.mean(axis=(0, 2)).reshape(count, 2)
    if np.abs(pairs[:, 0] - pairs[:, 1]).min() < CONTRAST:
        return None
    bits = [int(left > right) for left, right in pairs]
    if sum(bits[:-1]) % 2 != bits[-1]:
        return None
    return sum(bit << at for at, bit in enumerate(bits[:-1]))


class Unrolled:
    """Numbers of a loop of `length` pictures as numbers that go on."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.last: int | None = None
        self.disordered = 0

    def place(self, number: int, about: int) -> int:
        """about: a number that is at most half a loop away."""
        base = about - (about - number) % self.length
        found = base if about - base <= self.length // 2 else base + self.length
        if self.last is not None and found <= self.last:
            self.disordered += 1
        else:
            self.last = found
        return found
