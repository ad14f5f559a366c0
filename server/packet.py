"""A frame on its way between processes: a fixed head, and the picture's bytes."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engines.picture import Colour, Matrix, Picture, Plane, Rgb, Yuv420
from server.shared import Bytes
from server.spec import CODEC_NUMBER, Codec

# stream, epoch, seq, capture_ns, late_ns, tag_seq, tag_ns, out_ns, width, height, codec, matrix,
# full range, flags, index of the engine lane, length of the JSON that follows
HEAD = struct.Struct("<IQQqqQQqIIBBBxHHI")
MATRICES: tuple[Matrix, ...] = ("bt601", "bt709")
CODECS: dict[int, Codec] = {number: codec for codec, number in CODEC_NUMBER.items()}
BARE = "bare"  # note: the payload left as it came, with no mark in its pixels
JFIF = Colour("bt601", full_range=True)  # JFIF 1.02: BT.601, full range


@dataclass(frozen=True, kw_only=True, slots=True)
class Packet:
    """Whose frame it is and what its bytes mean. capture_ns: monotonic, when it came in; late_ns:
    how old it was by then, where that is known; tag_seq, tag_ns: the pusher's own numbers, echoed;
    note: small JSON values."""

    stream: int
    epoch: int
    seq: int
    capture_ns: int
    width: int
    height: int
    codec: Codec
    colour: Colour = JFIF
    late_ns: int = 0
    tag_seq: int = 0
    tag_ns: int = 0
    out_ns: int = 0
    flags: int = 0
    lane: int = 0
    note: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, int]:
        """Frames are ordered by it."""
        return (self.epoch, self.seq)

    def age_ns(self, now: int) -> int:
        return now - self.capture_ns + self.late_ns

    def pack(self) -> bytes:
        note = json.dumps(self.note, separators=(",", ":")).encode() if self.note else b""
        return (
            HEAD.pack(
                self.stream,
                self.epoch,
                self.seq,
                self.capture_ns,
                self.late_ns,
                self.tag_seq,
                self.tag_ns,
                self.out_ns,
                self.width,
                self.height,
                CODEC_NUMBER[self.codec],
                MATRICES.index(self.colour.matrix),
                self.colour.full_range,
                self.flags,
                self.lane,
                len(note),
            )
            + note
        )

    @classmethod
    def unpack(cls, head: bytes) -> Packet:
        """Raises ValueError for bytes that are no head."""
        if len(head) < HEAD.size:
            raise ValueError(f"a head has at least {HEAD.size} bytes, not {len(head)}")
        (stream, epoch, seq, capture_ns, late_ns, tag_seq, tag_ns, out_ns, width, height, codec,
         matrix, full_range, flags, lane, size) = HEAD.unpack_from(head)  # fmt: skip
        if codec not in CODECS or matrix >= len(MATRICES) or len(head) != HEAD.size + size:
            raise ValueError("not a frame's head")
        try:
            note = json.loads(head[HEAD.size :]) if size else {}
        except RecursionError:
            raise ValueError("not a frame's head") from None
        if not isinstance(note, dict):
            raise ValueError("not a frame's head")
        return cls(
            stream=stream,
            epoch=epoch,
            seq=seq,
            capture_ns=capture_ns,
            late_ns=late_ns,
            tag_seq=tag_seq,
            tag_ns=tag_ns,
            out_ns=out_ns,
            width=width,
            height=height,
            codec=CODECS[codec],
            colour=Colour(MATRICES[matrix], bool(full_range)),
            flags=flags,
            lane=lane,
            note=note,
        )


def parts_of(picture: Picture) -> list[Plane]:
    """The arrays to lay one after the other: y u v planes, or packed RGB."""
    if isinstance(picture, Rgb):
        return [picture.pixels]
    return [picture.y, picture.u, picture.v]


def described(packet: Packet, picture: Picture) -> Packet:
    """The packet that goes with the picture's planes."""
    if isinstance(picture, Rgb):
        return replace(packet, width=picture.width, height=picture.height, codec="rgb24")
    return replace(
        packet,
        width=picture.width,
        height=picture.height,
        codec="i420",
        colour=picture.colour,
    )


def raw_bytes(codec: Codec, width: int, height: int) -> int:
    """Of a picture in a raw codec."""
    if codec == "rgb24":
        return 3 * width * height
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)


def picture_of(packet: Packet, body: Bytes) -> Picture:
    """The picture in `body` (views, not copies). Raises ValueError for a wrong size or a JPEG."""
    w, h = packet.width, packet.height
    if packet.codec == "jpeg":
        raise ValueError("a JPEG has to be decoded first")
    size = raw_bytes(packet.codec, w, h)
    if body.size < size:
        raise ValueError(f"{w}x{h} {packet.codec} needs {size} bytes, not {body.size}")
    if packet.codec == "rgb24":
        return Rgb(body[:size].reshape(h, w, 3))
    half_w, half_h = (w + 1) // 2, (h + 1) // 2
    luma, chroma = w * h, half_w * half_h
    return Yuv420(
        y=body[:luma].reshape(h, w),
        u=body[luma : luma + chroma].reshape(half_h, half_w),
        v=body[luma + chroma : size].reshape(half_h, half_w),
        colour=packet.colour,
    )


def as_bytes(payload: bytes | memoryview) -> Bytes:
    return np.frombuffer(payload, np.uint8)
