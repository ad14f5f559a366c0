"""The check finds what is wrong inside files and between them, and names each file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import trees

from trainer import dataset
from trainer.datasets.check import look
from trainer.datasets.reader import without


def video(path: Path, frames: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(frames):
            grey = np.full((48, 64, 3), 20 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_sound_tree_is_counted(tmp_path: Path) -> None:
    report = dataset.check(trees.surgclean(tmp_path))
    assert report.sound and len(report.items) == 18
    assert report.counts["test", "smoke", "level 3"] == 1
    assert report.counts["test", "splash", "fluid"] == 1
    assert report.counts["train", "fog", "-"] == 2
    assert report.sizes == {(32, 24): 36}
    assert report.lines()[-1] == "no problem; every file opened; 18 items are sound"


def test_damaged_files_are_named(tmp_path: Path) -> None:
    trees.pair_folders(tmp_path)
    gt = tmp_path / "gt"
    trees.picture(tmp_path / "input" / "c.jpg", 5, (64, 64))
    whole = trees.picture(gt / "c.jpg", 6, (64, 64)).read_bytes()
    (gt / "c.jpg").write_bytes(whole[: len(whole) // 2])  # viewers show half a picture and go on
    png = (gt / "a.png").read_bytes()
    (gt / "a.png").write_bytes(png[:60] + bytes([png[60] ^ 255]) + png[61:])
    (gt / "b.jpg").write_bytes(b"")
    report = dataset.check(tmp_path)
    wrong = {p.path.name: p.what for p in report.problems}
    assert set(wrong) == {"a.png", "b.jpg", "c.jpg"}
    assert wrong["b.jpg"] == "is empty" and "damaged" in wrong["c.jpg"]
    assert report.items == ()
    saved = tmp_path / "check.json"
    saved.write_text(report.as_json())
    assert without(report.found, saved) == []
    assert len(json.loads(saved.read_text())["problems"]) == 3
    names = dataset.check(tmp_path, decode=False)
    assert names.sound and not names.decoded and "names alone" in names.lines()[-1]


def test_what_is_wrong_between_files(tmp_path: Path) -> None:
    place = tmp_path / "train"
    for n in range(3):
        trees.picture(place / "input" / f"{n}.png", n)
        trees.picture(place / "gt" / f"{n}.png", 50 + n)
    trees.picture(place / "gt" / "1.png", 51, (24, 40))
    shutil.copy(place / "input" / "2.png", place / "gt" / "2.png")
    trees.picture(tmp_path / "test" / "gt" / "9.png", 99)
    (tmp_path / "test" / "input").mkdir()
    shutil.copy(place / "input" / "0.png", tmp_path / "test" / "input" / "9.png")
    wrong = {
        p.path.relative_to(tmp_path).as_posix(): p.what for p in dataset.check(tmp_path).problems
    }
    assert wrong["train/input/1.png"] == "is 32x24, its clear picture 40x24"
    assert wrong["train/input/2.png"] == "is the very file of its clear picture"
    assert "in another split" in wrong["test/input/9.png"]
    assert len(wrong) == 3


def test_videos_are_opened(tmp_path: Path) -> None:
    video(tmp_path / "case 1" / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no video at all")
    (tmp_path / "c.mkv").write_bytes(b"")
    report = dataset.check(tmp_path)
    assert report.found.dataset == "videos"
    assert [i.scene for i in report.items] == ["case 1"]
    wrong = {p.path.name: p.what for p in report.problems}
    assert wrong["c.mkv"] == "is empty" and "damaged" in wrong["b.mp4"]


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    assert "cannot be read" in look(tmp_path / "absent.png").wrong
