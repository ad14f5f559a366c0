"""The last check before a restored frame replaces the raw one: is this still the same scene?

A true repair is, near every pixel, an increasing function of the input (gain between 0 and a
bound), so neighbouring differences keep their sign whatever happens to contrast, brightness and
colour. The guard holds a strided sample of the output to that, and to shape, range and hue. It
may cost 0.3 ms at 1280x720.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.picture import LUMA_WEIGHTS, Picture, Rgb, Yuv420
from engines.restorer import KINDS, Detection


class Cause(StrEnum):
    """Why a restored frame was refused."""

    RAISED = "RAISED"  # the restorer raised
    TYPE = "TYPE"  # not a picture of the same kind, bit depth and colour
    SHAPE = "SHAPE"  # another size
    NON_FINITE = "NON_FINITE"  # NaN or infinity, in pixels or in the detection
    FLAT = "FLAT"  # the picture is gone
    CLIPPED = "CLIPPED"  # crushed to black, blown to white, or far brighter
    STRUCTURE = "STRUCTURE"  # moved, stale or foreign content
    INVENTED = "INVENTED"  # texture where the input has none
    SWAPPED = "SWAPPED"  # colours changed places


# Limits, in grey levels of full range where not said otherwise. tests/server/test_guard.py holds
# them against exact desmoking (gain 4, grey to red) on one side and the failures on the other.
SAMPLES = 44  # places sampled along the shorter side (the longer in proportion)
FLAT_BELOW, TEXTURED_ABOVE = 1.5, 4.0  # standard deviation of luma: output, input
CRUSHED_MORE, BLOWN_MORE, BRIGHTER = 0.6, 0.3, 80.0  # shares of the view; grey levels
TEXTURE_RMS = 1.0  # of neighbouring differences; below it the sign of differences is noise
SAME_STRUCTURE = 0.25  # cosine between the differences of output and input
GAIN_LIMIT, GAIN_SLACK = 7.0, 3.0  # rms out <= limit * rms in + slack; the repair's bound is < 5
CHROMA_RMS = 0.7
SWAP_MARGIN = 0.5
HUE = 5.0  # mean chroma that counts as a hue

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Sample:
    """Values at a grid of places and their differences to a near neighbour, in grey levels.

    luma, u, v: values; d_luma, d_u, d_v: differences. Any 1-d shape; u, v: 0 is neutral.
    """

    luma: Floats
    d_luma: Floats
    u: Floats
    v: Floats
    d_u: Floats
    d_v: Floats


def _grid(plane: NDArray[np.uint8], step: int) -> tuple[Floats, Floats]:
    """Values every `step` places, and the differences to the place a quarter step further."""
    near = max(1, step // 4)
    base = plane[::step, : plane.shape[1] - near : step]
    other = plane[::step, near::step][:, : base.shape[1]]
    values = base.astype(np.float32)
    return values, other.astype(np.float32) - values


def _sample(picture: Picture) -> _Sample:
    step = max(2, min(picture.height, picture.width) // SAMPLES)
    if isinstance(picture, Rgb):
        near = max(1, step // 4)
        base = picture.pixels[::step, : picture.width - near : step]
        other = picture.pixels[::step, near::step][:, : base.shape[1]]
        kr, kb = LUMA_WEIGHTS["bt601"]
        to_yuv = np.array(
            [
                [kr, 1 - kr - kb, kb],
                [-kr / (2 - 2 * kb), -(1 - kr - kb) / (2 - 2 * kb), 0.5],
                [0.5, -(1 - kr - kb) / (2 - 2 * kr), -kb / (2 - 2 * kr)],
            ],
            np.float32,
        ).T
        here, there = base.astype(np.float32) @ to_yuv, other.astype(np.float32) @ to_yuv
        step_yuv = there - here
        return _Sample(
            luma=here[..., 0],
            d_luma=step_yuv[..., 0],
            u=here[..., 1],
            v=here[..., 2],
            d_u=step_yuv[..., 1],
            d_v=step_yuv[..., 2],
        )
    luma, d_luma = _grid(picture.y, step)
    if not picture.colour.full_range:
        luma = (luma - 16.0) * np.float32(255 / 219)
    half = max(1, step // 2)
    (u, d_u), (v, d_v) = _grid(picture.u, half), _grid(picture.v, half)
    return _Sample(luma=luma, d_luma=d_luma, u=u - 128, v=v - 128, d_u=d_u, d_v=d_v)


def _rms(values: Floats) -> float:
    flat = values.ravel()
    return math.sqrt(float(flat @ flat) / max(flat.size, 1))


def _cosine(a: Floats, b: Floats) -> float:
    """Between -1 and 1; 0 where either vanishes."""
    x, y = a.ravel(), b.ravel()
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm > 0 else 0.0


def check_detection(detection: Detection) -> Cause | None:
    """A detection whose numbers are numbers: None, else the cause."""
    for kind in KINDS:
        found = getattr(detection, kind)
        if not (math.isfinite(found.probability) and math.isfinite(found.coverage)):
            return Cause.NON_FINITE
    return None


def _planes(picture: Picture) -> tuple[NDArray[np.uint8], ...]:
    if isinstance(picture, Rgb):
        return (picture.pixels,)
    return picture.y, picture.u, picture.v


def _check_form(before: Picture, after: Picture) -> Cause | None:
    if type(after) is not type(before):
        return Cause.TYPE
    planes = _planes(after)
    for old, new in zip(_planes(before), planes, strict=True):
        if new.shape != old.shape:
            return Cause.SHAPE
    for plane in planes:
        if plane.dtype != np.uint8:
            sample = plane[::8, ::8]
            broken = sample.dtype.kind == "f" and not np.isfinite(sample).all()
            return Cause.NON_FINITE if broken else Cause.TYPE
    if isinstance(before, Yuv420) and isinstance(after, Yuv420) and before.colour != after.colour:
        return Cause.TYPE
    return None


def _check_light(old: _Sample, new: _Sample) -> Cause | None:
    if float(new.luma.std()) < FLAT_BELOW and float(old.luma.std()) > TEXTURED_ABOVE:
        return Cause.FLAT
    crushed = float((new.luma <= 2).mean()) - float((old.luma <= 2).mean())
    blown = float((new.luma >= 253).mean()) - float((old.luma >= 253).mean())
    brighter = float(new.luma.mean()) - float(old.luma.mean())
    if crushed > CRUSHED_MORE or blown > BLOWN_MORE or brighter > BRIGHTER:
        return Cause.CLIPPED
    return None


def _check_structure(old: _Sample, new: _Sample) -> Cause | None:
    textured, kept = _rms(old.d_luma), _rms(new.d_luma)
    if kept > GAIN_LIMIT * textured + GAIN_SLACK:
        return Cause.INVENTED
    if textured > TEXTURE_RMS and _cosine(old.d_luma, new.d_luma) < SAME_STRUCTURE:
        return Cause.STRUCTURE
    return None


def _check_hue(old: _Sample, new: _Sample) -> Cause | None:
    if min(_rms(p) for p in (old.d_u, old.d_v, new.d_u, new.d_v)) > CHROMA_RMS:
        straight = _cosine(old.d_u, new.d_u) + _cosine(old.d_v, new.d_v)
        crossed = _cosine(old.d_u, new.d_v) + _cosine(old.d_v, new.d_u)
        if crossed > straight + SWAP_MARGIN:
            return Cause.SWAPPED
    red_before = float(old.v.mean()) > HUE and float(old.u.mean()) < 0
    blue_after = float(new.u.mean()) > HUE and float(new.v.mean()) < 0
    return Cause.SWAPPED if red_before and blue_after else None


def check(before: Picture, after: Picture) -> Cause | None:
    """None where `after` may replace `before`, else why it may not."""
    cause = _check_form(before, after)
    if cause or min(before.height, before.width) < 8:
        return cause
    old, new = _sample(before), _sample(after)
    return _check_light(old, new) or _check_structure(old, new) or _check_hue(old, new)
