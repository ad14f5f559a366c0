"""Heads and planes survive the way between processes; bytes that are no head are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.picture import Colour, Picture, Rgb, Yuv420
from server.packet import HEAD, Packet, as_bytes, described, parts_of, picture_of

PLAIN = Packet(stream=7, epoch=2, seq=9, capture_ns=123, width=5, height=3, codec="jpeg")


@given(
    stream=st.integers(0, 2**32 - 1),
    seq=st.integers(0, 2**64 - 1),
    tag=st.integers(0, 2**64 - 1),
    late=st.integers(0, 2**62),
    note=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=4),
)
def test_a_head_survives(
    stream: int, seq: int, tag: int, late: int, note: dict[str, int | str]
) -> None:
    packet = Packet(
        stream=stream,
        epoch=1,
        seq=seq,
        capture_ns=5,
        late_ns=late,
        width=64,
        height=48,
        codec="i420",
        colour=Colour("bt709", full_range=False),
        tag_seq=tag,
        tag_ns=tag,
        flags=0x81,
        lane=1,
        note=note,
    )
    assert Packet.unpack(packet.pack()) == packet
    assert packet.age_ns(9) == 4 + late


@given(st.binary(max_size=200))
def test_noise_is_no_head(noise: bytes) -> None:
    try:
        Packet.unpack(noise)
    except ValueError:
        return
    assert len(noise) >= HEAD.size


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
@pytest.mark.parametrize("form", ["rgb", "yuv"])
def test_planes_survive(form: str, size: tuple[int, int]) -> None:
    h, w = size
    rng = np.random.default_rng(1)
    picture: Picture
    if form == "rgb":
        picture = Rgb(rng.integers(0, 256, (h, w, 3), np.uint8))
    else:
        half = ((h + 1) // 2, (w + 1) // 2)
        y, u, v = (rng.integers(0, 256, s, np.uint8) for s in ((h, w), half, half))
        picture = Yuv420(y, u, v, Colour("bt601", full_range=True))
    packet = described(PLAIN, picture)
    body = as_bytes(b"".join(part.tobytes() for part in parts_of(picture)))
    back = picture_of(packet, body)
    assert type(back) is type(picture)
    for one, other in zip(parts_of(picture), parts_of(back), strict=True):
        assert (one == other).all()
    with pytest.raises(ValueError, match="needs"):
        picture_of(packet, body[:-1])


def test_a_jpeg_is_no_picture_yet() -> None:
    with pytest.raises(ValueError, match="decoded"):
        picture_of(PLAIN, as_bytes(b"x"))
