"""A video file appears whole, with the input's sound, words and orientation, or not at all."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from clips import make, read
from full_disk import files_of_at_most

from server.decode import Decoded, Decoder
from server.encode import EncoderChoice, usual_choice
from server.errors import OutputIncomplete, SettingInvalid, SinkUnwritable
from server.sink import VideoSink
from server.source import Media


def copy(source: Path, target: Path, choice: EncoderChoice | None = None) -> list[str]:
    """Decodes and encodes again, nothing between."""
    with Media(str(source)) as media, VideoSink(target) as sink:
        decoder = Decoder(media)
        facts = decoder.facts
        chosen = choice or usual_choice(target)
        sink.prepare(media, facts, chosen, facts.width, facts.height)
        for item in decoder:
            if isinstance(item, Decoded):
                sink.write(item.image, item.pts, item.duration)
            else:
                sink.pass_on(item)
        sink.commit()
    return sink.notes


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_times_and_words_travel_along(tmp_path: Path, suffix: str) -> None:
    words = (("title", "Case 12"),)
    source = make(
        tmp_path / f"a{suffix}", audio="flac" if suffix == ".mkv" else "aac", metadata=words
    )
    copy(source, tmp_path / f"b{suffix}")
    before, after = read(source), read(tmp_path / f"b{suffix}")
    assert after.times == before.times
    assert after.audio == before.audio
    assert len(after.audio) >= 5
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        assert {k.lower(): v for k, v in container.metadata.items()}["title"] == "Case 12"


def test_sound_that_does_not_fit_is_refused_before_the_work(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", audio="pcm_s16le")
    with pytest.raises(SinkUnwritable, match="cannot hold the input's pcm_s16le"):
        copy(source, tmp_path / "b.webm")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv"]


def test_sound_without_a_named_layout_fits_where_one_is_needed(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", audio="pcm_s16le")
    copy(source, tmp_path / "b.mp4")
    assert b"".join(read(tmp_path / "b.mp4").audio) == b"".join(read(source).audio)


def test_a_name_that_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="does not fit"):
        VideoSink(tmp_path / "a.png")
    with pytest.raises(SinkUnwritable, match="names no video format"):
        VideoSink(tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_without_commit(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4")
    with Media(str(source)) as media, VideoSink(tmp_path / "b.mp4") as sink:
        decoder = Decoder(media)
        sink.prepare(media, decoder.facts, usual_choice(sink.path), 96, 64)
        for item in decoder:
            assert isinstance(item, Decoded)
            sink.write(item.image, item.pts, item.duration)
        assert len(list(tmp_path.iterdir())) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    source = make(tmp_path / "a.mp4", frames=20, width=320, height=240)
    with files_of_at_most(20_000), pytest.raises(OutputIncomplete, match="no room"):
        copy(source, tmp_path / f"b{suffix}", EncoderChoice("libx264", {"qp": "0"}))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_words_that_do_not_fit_are_left_out_and_said(tmp_path: Path) -> None:
    source, video, words = tmp_path / "a.mkv", make(tmp_path / "v.mkv"), tmp_path / "a.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:00,300\nincision\n")
    with (
        av.open(str(video)) as pictures,
        av.open(str(words)) as lines,
        av.open(str(source), "w") as both,
    ):
        streams = [pictures.streams.video[0], lines.streams.subtitles[0]]
        copies = [both.add_stream_from_template(stream) for stream in streams]
        for stream, target in zip(streams, copies, strict=True):
            for packet in stream.container.demux(stream):
                if packet.dts is not None:
                    packet.stream = target
                    both.mux(packet)
    assert copy(source, tmp_path / "b.mkv") == []
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [s.type for s in container.streams] == ["video", "subtitle"]
    notes = copy(source, tmp_path / "b.webm")
    assert notes == ["1 streams that are no picture or sound are left out"]


def test_an_attachment_travels_where_it_can(tmp_path: Path) -> None:
    source, video = tmp_path / "a.mkv", make(tmp_path / "v.mkv")
    with av.open(str(video)) as old, av.open(str(source), "w") as new:
        pictures = new.add_stream_from_template(old.streams.video[0])
        new.add_attachment("notes.txt", "text/plain", b"consent given")
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = pictures
                new.mux(packet)
    assert copy(source, tmp_path / "b.mkv") == []
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert container.streams.attachments[0].data == b"consent given"
    assert copy(source, tmp_path / "b.mp4") != []
    assert len(read(tmp_path / "b.mp4").times) == 12
