"""Encoders are asked for by name and options, and what does not fit is said before any work."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engines.picture import Colour, Yuv420
from server.decode import ColourTags, VideoFacts, plane_view
from server.encode import Encoder, EncoderChoice, image_of, usual_choice, write_planes
from server.errors import SettingInvalid

FACTS = VideoFacts(
    width=64,
    height=48,
    colour=Colour("bt601", full_range=False),
    tags=ColourTags(1, 5, 5, 6),
    rate=Fraction(25),
    time_base=Fraction(1, 90000),
    frames=None,
    sample_aspect=Fraction(4, 3),
    display_matrix=None,
    interlaced=False,
    losses=(),
)


def grey(width: int = 64, height: int = 48) -> Yuv420:
    half = ((height + 1) // 2, (width + 1) // 2)
    y = np.tile(np.arange(width, dtype=np.uint8), (height, 1))
    return Yuv420(y, np.full(half, 120, np.uint8), np.full(half, 140, np.uint8), FACTS.colour)


def encoded(tmp_path: Path, choice: EncoderChoice, width: int = 64, height: int = 48) -> Path:
    path = tmp_path / "out.mkv"
    with av.open(str(path), "w") as container:
        encoder = Encoder(container, choice, FACTS, width, height)
        for index in range(3):
            image = image_of(grey(width, height), FACTS)
            container.mux(encoder.encode(image, 5000 + 7001 * index, 7001))
        container.mux(encoder.flush())
    return path


def test_options_are_parsed() -> None:
    choice = EncoderChoice.parse("libx264:preset=ultrafast,crf=20,x264-params=keyint=30:scenecut=0")
    assert choice.codec == "libx264"
    assert choice.options["crf"] == "20"
    assert choice.options["x264-params"] == "keyint=30:scenecut=0"
    assert EncoderChoice.parse("ffv1") == EncoderChoice("ffv1", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nope", "no encoder"),
        ("aac", "encodes audio"),
        ("libx264:crf", "KEY=VALUE"),
        ("libx264:=3", "KEY=VALUE"),
        ("libx264:crf=", "KEY=VALUE"),
    ],
)
def test_bad_words_are_refused(text: str, words: str) -> None:
    with pytest.raises(SettingInvalid, match=words):
        EncoderChoice.parse(text)


def test_the_usual_encoder_depends_on_the_container() -> None:
    assert usual_choice(Path("a.webm")).codec == "libvpx-vp9"
    assert usual_choice(Path("a.MP4")).codec == "libx264"
    assert usual_choice(Path("a.avi")).options["bf"] == "0"


def test_an_unknown_option_and_a_wrong_value_are_refused_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for choice, words in (
        (EncoderChoice("libx264", {"presett": "fast"}), "no option presett"),
        (EncoderChoice("libx264", {"preset": "warp"}), "does not take 64x48"),
    ):
        with pytest.raises(SettingInvalid, match=words):
            encoded(tmp_path, choice)
    assert capfd.readouterr().err == ""


def test_a_codec_that_the_container_does_not_hold_is_refused(tmp_path: Path) -> None:
    with (
        av.open(str(tmp_path / "a.webm"), "w") as container,
        pytest.raises(SettingInvalid, match="do not hold libx264"),
    ):
        Encoder(container, EncoderChoice("libx264"), FACTS, 64, 48)


@pytest.mark.parametrize(("width", "height"), [(65, 48), (64, 47), (65, 47)])
def test_odd_sizes_stay_odd(tmp_path: Path, width: int, height: int) -> None:
    path = encoded(tmp_path, EncoderChoice("libx264", {"qp": "0"}), width, height)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert {(f.width, f.height, f.format.name) for f in frames} == {(width, height, "yuv444p")}
    assert np.array_equal(plane_view(frames[0].planes[0]), grey(width, height).y)


def test_what_the_stream_says_of_itself_is_kept(tmp_path: Path) -> None:
    path = encoded(tmp_path, EncoderChoice("libx264", {"qp": "0", "bf": "0"}))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(video=0))
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        times = [round(f.pts * stream.time_base * 1000) for f in frames]
    assert times == [round((5000 + 7001 * i) / 90) for i in range(3)]
    assert {(f.color_range, f.colorspace, f.color_primaries, f.color_trc) for f in frames} == {
        (1, 5, 5, 6)
    }
    assert np.array_equal(plane_view(frames[0].planes[0]), grey().y)
    assert np.array_equal(plane_view(frames[0].planes[2]), grey().v)


def test_a_codec_without_free_times_rounds_them_and_says_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mpg"), "w") as container:
        encoder = Encoder(container, EncoderChoice("mpeg2video"), FACTS, 64, 48)
        container.mux(encoder.encode(image_of(grey(), FACTS), 0, 3600))
        container.mux(encoder.flush())
    assert encoder.notes == ["mpeg2video rounds times to the frame rate"]


def test_written_planes_replace_all_of_the_old_ones() -> None:
    image = image_of(grey(), FACTS)
    other = replace(grey(), y=np.full((48, 64), 77, np.uint8))
    write_planes(image, other)
    assert set(np.unique(plane_view(image.planes[0]))) == {77}
