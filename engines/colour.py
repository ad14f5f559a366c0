"""Planes to packed RGB and back, for networks that see whole RGB frames."""

from __future__ import annotations

import cv2
import numpy as np

from engines.picture import Colour, Rgb, Yuv420, rgb_matrix


def _levels(colour: Colour) -> tuple[float, float, float]:
    """Black, and the spans of luma and chroma, in grey levels."""
    return (0.0, 255.0, 255.0) if colour.full_range else (16.0, 219.0, 224.0)


def to_rgb(picture: Yuv420) -> Rgb:
    """h w 3 of the planes; chroma is spread linearly, samples in the middle of their pixels."""
    low, span, cspan = _levels(picture.colour)
    h, w = picture.height, picture.width
    size = (picture.u.shape[1] * 2, picture.u.shape[0] * 2)
    u, v = (
        cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)[:h, :w]
        for plane in (picture.u, picture.v)
    )
    matrix = rgb_matrix(picture.colour.matrix) / np.array([span, cspan, cspan]) * 255
    turn = np.hstack([matrix, -(matrix @ np.array([low, 128.0, 128.0]))[:, None]])
    # saturates and rounds to bytes
    return Rgb(np.asarray(cv2.transform(cv2.merge([picture.y, u, v]), turn), np.uint8))


def to_yuv420(picture: Rgb, colour: Colour) -> Yuv420:
    """Planes of these colours; each chroma sample is the mean of its 2x2 pixels."""
    low, span, cspan = _levels(colour)
    h, w = picture.height, picture.width
    matrix = np.linalg.inv(rgb_matrix(colour.matrix)) / 255 * np.array([[span], [cspan], [cspan]])
    turn = np.hstack([matrix, np.array([[low], [128.0], [128.0]])])
    y, u, v = cv2.split(np.asarray(cv2.transform(picture.pixels, turn), np.uint8))
    if h % 2 or w % 2:  # the last row or column stands for the missing one
        u, v = (np.pad(p, ((0, h % 2), (0, w % 2)), mode="edge") for p in (u, v))
    half = ((w + 1) // 2, (h + 1) // 2)
    u, v = (cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in (u, v))
    return Yuv420(y, np.asarray(u, np.uint8), np.asarray(v, np.uint8), colour)
