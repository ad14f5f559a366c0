"""One frame of `surgiclear.v1`: its 52 bytes of head, its flags, and its pixels.

Little-endian `<HBBHBBIQQQQI` (magic 0x5343, version, type, flags, codec, degradation mask, stream,
seq, capture_ts_ns, server_in_ns, server_out_ns, payload length), width and height as two u16, then
the picture. No I/O.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from surgiclear_client.errors import BadMessage, BadPicture

Pixels = NDArray[np.uint8]
Picture = Pixels | bytes  # h w 3 RGB, or JPEG bytes
Codec = Literal["jpeg", "rgb24", "i420"]

HEADER = struct.Struct("<HBBHBBIQQQQI")
SIZE = struct.Struct("<HH")
HEAD_BYTES = HEADER.size + SIZE.size
MAGIC, VERSION, FRAME = 0x5343, 1, 1
CODECS: dict[int, Codec] = {1: "jpeg", 2: "rgb24", 3: "i420"}
NUMBERS = {codec: number for number, codec in CODECS.items()}


class Flag(IntFlag):
    RESTORED = 1
    BYPASS = 2
    LATE = 4
    STALE = 8
    GUARD = 16
    CLEAR = 32
    ENGINE_DOWN = 64
    WARMING = 128
    SHAPE = 256
    CARD = 512


REASONS = ("BYPASS", "LATE", "GUARD", "CLEAR", "ENGINE_DOWN", "WARMING", "SHAPE")


@dataclass(frozen=True, slots=True)
class Levels:
    """Degradation, 0 (none) to 3 on a socket, to 4 in a single picture."""

    smoke: int = 0
    fog: int = 0
    splash: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame as it came. seq, capture_ts_ns: the sender's own; server_in_ns, server_out_ns: the
    service's monotonic clock."""

    seq: int
    capture_ts_ns: int
    server_in_ns: int
    server_out_ns: int
    stream: int
    flags: Flag
    levels: Levels
    codec: Codec
    width: int
    height: int
    payload: bytes

    @property
    def restored(self) -> bool:
        """False for a raw picture; then `reason` says why."""
        return bool(self.flags & Flag.RESTORED)

    @property
    def reason(self) -> str | None:
        return next((name for name in REASONS if self.flags & Flag[name]), None)

    @property
    def stale(self) -> bool:
        """Older than a picture may be without saying so."""
        return bool(self.flags & Flag.STALE)

    @property
    def card(self) -> bool:
        """Not a camera picture: the service has no signal to show."""
        return bool(self.flags & Flag.CARD)

    @property
    def added_ms(self) -> float:
        """The latency that the service added."""
        return (self.server_out_ns - self.server_in_ns) / 1e6

    @property
    def pixels(self) -> Pixels:
        """h w 3, RGB; decoded anew at each call. Raises BadPicture."""
        if self.codec == "jpeg":
            return decode_jpeg(self.payload)
        flat = np.frombuffer(self.payload, np.uint8)
        if self.codec == "rgb24":
            return flat.reshape(self.height, self.width, 3).copy()
        return from_i420(flat, self.width, self.height)


def raw_bytes(codec: Codec, width: int, height: int) -> int:
    if codec == "rgb24":
        return 3 * width * height
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)


def pack(
    payload: bytes, codec: Codec, width: int, height: int, seq: int, capture_ts_ns: int
) -> bytes:
    """The message that carries a picture to the service. Raises BadPicture for a size that the
    protocol cannot carry."""
    try:
        head = HEADER.pack(
            MAGIC, VERSION, FRAME, 0, NUMBERS[codec], 0, 0, seq, capture_ts_ns, 0, 0,
            SIZE.size + len(payload),
        )  # fmt: skip
        return head + SIZE.pack(width, height) + payload
    except struct.error as error:
        raise BadPicture(f"{width}x{height}, frame {seq}: {error}") from error


def unpack(message: bytes) -> Frame:
    """The frame in a message from the service. Raises BadMessage."""
    if len(message) < HEAD_BYTES:
        raise BadMessage(f"a frame has at least {HEAD_BYTES} bytes, not {len(message)}")
    (magic, version, kind, flags, number, mask, stream, seq, capture_ts_ns, in_ns, out_ns,
     length) = HEADER.unpack_from(message)  # fmt: skip
    if (magic, version, kind) != (MAGIC, VERSION, FRAME) or number not in CODECS:
        raise BadMessage(f"magic {magic:#06x} version {version} type {kind} codec {number}")
    width, height = SIZE.unpack_from(message, HEADER.size)
    codec, size = CODECS[number], length - SIZE.size
    whole = len(message) - HEADER.size == length and size > 0 and width > 0 and height > 0
    if not whole or (codec != "jpeg" and size != raw_bytes(codec, width, height)):
        raise BadMessage(f"{length} bytes announced for {width}x{height} {codec}")
    return Frame(
        seq=seq,
        capture_ts_ns=capture_ts_ns,
        server_in_ns=in_ns,
        server_out_ns=out_ns,
        stream=stream,
        flags=Flag(flags),
        levels=Levels(mask & 3, mask >> 2 & 3, mask >> 4 & 3),
        codec=codec,
        width=width,
        height=height,
        payload=message[HEAD_BYTES:],
    )


def decode_jpeg(data: bytes) -> Pixels:
    """h w 3, RGB. Raises BadPicture."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"), np.uint8)
    except ValueError as error:
        raise BadPicture(f"not a JPEG picture: {error}") from error


def as_jpeg(picture: Picture, quality: int, subsampling: str = "420") -> tuple[bytes, int, int]:
    """JPEG bytes, width and height. Raises BadPicture."""
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise BadPicture(f"expected h w 3 uint8, got {picture.shape} {picture.dtype}")
        pixels = np.ascontiguousarray(picture)
        data = simplejpeg.encode_jpeg(pixels, quality, "RGB", subsampling)
        return bytes(data), picture.shape[1], picture.shape[0]
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(picture)
    except ValueError as error:
        raise BadPicture(f"not a JPEG picture: {error}") from error
    return bytes(picture), int(width), int(height)


def from_i420(flat: Pixels, width: int, height: int) -> Pixels:
    """BT.601, full range (as JFIF 1.02 has it), to h w 3 RGB."""
    half_w, half_h = (width + 1) // 2, (height + 1) // 2
    luma, chroma = width * height, half_w * half_h
    y = flat[:luma].reshape(height, width).astype(np.float32)
    u, v = (
        flat[start : start + chroma]
        .reshape(half_h, half_w)
        .repeat(2, 0)
        .repeat(2, 1)[:height, :width]
        .astype(np.float32)
        - 128.0
        for start in (luma, luma + chroma)
    )
    rgb = np.stack((y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u), axis=2)
    out: Pixels = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return out
