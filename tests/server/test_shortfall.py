"""The bytes that a cut recording lacks are counted exactly, and complete ones lack none."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import make

from server.shortfall import missing_bytes

KEYFRAMES = (("preset", "ultrafast"), ("g", "4"))


@pytest.mark.parametrize("cut", [0, 1, 500])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
def test_bytes_are_counted(tmp_path: Path, name: str, cut: int) -> None:
    path = make(tmp_path / name, container_options=(("movflags", "faststart"),) * (name > "a.mo"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - cut])
    assert missing_bytes(path) == cut


def test_a_fragmented_mp4_is_walked_to_its_last_box(tmp_path: Path) -> None:
    flags = (("movflags", "frag_keyframe+empty_moov"),)
    path = make(tmp_path / "a.mp4", container_options=flags, options=KEYFRAMES)
    data = path.read_bytes()
    assert data.count(b"moof") > 1
    assert missing_bytes(path) == 0
    path.write_bytes(data[:-10])
    assert missing_bytes(path) == 10


@pytest.mark.parametrize("name", ["a.ts", "a.h264"])
def test_streams_declare_nothing(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-300])
    assert missing_bytes(path) == 0


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\x1aE\xdf\xa3", b"RIFF", b"\0\0\0\1ftyp", b"\0" * 64]
)
def test_rubbish_is_survived(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    assert missing_bytes(path) >= 0


def test_something_after_the_last_box_is_not_missing(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes() + b"\0" * 32)
    assert missing_bytes(path) == 0
