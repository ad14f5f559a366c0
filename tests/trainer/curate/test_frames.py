"""Decoding for curation: sampling by time, going on from an entry, damage, colour."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from trainer.curate.frames import Entry, Frame, Video


def film(path: Path, seconds: int = 25, fps: int = 10, open_gop: bool = False) -> Path:
    """Each frame's red grows with time; B-frames, an entry every 2 s."""
    size = (96, 64)
    options = {"bf": "2", "threads": "1", "sc_threshold": "0"}
    if open_gop:
        options["x264-params"] = "open-gop=1"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height = size
        stream.pix_fmt, stream.gop_size = "yuv420p", 2 * fps
        for n in range(seconds * fps):
            pixels = np.full((size[1], size[0], 3), (40 + n // 2, 60, 50), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frames_of(video: Video) -> list[Frame]:
    return [item for item in video if isinstance(item, Frame)]


def test_samples_are_taken_by_time(tmp_path: Path) -> None:
    video = Video(film(tmp_path / "a.mp4"), 0.5)
    items = list(video)
    frames = [item for item in items if isinstance(item, Frame)]
    assert video.decoded == len(frames) == 250
    sampled = [f for f in frames if f.slot is not None]
    assert [f.slot for f in sampled] == list(range(50))
    assert [f.time_ns for f in sampled] == [n * 500_000_000 for n in range(50)]
    # entries lie between the frames before and after them
    places = [n for n, item in enumerate(items) if isinstance(item, Entry)]
    assert places == [100, 201]
    video.close()


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("gop", ["closed", "open"])
def test_it_goes_on_from_an_entry_and_decodes_nothing_twice(
    tmp_path: Path, suffix: str, gop: str
) -> None:
    path = film(tmp_path / f"a.{suffix}", open_gop=gop == "open")
    before = Video(path, 0.5)
    seen: list[Frame] = []
    for item in before:
        if isinstance(item, Entry):
            break
        seen.append(item)
    assert isinstance(item, Entry)
    rest = Video(path, 0.5, item.pts, max(f.slot for f in seen if f.slot is not None))
    later = frames_of(rest)
    whole = Video(path, 0.5)
    want = frames_of(whole)
    assert [(f.time_ns, f.slot) for f in (*seen, *later)] == [(f.time_ns, f.slot) for f in want]
    assert before.decoded + rest.decoded == whole.decoded
    assert len(want) >= 240
    for a, b in ((later[0], want[len(seen)]), (later[-1], want[-1])):
        assert np.array_equal(rest.full(a), whole.full(b))
    assert not rest.notes


def test_an_entry_that_is_gone_is_said(tmp_path: Path) -> None:
    video = Video(film(tmp_path / "a.mp4"), 0.5, start=7)
    assert list(video) == [] and "has changed" in video.notes[0]


def test_pictures_at_both_sizes(tmp_path: Path) -> None:
    video = Video(film(tmp_path / "a.mp4", seconds=1), 0.5)
    frame = frames_of(video)[0]
    assert video.small(frame).shape == (144, 256, 3)
    full = video.full(frame)
    assert full.shape == (64, 96, 3)
    assert np.abs(full.reshape(-1, 3).mean(0) - (40, 60, 50)).max() < 4  # red is red


def test_damage_is_noted_and_the_rest_is_used(tmp_path: Path) -> None:
    path = film(tmp_path / "a.ts")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(bytes(data))
    video = Video(path, 0.5)
    assert 150 <= len(frames_of(video)) <= 250


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no video that can be read"):
        Video(path, 0.5)
    with pytest.raises(ValueError, match="no video that can be read"):
        Video(tmp_path / "absent.mp4", 0.5)
