"""Binary frames: exact layout, round trips, and nothing but typed errors for garbage."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.frame import Provenance, Reason
from server.packet import raw_bytes
from server.spec import Codec, Flag, Levels, Outgoing
from server.wire import (
    HEAD_BYTES,
    HEADER,
    WireCodecUnknown,
    WireError,
    WireForeign,
    WireFrame,
    WireLengthWrong,
    WireSizeWrong,
    WireTruncated,
)

U64 = st.integers(0, 2**64 - 1)
FRAME = WireFrame(codec="jpeg", seq=7, capture_ts_ns=9, width=640, height=360, payload=b"\xff\xd8x")


@st.composite
def frames(draw: st.DrawFn) -> WireFrame:
    codec: Codec = draw(st.sampled_from(("jpeg", "rgb24", "i420")))
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    size = draw(st.integers(1, 300)) if codec == "jpeg" else raw_bytes(codec, width, height)
    return WireFrame(
        codec=codec,
        seq=draw(U64),
        capture_ts_ns=draw(U64),
        width=width,
        height=height,
        payload=draw(st.binary(min_size=size, max_size=size)),
        flags=draw(st.integers(0, 2**16 - 1)),
        mask=draw(st.integers(0, 63)),
        stream=draw(st.integers(0, 2**32 - 1)),
        server_in_ns=draw(U64),
        server_out_ns=draw(U64),
    )


def test_the_layout_is_the_published_one() -> None:
    assert HEADER.size == 48 and HEADER.format == "<HBBHBBIQQQQI"
    message = WireFrame(
        codec="rgb24",
        flags=0x0102,
        mask=0x1B,
        stream=3,
        seq=4,
        capture_ts_ns=5,
        server_in_ns=6,
        server_out_ns=7,
        width=2,
        height=1,
        payload=b"abcdef",
    ).pack()
    assert message == (
        bytes.fromhex("43530101 0201 02 1b 03000000 0400000000000000 0500000000000000")
        + bytes.fromhex("0600000000000000 0700000000000000 0a000000 0200 0100")
        + b"abcdef"
    )


@settings(max_examples=300, deadline=None)
@given(frames())
def test_what_is_packed_unpacks(frame: WireFrame) -> None:
    assert WireFrame.unpack(frame.pack()) == frame


def damaged(at: int, value: int, cut: int, tail: bytes) -> bytes:
    """A real message with one byte changed, cut short, and something after it."""
    message = bytearray(FRAME.pack())
    message[at] = value
    return bytes(message[:cut]) + tail


LENGTH = len(FRAME.pack())


GARBAGE = st.binary(max_size=80) | st.builds(
    damaged,
    st.integers(0, LENGTH - 1),
    st.integers(0, 255),
    st.sampled_from((LENGTH, LENGTH, LENGTH, 0, 51, LENGTH - 1)),
    st.sampled_from((b"", b"", b"x")),
)


@settings(max_examples=500, deadline=None, database=None)
@given(st.lists(GARBAGE, min_size=20, max_size=20))  # 10,000 messages
def test_garbage_gives_typed_errors_only(messages: list[bytes]) -> None:
    for message in messages:
        try:
            frame = WireFrame.unpack(message)
        except WireError as error:
            assert error.code and str(error)
        else:
            assert frame.pack() == message  # accepted: then nothing was lost or invented


@pytest.mark.parametrize(
    ("offset", "layout", "value", "error"),
    [
        (0, "<H", 0x4353, WireForeign),
        (2, "<B", 2, WireForeign),
        (3, "<B", 0, WireForeign),
        (6, "<B", 0, WireCodecUnknown),
        (6, "<B", 4, WireCodecUnknown),
        (6, "<B", 2, WireSizeWrong),  # three bytes are no 640x360 RGB picture
        (44, "<I", 0, WireLengthWrong),
        (44, "<I", 2**32 - 1, WireLengthWrong),
        (48, "<H", 0, WireSizeWrong),
        (48, "<I", 0xFFFFFFFF, WireSizeWrong),
    ],
)
def test_each_lie_has_its_error(
    offset: int, layout: str, value: int, error: type[WireError]
) -> None:
    message = bytearray(FRAME.pack())
    struct.pack_into(layout, message, offset, value)
    with pytest.raises(error):
        WireFrame.unpack(bytes(message))


@pytest.mark.parametrize("size", range(0, HEAD_BYTES, 7))
def test_a_short_message_is_truncated(size: int) -> None:
    with pytest.raises(WireTruncated):
        WireFrame.unpack(FRAME.pack()[:size])


def test_an_empty_picture_is_no_picture() -> None:
    with pytest.raises(WireSizeWrong):
        WireFrame.unpack(
            WireFrame(codec="jpeg", seq=0, capture_ts_ns=0, width=1, height=1, payload=b"").pack()
        )


def test_a_picture_on_its_way_out_keeps_its_facts() -> None:
    item = Outgoing(
        stream=5,
        view="restored",
        epoch=1,
        place_seq=0,
        seq=11,
        capture_ts_ns=12,
        server_in_ns=13,
        server_out_ns=14,
        provenance=Provenance.RAW,
        reason=Reason.LATE,
        stale=True,
        card=False,
        levels=Levels(smoke=4, fog=1, splash=2),
        codec="jpeg",
        width=8,
        height=6,
        payload=b"\xff\xd8",
    )
    frame = WireFrame.of(item)
    assert (frame.stream, frame.seq, frame.capture_ts_ns) == (5, 11, 12)
    assert (frame.server_in_ns, frame.server_out_ns) == (13, 14)
    assert frame.flags == Flag.LATE | Flag.STALE
    assert frame.mask == 0b10_01_11
    assert WireFrame.of(item, in_ns=20, out_ns=21).server_out_ns == 21
    assert WireFrame.unpack(frame.pack()) == frame
