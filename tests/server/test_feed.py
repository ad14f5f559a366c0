"""What a stream can show: files over and over, phantoms, and cameras that fail in words."""

from __future__ import annotations

import socket
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from simulated import PAYLOAD
from streams import coded

from engines.picture import Yuv420
from server.errors import SettingInvalid, SourceUnreadable
from server.feed import check_source, feed

FRAMES, RATE = 6, 25


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for seq in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(coded(0, seq).pixels, format="rgb24")
            for packet in stream.encode(picture):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def test_a_file_plays_over_and_over_at_its_own_rate(video: Path) -> None:
    shown = list(islice(feed(f"file:{video}"), 2 * FRAMES + 1))
    times = [frame.at_s for frame in shown]
    assert times[:FRAMES] == pytest.approx([n / RATE for n in range(FRAMES)], abs=0.002)
    assert times[FRAMES : 2 * FRAMES] == times[:FRAMES]
    assert [n for n, frame in enumerate(shown) if frame.again] == [FRAMES, 2 * FRAMES]
    first = shown[0].picture
    assert isinstance(first, Yuv420)
    assert (first.width, first.height) == (64, 48)
    assert not np.array_equal(first.y, shown[3].picture.y)  # type: ignore[union-attr]


def test_a_phantom_is_endless_and_timed() -> None:
    shown = list(islice(feed("phantom:?size=64x64&fps=50&seconds=1&episodes=smoke"), 55))
    assert [frame.at_s for frame in shown] == pytest.approx([n / 50 for n in range(55)])
    assert (shown[0].picture.width, shown[0].picture.height) == (64, 64)


@pytest.mark.parametrize(
    "source",
    ["http://x/y", "clip.mp4", "", "phantom:?size=big", "pushed", "rtsp://", "rtsp://h:0/x"],
)
def test_an_unknown_source_is_refused_at_once(source: str) -> None:
    with pytest.raises(SettingInvalid):
        check_source(source)


@pytest.mark.parametrize(
    "source", ["push", "rtsp://camera/1", "rtsps://u:p@camera:322/1", "phantom:"]
)
def test_a_known_one_is_not(source: str) -> None:
    check_source(source)


def test_a_file_has_to_be_a_video(video: Path, tmp_path: Path) -> None:
    check_source(f"file:{video}")
    still = tmp_path / "still.jpg"
    still.write_bytes(PAYLOAD)
    with pytest.raises(SettingInvalid):
        check_source(f"file:{still}")
    with pytest.raises(SourceUnreadable):
        check_source(f"file:{tmp_path / 'none.mp4'}")


def test_a_missing_file_and_a_dead_camera_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable):
        next(feed(f"file:{tmp_path / 'none.mp4'}"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SourceUnreadable, match="refuses the connection"):
        next(feed(f"rtsp://127.0.0.1:{port}/x"))
