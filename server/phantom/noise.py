"""Random fields: the raw material of tissue, smoke and soiling."""

from __future__ import annotations

import math

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

TILE = 256  # side of a repeating tile, a power of two: its index is taken with `& (TILE - 1)`


def generator(seed: int, feature: int) -> np.random.Generator:
    """Each feature of the scene draws from its own stream, so that adding one moves no other."""
    return np.random.default_rng([seed, feature])


def octaves(
    rng: np.random.Generator,
    extent: tuple[float, float],
    shape: tuple[int, int],
    cell: float,
    count: int = 4,
    gain: float = 0.5,
) -> Field:
    """Value noise of about unit variance, h w. extent: height and width in the unit of `cell`,
    the size of the coarsest blobs; finer octaves follow, each with `gain` of the last one's
    amplitude. The field is the same at every resolution, less what a coarse one cannot show."""
    h, w = shape
    total = np.zeros(shape, np.float32)
    for octave in range(count):
        size = cell / 2**octave
        grid = (int(extent[0] / size) + 4, int(extent[1] / size) + 4)
        if grid[0] > 1.5 * h + 4 and grid[1] > 1.5 * w + 4:
            break  # finer than a pixel
        values = rng.standard_normal(grid, np.float32)
        # cell centres fall on the same places of the scene whatever the resolution
        wide = math.ceil(grid[1] * size / extent[1] * w)
        tall = math.ceil(grid[0] * size / extent[0] * h)
        big = cv2.resize(values, (wide, tall), interpolation=cv2.INTER_CUBIC)
        total += np.float32(gain**octave) * big[:h, :w]
    power = sum(gain ** (2 * octave) for octave in range(count))
    return np.asarray(total / np.float32(0.66 * math.sqrt(power)), np.float32)


def tile(rng: np.random.Generator, slope: float, coarsest: float = 2.0) -> Field:
    """A field that repeats seamlessly, TILE TILE, mean 0 and deviation 1.

    Spectral synthesis: random phases under an amplitude falling as frequency to the -slope
    (Peitgen and Saupe, The Science of Fractal Images, 1988, section 2.5); nothing below `coarsest`
    cycles a tile.
    """
    fy = np.fft.fftfreq(TILE, 1.0 / TILE)[:, None]
    fx = np.fft.rfftfreq(TILE, 1.0 / TILE)[None, :]
    frequency = np.hypot(fy, fx)
    amplitude = np.where(frequency >= coarsest, np.maximum(frequency, 1.0) ** -slope, 0.0)
    white = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    field = np.fft.irfft2(white * amplitude, s=(TILE, TILE))
    return np.ascontiguousarray((field / field.std()).astype(np.float32))


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def cells(
    x: Field, y: Field, size: float, jitter_x: Field, jitter_y: Field
) -> tuple[Field, Field, Field]:
    """Distances to the nearest and the second nearest of scattered points, h w each, in cells of
    `size`, and the nearest one's own random number (Worley, SIGGRAPH 1996)."""
    h, w = x.shape
    n = jitter_x.shape[0]
    first = np.empty((h, w), np.float32)
    second = np.empty((h, w), np.float32)
    own = np.empty((h, w), np.float32)
    for i in range(h):
        for j in range(w):
            u, v = x[i, j] / size, y[i, j] / size
            cu, cv = math.floor(u), math.floor(v)
            d1, d2, name = 9.0, 9.0, 0.0
            for a in range(-1, 2):
                for b in range(-1, 2):
                    r, c = int(cv + a) % n, int(cu + b) % n
                    du = cu + b + jitter_x[r, c] - u
                    dv = cv + a + jitter_y[r, c] - v
                    d = math.sqrt(du * du + dv * dv)
                    if d < d1:
                        d1, d2, name = d, d1, jitter_x[r, c]
                    elif d < d2:
                        d2 = d
            first[i, j], second[i, j], own[i, j] = d1, d2, name
    return first, second, own


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def balls(x: Field, y: Field, size: float, jitter_x: Field, jitter_y: Field) -> tuple[Field, Field]:
    """The upper envelope of overlapping balls, one for each cell of `size`, at random heights:
    its height in cells and the top ball's own random number, h w each."""
    h, w = x.shape
    n = jitter_x.shape[0]
    top = np.empty((h, w), np.float32)
    own = np.empty((h, w), np.float32)
    for i in range(h):
        for j in range(w):
            u, v = x[i, j] / size, y[i, j] / size
            cu, cv = math.floor(u), math.floor(v)
            best, name = 0.0, 0.0
            for a in range(-1, 2):
                for b in range(-1, 2):
                    r, c = int(cv + a) % n, int(cu + b) % n
                    du = cu + b + jitter_x[r, c] - u
                    dv = cv + a + jitter_y[r, c] - v
                    radius = 0.62 + 0.38 * jitter_y[c, r]
                    left = radius * radius - du * du - dv * dv
                    if left > 0.0:
                        z = math.sqrt(left) + 0.35 * jitter_x[c, r]
                        if z > best:
                            best, name = z, jitter_y[c, r]
            top[i, j], own[i, j] = best, name
    return top, own


def smoothstep(low: float, high: float, value: Field) -> Field:
    """0 below low, 1 above high, smooth between (low may exceed high: then it falls)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def ease(t: float) -> float:
    """0 to 1, smooth at both ends, for a clock."""
    t = min(1.0, max(0.0, t))
    return t * t * (3.0 - 2.0 * t)
