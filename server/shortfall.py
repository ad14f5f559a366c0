"""How many bytes a recording lacks, by its own structure: MP4 boxes, Matroska segment, RIFF size.

A recorder that lost power or disk leaves such files. Stream formats (MPEG-TS) and files that were
written for streaming declare no size, so of them nothing can be said.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

EBML, SEGMENT = 0x1A45DFA3, 0x18538067
BOXES_MOST = 1 << 20  # a fragmented recording of a day has fewer


def missing_bytes(path: Path) -> int:
    """0 where the file is complete or declares nothing. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        file.seek(0)
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            declared = _boxes(file, size)
        elif start[:4] == EBML.to_bytes(4, "big"):
            declared = _matroska(file)
        elif start[:4] == b"RIFF":
            declared = _riff(file, size)
        else:
            declared = 0
    return max(0, declared - size)


def _boxes(file: BinaryIO, size: int) -> int:
    """End of the last top-level box (ISO/IEC 14496-12 section 4.2)."""
    at = 0
    for _ in range(BOXES_MOST):
        if at + 8 > size:
            return at if at >= size else at + 8
        file.seek(at)
        length, _ = struct.unpack(">I4s", file.read(8))
        if length == 0:  # to the end, wherever that is
            return size
        if length == 1:
            wide = file.read(8)
            if len(wide) < 8:
                return at + 16
            (length,) = struct.unpack(">Q", wide)
        if length < 8:  # no box: something else follows the video
            return at
        at += length
    return at


def _matroska(file: BinaryIO) -> int:
    """End of the segment (RFC 8794, RFC 9559); 0 where its size is left open."""
    for wanted in (EBML, SEGMENT):
        element = _number(file, keep_marker=True)
        length = _number(file, keep_marker=False)
        if element != wanted or length is None:
            return 0
        end = file.tell() + length
        file.seek(end)
    return end


def _number(file: BinaryIO, *, keep_marker: bool) -> int | None:
    """A variable-length integer; None for the reserved value (size unknown) or at the end."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    marker = 1 << (7 * length)
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value
    value &= marker - 1
    return None if value == marker - 1 else value


def _riff(file: BinaryIO, size: int) -> int:
    """End of the last RIFF chunk (long AVI files have several)."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length == 0:
            break
        at += 8 + length + length % 2
    return at
