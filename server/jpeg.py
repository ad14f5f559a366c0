"""JPEG to picture and back."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

from engines.picture import Colour, Picture, Rgb, Yuv420
from server.errors import SourceUnreadable

SUBSAMPLING = "420"


def size_of(payload: bytes | memoryview) -> tuple[int, int]:
    """Width and height from the header, before anything is decoded. Raises SourceUnreadable."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(payload)
    except ValueError as error:
        raise SourceUnreadable("not a JPEG picture", str(error)) from error
    return int(width), int(height)


def decode(payload: bytes | memoryview) -> Rgb:
    """Raises SourceUnreadable for anything but a sound JPEG."""
    try:
        return Rgb(simplejpeg.decode_jpeg(payload, "RGB"))
    except ValueError as error:
        raise SourceUnreadable("a broken JPEG picture", str(error)) from error


def decode_planes(payload: bytes | memoryview) -> Picture:
    """As `decode`, but 4:2:0 pictures come as the planes that `encode` takes as they are: the
    repair of planes costs a fifth of that of RGB. Raises SourceUnreadable."""
    picture = decode(payload)
    if simplejpeg.decode_jpeg_header(payload)[3] != SUBSAMPLING:
        return picture
    h, w = picture.height, picture.width
    y, v, u = cv2.split(cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2YCrCb))
    half = ((w + 1) // 2, (h + 1) // 2)
    u, v = (cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in (u, v))
    return Yuv420(y, u, v, Colour(matrix="bt601", full_range=True))


def encode(picture: Picture, quality: int) -> bytes:
    """JFIF, 4:2:0. Planes that are BT.601 full range already, as JFIF has them, go in as they
    are; others pass through RGB."""
    if isinstance(picture, Yuv420):
        if picture.colour.matrix == "bt601" and picture.colour.full_range:
            planes = (np.ascontiguousarray(p) for p in (picture.y, picture.u, picture.v))
            return bytes(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=quality))
        picture = to_rgb(picture)
    pixels = np.ascontiguousarray(picture.pixels)
    return bytes(
        simplejpeg.encode_jpeg(pixels, quality, colorspace="RGB", colorsubsampling=SUBSAMPLING)
    )


def to_rgb(picture: Yuv420) -> Rgb:
    """By libswscale, which is within three grey levels of the exact matrix."""
    import av  # a process that never needs it starts sooner: the last hop of pushed frames
    from av.video.reformatter import ColorRange, Colorspace

    matrix = Colorspace.ITU709 if picture.colour.matrix == "bt709" else Colorspace.ITU601
    h, w = picture.y.shape
    frame = av.VideoFrame(w, h, "yuv420p")
    for plane, values in zip(frame.planes, (picture.y, picture.u, picture.v), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        np.copyto(rows[: values.shape[0], : values.shape[1]], values)
    full = picture.colour.full_range
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=Colorspace.ITU601,  # of no meaning for RGB, but the call asks for one
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    plane = rgb.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return Rgb(rows[:h, : 3 * w].reshape(h, w, 3).copy())
