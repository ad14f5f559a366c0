"""The client's frames against the service's own wire, written apart from it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scripted import jpeg, picture

from server import spec, wire
from server.frame import Reason
from server.wire import WireFrame
from surgiclear_client import BadMessage, BadPicture, Flag, Frame, Levels
from surgiclear_client import frame as client
from surgiclear_client.session import Session

U64 = st.integers(0, 2**64 - 1)
CodecName = Literal["jpeg", "rgb24", "i420"]


def wired(**changes: object) -> WireFrame:
    fields: dict[str, object] = {
        "codec": "jpeg", "seq": 7, "capture_ts_ns": 8, "width": 64, "height": 48,
        "payload": jpeg(), "flags": 1, "mask": 2, "stream": 3, "server_in_ns": 10_000_000,
        "server_out_ns": 14_500_000,
    }  # fmt: skip
    return WireFrame(**fields | changes)  # type: ignore[arg-type]


def test_both_sides_know_the_same_names() -> None:
    ours = {k: v for k, v in vars(spec.Flag).items() if k.isupper()}
    assert {flag.name: flag.value for flag in Flag} == ours
    assert set(client.REASONS) == {reason.value for reason in Reason}
    assert client.NUMBERS == spec.CODEC_NUMBER
    assert client.HEADER.format == wire.HEADER.format and client.MAGIC == wire.MAGIC


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(("jpeg", "rgb24", "i420")), st.integers(1, 9), st.integers(1, 9), U64, U64)
def test_what_the_client_packs_the_service_reads(
    codec: CodecName, width: int, height: int, seq: int, stamp: int
) -> None:
    size = 5 if codec == "jpeg" else client.raw_bytes(codec, width, height)
    message = client.pack(b"x" * size, codec, width, height, seq, stamp)
    read = WireFrame.unpack(message)
    assert (read.codec, read.width, read.height) == (codec, width, height)
    assert (read.seq, read.capture_ts_ns, bytes(read.payload)) == (seq, stamp, b"x" * size)


def test_what_the_service_packs_the_client_reads() -> None:
    frame = client.unpack(wired().pack())
    assert frame == Frame(
        seq=7, capture_ts_ns=8, server_in_ns=10_000_000, server_out_ns=14_500_000, stream=3,
        flags=Flag.RESTORED, levels=Levels(smoke=2), codec="jpeg", width=64, height=48,
        payload=jpeg(),
    )  # fmt: skip
    assert frame.restored and frame.reason is None and not frame.stale and not frame.card
    assert frame.added_ms == 4.5


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_read(reason: Reason) -> None:
    frame = client.unpack(wired(flags=spec.REASON_FLAG[reason] | spec.Flag.STALE).pack())
    assert frame.reason == reason.value and not frame.restored and frame.stale


def jfif_planes(pixels: client.Pixels) -> bytes:
    """Y, Cb and Cr as Pillow has them, the latter at every second place."""
    y, u, v = (np.asarray(p) for p in Image.fromarray(pixels).convert("YCbCr").split())
    return b"".join(p.tobytes() for p in (y, u[::2, ::2], v[::2, ::2]))


def test_pixels_come_back_from_every_codec() -> None:
    pixels = picture()
    assert np.abs(client.unpack(wired().pack()).pixels.astype(int) - pixels).max() < 12
    raw = client.unpack(wired(codec="rgb24", payload=pixels.tobytes()).pack())
    assert np.array_equal(raw.pixels, pixels)
    shown = client.unpack(wired(codec="i420", payload=jfif_planes(pixels)).pack()).pixels
    assert np.abs(shown.astype(int) - pixels).max() < 12


def test_colours_of_i420_are_those_of_jfif() -> None:
    red = np.full((4, 4, 3), (200, 30, 40), np.uint8)
    planes = np.frombuffer(jfif_planes(red), np.uint8)
    assert np.abs(client.from_i420(planes, 4, 4).astype(int) - red).max() <= 3


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=80)
    | st.builds(lambda at, value: damaged(at, value), st.integers(0, 51), st.integers(0, 255))
)
def test_garbage_gives_the_typed_error_only(message: bytes) -> None:
    try:
        client.unpack(message)
    except BadMessage as error:
        assert str(error)


def damaged(at: int, value: int) -> bytes:
    message = bytearray(wired().pack())
    message[at] = value
    return bytes(message)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        b"",
        b"no jpeg",
    ],
)
def test_what_is_no_picture_is_said(
    bad: bytes | np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    with pytest.raises(BadPicture):
        client.as_jpeg(bad, 90)
    with pytest.raises(BadPicture):
        client.pack(b"x", "jpeg", 70_000, 1, 0, 0)


def test_a_picture_that_is_not_contiguous_goes_too() -> None:
    data, width, height = client.as_jpeg(picture()[::-1, ::2], 95)
    assert (width, height) == (32, 48) and client.decode_jpeg(data).shape == (48, 32, 3)


def test_seqs_grow() -> None:
    session = Session()
    assert [session.frame(jpeg())[0] for _ in range(3)] == [0, 1, 2]
    assert session.frame(jpeg(), seq=9)[0] == 9
    with pytest.raises(ValueError, match="9"):
        session.frame(jpeg(), seq=9)
    assert session.pending == 4
