"""JPEG and back: right colours from every kind of plane, and refusal of what is broken."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from simulated import scene

from engines.picture import Colour, Matrix, Rgb, Yuv420, rgb_matrix
from server import jpeg
from server.errors import SourceUnreadable


def planes_of(rgb: Rgb, colour: Colour) -> Yuv420:
    """By the exact matrix, chroma averaged over 2x2."""
    pixels = rgb.pixels.astype(float) / 255
    yuv = pixels @ np.linalg.inv(rgb_matrix(colour.matrix)).T
    y, u, v = np.moveaxis(yuv, 2, 0)
    half = [c.reshape(c.shape[0] // 2, 2, c.shape[1] // 2, 2).mean(axis=(1, 3)) for c in (u, v)]
    luma = y * 255 if colour.full_range else 16 + y * 219
    scale = 255 if colour.full_range else 224
    chroma = [np.clip(128 + c * scale, 0, 255).round().astype(np.uint8) for c in half]
    return Yuv420(np.clip(luma, 0, 255).round().astype(np.uint8), chroma[0], chroma[1], colour)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full", [True, False])
def test_colours_survive_whatever_the_planes_say(matrix: Matrix, full: bool) -> None:
    rgb = scene(3)
    back = jpeg.decode(jpeg.encode(planes_of(rgb, Colour(matrix, full)), 95))
    error = back.pixels.astype(int) - rgb.pixels
    assert abs(error.reshape(-1, 3).mean(axis=0)).max() < 1.5
    assert np.abs(error).mean() < 4


def test_strided_planes_are_encoded_as_they_look() -> None:
    rgb = scene(4)
    flipped = Rgb(rgb.pixels[::-1, ::-1])
    assert not flipped.pixels.flags.c_contiguous
    back = jpeg.decode(jpeg.encode(flipped, 95))
    assert np.abs(back.pixels.astype(int) - flipped.pixels).mean() < 3


def test_the_size_is_known_from_the_header_alone() -> None:
    payload = jpeg.encode(Rgb(scene().pixels[:33, :50].copy()), 80)
    assert jpeg.size_of(payload) == (50, 33)
    header = payload[: payload.index(b"\xff\xda") + 20]
    assert jpeg.size_of(header) == (50, 33)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    for read in (jpeg.size_of, jpeg.decode):
        with pytest.raises(SourceUnreadable):
            read(noise)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_truncated_picture_is_refused(part: float) -> None:
    payload = jpeg.encode(scene(), 90)
    with pytest.raises(SourceUnreadable):
        jpeg.decode(payload[: int(len(payload) * part)])


@pytest.mark.parametrize("size", [(64, 96), (45, 71)])
def test_planes_are_those_that_encoding_takes_as_they_are(size: tuple[int, int]) -> None:
    h, w = size
    ys, xs = np.mgrid[0:h, 0:w]
    pixels = np.stack((xs * 255 // w, ys * 255 // h, 255 - xs * 255 // w), 2).astype(np.uint8)
    payload = jpeg.encode(Rgb(pixels), 95)
    planes = jpeg.decode_planes(payload)
    assert isinstance(planes, Yuv420) and planes.colour == Colour("bt601", True)
    again = jpeg.decode(jpeg.encode(planes, 95)).pixels.astype(int)
    assert np.abs(again - jpeg.decode(payload).pixels).mean() < 3.0


def test_a_jpeg_with_full_colour_stays_rgb() -> None:
    payload = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8), 90, colorsubsampling="444")
    assert isinstance(jpeg.decode_planes(payload), Rgb)
