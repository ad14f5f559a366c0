"""Pictures are the decoder's own planes, their colour is understood, and times move on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make, picture, read

from engines.picture import Colour
from server.decode import Decoded, Decoder, VideoFacts, colour_of, plane_view, planes_of
from server.errors import SourceUnreadable
from server.source import Media


def decoded(path: Path, *, salvage: bool = False) -> tuple[VideoFacts, list[Decoded], list[str]]:
    with Media(str(path), salvage=salvage) as media:
        decoder = Decoder(media)
        items = [item for item in decoder if isinstance(item, Decoded)]
        return decoder.facts, items, media.notes


def test_planes_are_views_of_the_decoders_memory(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", width=98, height=66)
    truth = read(path)
    facts, items, _ = decoded(path)
    assert (facts.width, facts.height, len(items)) == (98, 66, 12)
    for item, luma, chroma in zip(items, truth.lumas, truth.chromas, strict=True):
        assert np.array_equal(item.picture.y, luma)
        assert np.array_equal(item.picture.u, chroma)
        own = plane_view(item.image.planes[0])
        assert np.shares_memory(item.picture.y, own)


@pytest.mark.parametrize(
    ("pixel_format", "codec", "losses"),
    [
        ("yuv420p10le", "libx264", ["10-bit"]),
        ("yuv422p", "libx264", ["4:2:2"]),
        ("yuv444p10le", "libx264", ["10-bit", "4:4:4"]),
        ("gray", "ffv1", []),
        ("gray16le", "ffv1", ["16-bit"]),
        ("yuva420p", "ffv1", ["alpha"]),
        ("bgra", "ffv1", ["RGB", "alpha"]),
        ("gbrp16le", "ffv1", ["16-bit", "RGB"]),
    ],
)
def test_other_formats_become_8_bit_420_and_say_what_is_lost(
    tmp_path: Path, pixel_format: str, codec: str, losses: list[str]
) -> None:
    grey = pixel_format.startswith("gray")
    path = make(
        tmp_path / "a.mkv", codec=codec, pixel_format=pixel_format, color_range=2 if grey else 1
    )
    facts, items, _ = decoded(path)
    assert len(items) == 12
    assert [any(word in loss for loss in facts.losses) for word in losses] == [True] * len(losses)
    assert len(facts.losses) == len(losses)
    red, green, blue = np.moveaxis(picture(0, 96, 64).astype(float), 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    y = items[0].picture.y.astype(float)
    shown = y if facts.colour.full_range else (y - 16) * 255 / 219
    assert abs(shown.mean() - luma.mean()) < 6  # RGB goes to BT.601 at this size
    assert np.corrcoef(shown.ravel(), luma.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("matrix", "colour_range", "name", "height", "expected"),
    [
        (1, 1, "yuv420p", 480, Colour("bt709", full_range=False)),
        (5, 2, "yuv420p", 1080, Colour("bt601", full_range=True)),
        (6, 0, "yuv420p", 1080, Colour("bt601", full_range=False)),
        (2, 0, "yuv420p", 480, Colour("bt601", full_range=False)),
        (2, 0, "yuv420p", 720, Colour("bt709", full_range=False)),
        (9, 1, "yuv420p10le", 2160, Colour("bt709", full_range=False)),
        (2, 0, "yuvj420p", 720, Colour("bt709", full_range=True)),
    ],
)
def test_colour_tags_are_understood(
    matrix: int, colour_range: int, name: str, height: int, expected: Colour
) -> None:
    assert colour_of(matrix, colour_range, name, height) == expected


def test_full_range_and_limited_grey_keep_their_values(tmp_path: Path) -> None:
    for colour_range in (1, 2):
        path = make(
            tmp_path / f"{colour_range}.mkv",
            codec="ffv1",
            pixel_format="gray",
            color_range=colour_range,
        )
        own = read(path).lumas[0]
        _, items, _ = decoded(path)
        assert np.array_equal(items[0].picture.y, own)
        assert set(np.unique(items[0].picture.u)) == {128}


def test_times_are_those_of_the_file(tmp_path: Path) -> None:
    times = [1000 * i * i + 17 * i + 5000 for i in range(12)]
    path = make(tmp_path / "a.mp4", time_base=Fraction(1, 90000), times=times)
    facts, items, notes = decoded(path)
    assert [item.pts * facts.time_base for item in items] == list(read(path).times)
    assert [item.time_ns for item in items] == [int(t * 10**9) for t in read(path).times]
    assert [round(float(t) * 90) for t in read(path).times] == [round(t / 1000) for t in times]
    assert notes == []


def test_a_stream_without_times_gets_them_from_its_rate(tmp_path: Path) -> None:
    facts, items, _ = decoded(make(tmp_path / "a.h264"))
    steps = np.diff([float(item.pts * facts.time_base) for item in items])
    assert np.allclose(steps, 0.04)


def test_bottom_up_images_are_read_the_right_way() -> None:
    frame = av.VideoFrame.from_ndarray(picture(0, 64, 48)).reformat(format="yuv420p")
    upright = planes_of(frame, Colour())
    assert upright.y.shape == (48, 64)
    assert upright.u.shape == (24, 32)


def damage(path: Path) -> None:
    """Zeroes in the middle of the file."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(bytes(data))


def test_a_damaged_packet_is_refused_or_passed_over(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mov", codec="png", pixel_format="rgb24")
    damage(path)
    with pytest.raises(SourceUnreadable, match="damaged"):
        decoded(path)
    _, items, notes = decoded(path, salvage=True)
    assert 0 < len(items) < 12
    assert any("damaged" in note for note in notes)


def test_concealed_damage_is_said(tmp_path: Path) -> None:
    path = make(tmp_path / "a.ts", frames=40)
    damage(path)
    _, items, notes = decoded(path)
    assert len(items) == 40
    assert notes == ["1 frames come from damaged data"]


def test_an_early_end_of_the_pictures_is_said(tmp_path: Path) -> None:
    """Damage that makes the container lose the rest without a word."""
    path = make(tmp_path / "a.webm", codec="libvpx-vp9", frames=60)
    assert decoded(path)[2] == []
    damage(path)
    _, items, notes = decoded(path)
    assert len(items) < 40
    assert any("before the recording does" in note for note in notes), notes


def test_a_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", codec="ffv1", frames=2)
    data = path.read_bytes()
    cluster = data.index(b"\x1f\x43\xb6\x75")
    path.write_bytes(data[:cluster])
    with pytest.raises(SourceUnreadable):
        decoded(path, salvage=True)


def test_a_frame_of_another_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    small, large = make(tmp_path / "s.h264"), make(tmp_path / "l.h264", width=128, height=96)
    joined = tmp_path / "j.h264"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    facts, items, notes = decoded(joined)
    assert {(i.picture.width, i.picture.height) for i in items} == {(96, 64)}
    assert len(items) == 24
    assert any("128x96" in note for note in notes)
    assert facts.width == 96


def test_rotation_and_interlacing_are_known(tmp_path: Path) -> None:
    turned, _, _ = decoded(make(tmp_path / "r.mp4", rotation=90))
    assert turned.sideways
    assert turned.display_matrix is not None
    half, _, _ = decoded(make(tmp_path / "h.mp4", rotation=180))
    assert not half.sideways
    woven, items, _ = decoded(make(tmp_path / "i.mp4", interlaced=True))
    assert woven.interlaced
    assert not np.shares_memory(items[0].picture.y, plane_view(items[0].image.planes[0]))
