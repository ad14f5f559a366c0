"""What lies at a path is recognised by its content, and what cannot be used is said plainly."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from clips import make
from PIL import Image

from server.errors import SourceUnreadable
from server.source import Media, SourceKind, identify, without_secrets


def png(path: Path) -> Path:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, "PNG")
    return path


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    assert identify(str(tmp_path)) is SourceKind.FOLDER
    assert identify(str(png(tmp_path / "a.png"))) is SourceKind.PICTURE
    assert identify(str(png(tmp_path / "no_suffix"))) is SourceKind.PICTURE
    assert identify(str(png(tmp_path / "b.jpg"))) is SourceKind.PICTURE
    assert identify(str(make(tmp_path / "a.mp4", frames=2))) is SourceKind.VIDEO
    assert identify("rtsp://camera/1") is SourceKind.VIDEO
    assert identify("phantom:?seconds=1") is SourceKind.VIDEO


def test_passwords_are_not_repeated() -> None:
    url = "http://surgeon:secret@127.0.0.1:9/a.mp4?x=1@2"
    assert without_secrets(url) == "http://127.0.0.1:9/a.mp4?x=1@2"
    assert without_secrets("a@b.mp4") == "a@b.mp4"
    assert without_secrets("rtsp://camera") == "rtsp://camera"
    with pytest.raises(SourceUnreadable) as refused:
        Media(url)
    assert "secret" not in str(refused.value)


def test_nothing_and_empty_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.png").write_text("hello")
    for name, words in (("gone.mp4", "exist"), ("zero.mp4", "empty"), ("text.png", "not a png")):
        with pytest.raises(SourceUnreadable, match=words):
            identify(str(tmp_path / name))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceUnreadable, match="no ordinary file"):
        identify(str(tmp_path / "pipe.mp4"))


def test_a_text_called_a_video_is_refused(tmp_path: Path) -> None:
    for name in ("text.mp4", "text.txt"):
        (tmp_path / name).write_text("hello\n" * 200)
        with pytest.raises(SourceUnreadable, match="not a video"):
            Media(str(tmp_path / name))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    video = make(tmp_path / "a.mkv", audio="pcm_s16le")
    import av

    with av.open(str(video)) as source, av.open(str(tmp_path / "a.wav"), "w") as target:
        copy = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    with pytest.raises(SourceUnreadable, match="holds no video"):
        Media(str(tmp_path / "a.wav"))


def test_a_codec_without_decoder_is_named_as_such(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(SourceUnreadable, match="no decoder"):
        Media(str(path))


def test_a_cut_file_is_refused_or_salvaged(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SourceUnreadable, match="400 bytes are missing.*--salvage"):
        Media(str(path))
    with Media(str(path), salvage=True) as media:
        assert media.notes == ["the input is cut short: 400 bytes are missing at its end"]


def test_a_cut_file_without_its_index_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4")  # the index is at the end
    path.write_bytes(path.read_bytes()[:-2000])
    for salvage in (False, True):
        with pytest.raises(SourceUnreadable, match="index with them"):
            Media(str(path), salvage=salvage)


def test_a_name_with_a_colon_is_a_file(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", frames=2)
    odd = tmp_path / "http: 10%d.mp4"
    (tmp_path / "a.mp4").rename(odd)
    with Media(str(odd)) as media:
        assert sum(1 for _ in media.packets()) == 2
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        with Media(odd.name) as media:
            assert media.video.width == 96
    finally:
        os.chdir(here)
