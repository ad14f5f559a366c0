"""The binary WebSocket message of `surgiclear.v1`: a 48-byte header, the size, the picture.

Little-endian `<HBBHBBIQQQQI`: magic, version, type, flags, codec, degradation mask, stream,
seq, capture_ts_ns, server_in_ns, server_out_ns, payload length; then width and height as two u16
(counted in the length), then the picture. No I/O here; every fault is one of these errors:

WireError
├── WireTruncated     shorter than a header and a size
├── WireForeign       not our magic, version or type
├── WireCodecUnknown  a codec number that has no meaning
├── WireLengthWrong   the header's length is not the message's
└── WireSizeWrong     no pixels, too many, or not as many bytes as a raw picture of that size has
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from server.errors import UserError
from server.packet import CODECS, raw_bytes
from server.spec import CODEC_NUMBER, Codec, Outgoing

MAGIC = 0x5343
VERSION = 1
FRAME = 1
HEADER = struct.Struct("<HBBHBBIQQQQI")
SIZE = struct.Struct("<HH")
HEAD_BYTES = HEADER.size + SIZE.size
MAX_PIXELS = 4096 * 2160


class WireError(UserError):
    """A message is not a frame of this protocol; `code` goes to the peer."""

    code = "bad_frame"


class WireTruncated(WireError):
    """Shorter than a header and a size."""

    code = "truncated"


class WireForeign(WireError):
    """Another magic, version or type."""

    code = "foreign"


class WireCodecUnknown(WireError):
    """A codec number that has no meaning."""

    code = "codec_unknown"


class WireLengthWrong(WireError):
    """The header's payload length is not what follows it."""

    code = "length_wrong"


class WireSizeWrong(WireError):
    """No pixels, more than the cap, or a raw picture of another number of bytes."""

    code = "size_wrong"


@dataclass(frozen=True, kw_only=True, slots=True)
class WireFrame:
    """One frame message. Times in ns; seq, capture_ts_ns: the client's own, echoed to it."""

    codec: Codec
    seq: int
    capture_ts_ns: int
    width: int
    height: int
    payload: bytes | memoryview
    flags: int = 0
    mask: int = 0
    stream: int = 0
    server_in_ns: int = 0
    server_out_ns: int = 0

    def pack(self) -> bytes:
        """The message. Raises struct.error for a field that does not fit its width."""
        return b"".join(
            (
                HEADER.pack(
                    MAGIC,
                    VERSION,
                    FRAME,
                    self.flags,
                    CODEC_NUMBER[self.codec],
                    self.mask,
                    self.stream,
                    self.seq,
                    self.capture_ts_ns,
                    self.server_in_ns,
                    self.server_out_ns,
                    SIZE.size + len(self.payload),
                ),
                SIZE.pack(self.width, self.height),
                self.payload,
            )
        )

    @classmethod
    def unpack(cls, message: bytes | memoryview, *, max_pixels: int = MAX_PIXELS) -> WireFrame:
        """Reads one message; the payload is a view of it, nothing is copied. Raises WireError."""
        if len(message) < HEAD_BYTES:
            raise WireTruncated(f"a frame has at least {HEAD_BYTES} bytes, not {len(message)}")
        (magic, version, kind, flags, number, mask, stream, seq, capture_ts_ns, server_in_ns,
         server_out_ns, length) = HEADER.unpack_from(message)  # fmt: skip
        if (magic, version, kind) != (MAGIC, VERSION, FRAME):
            raise WireForeign(f"magic {magic:#06x} version {version} type {kind} is not a frame")
        codec = CODECS.get(number)
        if codec is None:
            raise WireCodecUnknown(f"codec {number} is none of {sorted(CODECS)}")
        if length != len(message) - HEADER.size:
            raise WireLengthWrong(
                f"the header counts {length} bytes, {len(message) - HEADER.size} follow"
            )
        width, height = SIZE.unpack_from(message, HEADER.size)
        picture_bytes = length - SIZE.size
        if not 0 < width * height <= max_pixels:
            raise WireSizeWrong(f"{width}x{height} is not between 1 and {max_pixels} pixels")
        if codec != "jpeg" and picture_bytes != raw_bytes(codec, width, height):
            raise WireSizeWrong(f"{picture_bytes} bytes are no {width}x{height} {codec} picture")
        if picture_bytes == 0:
            raise WireSizeWrong("the picture is empty")
        return cls(
            codec=codec,
            seq=seq,
            capture_ts_ns=capture_ts_ns,
            width=width,
            height=height,
            payload=memoryview(message)[HEAD_BYTES:],
            flags=flags,
            mask=mask,
            stream=stream,
            server_in_ns=server_in_ns,
            server_out_ns=server_out_ns,
        )

    @classmethod
    def of(
        cls, item: Outgoing, *, in_ns: int | None = None, out_ns: int | None = None
    ) -> WireFrame:
        """The message for a picture on its way out; in_ns, out_ns: when the last hop knows these
        better than the stream (the socket's own times)."""
        return cls(
            codec=item.codec,
            seq=item.seq,
            capture_ts_ns=item.capture_ts_ns,
            width=item.width,
            height=item.height,
            payload=item.payload,
            flags=item.flags,
            mask=item.levels.mask,
            stream=item.stream,
            server_in_ns=item.server_in_ns if in_ns is None else in_ns,
            server_out_ns=item.server_out_ns if out_ns is None else out_ns,
        )
