"""The guard passes every true repair, however strong, and stops each kind of failure."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import brighten, flat, identity, swap_chroma, wrong_shape
from numpy.typing import NDArray

from engines.picture import Colour, Picture, Rgb, Yuv420
from engines.restorer import ABSENT, NOTHING, Degradation
from server.guard import Cause, check, check_detection

SHARED = Path(os.environ.get("SURGICLEAR_SHARED", Path(__file__).parents[3] / "shared"))
Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


def tissue(seed: int = 0, height: int = 360, width: int = 640) -> Floats:
    """Red, textured, with highlights: h w 3 in 0-255."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3), np.float32)
    for cell, depth in ((4, 8.0), (16, 14.0), (80, 30.0)):
        noise = rng.standard_normal((height // cell + 2, width // cell + 2, 3))
        size = (width, height)
        out += depth * cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    out += np.array([150, 70, 60], np.float32)
    out[60:70, 100:120] = 250
    return out.clip(0, 255)


def veil(truth: Floats, air: tuple[float, float, float], thinnest: float, seed: int) -> Floats:
    """Transmission from `thinnest` to 1: h w 1, turbulent."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((5, 8)).astype(np.float32)
    field = cv2.resize(noise, truth.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    field = (field - field.min()) / (field.max() - field.min())
    return np.asarray(thinnest + (1 - thinnest) * field, np.float32)[..., None]


def eight_bit(values: NDArray[np.floating[Any]]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def compressed(image: Image, quality: int = 75) -> Image:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def planes(image: Image, *, full: bool = False) -> Yuv420:
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    flat420 = cv2.cvtColor(np.ascontiguousarray(image[:h, :w]), cv2.COLOR_RGB2YUV_I420).ravel()
    y, u, v = np.split(flat420, [h * w, h * w * 5 // 4])
    half = (h // 2, w // 2)
    return Yuv420(
        y.reshape(h, w), u.reshape(half), v.reshape(half), Colour("bt601", full_range=full)
    )


AIRS = {"grey": (225.0, 225.0, 225.0), "warm": (240.0, 215.0, 190.0), "white": (255.0,) * 3}


def desmoked(
    truth: Floats, air: tuple[float, float, float], thinnest: float, seed: int, strength: float = 1
) -> tuple[Image, Image]:
    """A compressed smoky frame and its exact repair with the true maps."""
    t = veil(truth, air, thinnest, seed)
    smoke = np.array(air, np.float32) * (1 - t)
    hazy = compressed(eight_bit(truth * t + smoke))
    full = (hazy - smoke) / t
    return hazy, eight_bit(hazy + strength * (full - hazy))


@pytest.mark.parametrize("air", AIRS)
@pytest.mark.parametrize("thinnest", [0.22, 0.4, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_true_desmoking_passes(air: str, thinnest: float, seed: int) -> None:
    """Gain up to 4.5, mean luma far down, grey back to red."""
    hazy, clear = desmoked(tissue(seed), AIRS[air], thinnest, seed)
    assert check(Rgb(hazy), Rgb(clear)) is None
    assert check(planes(hazy), planes(clear)) is None


def test_uniform_dense_smoke_turned_from_grey_to_red_passes() -> None:
    truth = tissue(5)
    smoke = np.array([200, 205, 210], np.float32) * 0.75
    hazy = eight_bit(truth * 0.25 + smoke)
    clear = eight_bit((hazy - smoke) / 0.25)
    before, after = planes(hazy), planes(clear)
    assert before.y.mean() - after.y.mean() > 50
    assert after.v.mean() - before.v.mean() > 15
    assert check(before, after) is None
    assert check(Rgb(hazy), Rgb(clear)) is None


@pytest.mark.skipif(not (SHARED / "data" / "clean").is_dir(), reason="no shared data here")
@pytest.mark.parametrize("air", AIRS)
def test_true_desmoking_of_real_frames_passes(air: str) -> None:
    refused = []
    paths = sorted((SHARED / "data" / "clean").glob("*.jpg"))[::90]
    assert len(paths) > 20
    for seed, path in enumerate(paths):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert image is not None
        truth = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32)
        hazy, clear = desmoked(truth, AIRS[air], 0.22, seed)
        for before, after in ((Rgb(hazy), Rgb(clear)), (planes(hazy), planes(clear))):
            if cause := check(before, after):
                refused.append((path.name, cause))
    assert refused == []


@pytest.mark.parametrize("change", [identity, brighten])
def test_harmless_changes_pass(change: Callable[[Picture], Picture]) -> None:
    for picture in (Rgb(eight_bit(tissue())), planes(eight_bit(tissue()))):
        assert check(picture, change(picture)) is None


def test_a_black_or_even_frame_may_stay_so() -> None:
    neutral = np.full((32, 32), 128, np.uint8)
    black = Yuv420(np.full((64, 64), 16, np.uint8), neutral, neutral)
    assert check(black, identity(black)) is None


def inverted(picture: Picture) -> Picture:
    if isinstance(picture, Rgb):
        return Rgb(255 - picture.pixels)
    return replace(picture, y=251 - picture.y)


def moved(picture: Picture) -> Picture:
    """The content of another place: a stale or displaced frame."""
    if isinstance(picture, Rgb):
        return Rgb(np.roll(picture.pixels, (40, 60), (0, 1)))
    return replace(picture, y=np.roll(picture.y, (40, 60), (0, 1)))


def noisy(picture: Picture) -> Picture:
    rng = np.random.default_rng(1)
    if isinstance(picture, Rgb):
        return Rgb(rng.integers(0, 255, picture.pixels.shape).astype(np.uint8))
    return replace(picture, y=rng.integers(16, 235, picture.y.shape).astype(np.uint8))


def black(picture: Picture) -> Picture:
    """Gone but for the brightest tenth."""
    if isinstance(picture, Rgb):
        bright = picture.pixels > np.quantile(picture.pixels, 0.9)
        return Rgb(np.where(bright, picture.pixels, 0).astype(np.uint8))
    bright = picture.y > np.quantile(picture.y, 0.9)
    return replace(picture, y=np.where(bright, picture.y, 16).astype(np.uint8))


def blown(picture: Picture) -> Picture:
    if isinstance(picture, Rgb):
        return Rgb(np.minimum(picture.pixels.astype(int) + 140, 255).astype(np.uint8))
    return replace(picture, y=np.minimum(picture.y.astype(int) + 120, 235).astype(np.uint8))


def untyped(values: Any) -> Any:
    """What a broken engine hands over is not what its type promises."""
    return values


def floating(picture: Picture) -> Picture:
    if isinstance(picture, Rgb):
        return Rgb(untyped(picture.pixels.astype(np.float32)))
    return replace(picture, y=untyped(picture.y.astype(np.float32)))


def broken(picture: Picture) -> Picture:
    if isinstance(picture, Rgb):
        pixels = picture.pixels.astype(np.float32)
        pixels[::8] = np.inf
        return Rgb(untyped(pixels))
    v = picture.v.astype(np.float32)
    v[::8] = np.nan
    return replace(picture, v=untyped(v))


FAILURES: list[tuple[Callable[[Picture], Picture], Cause]] = [
    (flat, Cause.FLAT),
    (wrong_shape, Cause.SHAPE),
    (swap_chroma, Cause.SWAPPED),
    (inverted, Cause.STRUCTURE),
    (moved, Cause.STRUCTURE),
    (black, Cause.CLIPPED),
    (blown, Cause.CLIPPED),
    (floating, Cause.TYPE),
    (broken, Cause.NON_FINITE),
]


@pytest.mark.parametrize(("fail", "cause"), FAILURES)
@pytest.mark.parametrize("seed", range(3))
def test_each_failure_is_stopped(
    fail: Callable[[Picture], Picture], cause: Cause, seed: int
) -> None:
    image = eight_bit(tissue(seed))
    for picture in (Rgb(image), planes(image)):
        assert check(picture, fail(picture)) == cause


def test_noise_in_place_of_the_scene_is_stopped() -> None:
    image = eight_bit(tissue())
    for picture in (Rgb(image), planes(image)):
        assert check(picture, noisy(picture)) in (Cause.STRUCTURE, Cause.INVENTED)


def test_texture_from_nothing_is_stopped() -> None:
    grey = np.full((360, 640, 3), 180, np.uint8)
    image = eight_bit(tissue())
    assert check(Rgb(grey), Rgb(image)) is Cause.INVENTED
    assert check(planes(grey), planes(image)) is Cause.INVENTED


def test_swapped_colours_of_an_even_red_frame_are_stopped() -> None:
    """No chroma texture: only the hue tells."""
    red = np.tile(np.array([170, 80, 70], np.uint8), (120, 160, 1))
    for picture in (Rgb(red), planes(red)):
        assert check(picture, swap_chroma(picture)) is Cause.SWAPPED


def test_another_colour_tag_is_stopped() -> None:
    picture = planes(eight_bit(tissue()))
    other = replace(picture, colour=Colour("bt709", full_range=True))
    assert check(picture, other) is Cause.TYPE


def test_another_kind_of_picture_is_stopped() -> None:
    image = eight_bit(tissue())
    assert check(planes(image), Rgb(image)) is Cause.TYPE


@pytest.mark.parametrize("size", [(2, 2), (7, 9), (8, 8), (17, 11), (33, 64), (2000, 9)])
def test_small_and_odd_pictures_are_handled(size: tuple[int, int]) -> None:
    h, w = size
    half = ((h + 1) // 2, (w + 1) // 2)
    rng = np.random.default_rng(0)
    y, u, v = (rng.integers(60, 180, s).astype(np.uint8) for s in ((h, w), half, half))
    assert check(Yuv420(y, u, v), identity(Yuv420(y, u, v))) is None
    pixels = rng.integers(0, 255, (h, w, 3)).astype(np.uint8)
    assert check(Rgb(pixels), identity(Rgb(pixels))) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_detection_without_numbers_is_stopped(value: float) -> None:
    assert check_detection(NOTHING) is None
    for bad in (Degradation(value, 0.0, 0), Degradation(0.0, value, 0)):
        assert check_detection(replace(NOTHING, splash=bad)) is Cause.NON_FINITE
    assert ABSENT.level == 0
