"""The demo on a small feed: a real service, real answers, files that open."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import pytest

from engines.picture import Rgb
from server import demo, jpeg, mark
from server.errors import SurgiclearError
from server.phantom.feed import Feed
from server.phantom.spec import parse


def test_the_demo_leaves_a_film_a_picture_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "SAMPLE", "phantom:?size=320x180&fps=10&seconds=6&loops=1")
    said: list[str] = []
    table = demo.demo(None, tmp_path / "out", say=said.append)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["lost"] == 0 and report["answered"] == report["sent"]
    assert report["sent"] + report["skipped"] == 60
    assert report["restored"] + sum(report["raw"].values()) <= report["answered"]
    judged = report["quality_psnr_db"]
    assert "clear" in judged and any(group.startswith("smoke ") for group in judged)
    assert sum(group["frames"] for group in judged.values()) == len(range(0, report["answered"], 5))
    assert "not a cleared medical device" in table and "streamed 60 of 60 frames" in said
    picture = cv2.imread(str(tmp_path / "out" / "before-after.png"))
    assert picture is not None and picture.shape[1] == 2 * demo.ROW_WIDTH
    with av.open(str(tmp_path / "out" / "before-after.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height) == (640, 180)
        assert sum(1 for _ in film.decode(stream)) == sum(
            (report["restored"], *report["raw"].values())
        )


def test_the_mark_is_no_part_of_what_is_judged() -> None:
    feed = Feed(parse("phantom:?size=640x360&fps=10&seconds=6&loops=1"))
    plain = jpeg.to_rgb(feed.frame(0).truth)
    marked = Rgb(plain.pixels.copy())
    mark.draw(marked, mark.Mark(restored=True, stale=True, beat=5))
    before, after = (demo._shown(jpeg.encode(p, quality=90)) for p in (plain, marked))
    assert demo.psnr(after, before) < 30
    assert demo.psnr(demo._unmarked(after), demo._unmarked(before)) > 60


def test_a_video_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SurgiclearError):
        demo.demo(str(tmp_path / "missing.mp4"), tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out").exists()
