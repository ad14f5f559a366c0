"""Films and sheets of the phantom: complete files, or none."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import surgiclear
from engines.picture import Yuv420
from server.errors import SettingInvalid, SinkUnwritable
from server.phantom.feed import Feed, PhantomFrame
from server.phantom.film import order, write_films, write_sheet
from server.phantom.spec import PhantomSpec

SPEC = PhantomSpec(width=96, height=64, seconds=2.0, episodes=(("splash",),), level=3)


@pytest.fixture(scope="module")
def feed() -> Feed:
    return Feed(SPEC)


def lumas(path: Path) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].average_rate == SPEC.fps
    assert all(int(frame.colorspace) == 1 and int(frame.color_range) == 1 for frame in frames)
    return [frame.to_ndarray(format="yuv420p")[: SPEC.height] for frame in frames]


def distance(shown: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], picture: Yuv420) -> float:
    return float(np.abs(shown.astype(int) - picture.y).mean())


def test_the_film_and_its_truth_hold_every_frame(feed: Feed, tmp_path: Path) -> None:
    out, truth = tmp_path / "film.mp4", tmp_path / "truth.mkv"
    seen: list[tuple[int, int | None]] = []
    assert write_films(feed, out, truth, lambda done, total: seen.append((done, total))) == []
    assert seen == [(i + 1, SPEC.frames) for i in range(SPEC.frames)]
    pictures, truths = lumas(out), lumas(truth)
    assert len(pictures) == len(truths) == SPEC.frames
    for index in (0, 25, SPEC.frames - 1):
        frame = feed.frame(index)
        assert distance(pictures[index], frame.picture) < 3
        assert distance(truths[index], frame.truth) < 3
    middle = feed.frame(25)
    assert distance(pictures[25], middle.truth) > 5  # they are not mixed up
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "truth.mkv"]


def test_odd_sizes_are_written_and_said(tmp_path: Path) -> None:
    spec = PhantomSpec(width=67, height=65, seconds=1.0, episodes=())
    notes = write_films(Feed(spec), tmp_path / "odd.mp4")
    assert len(notes) == 1
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (67, 65)


def test_a_sheet_shows_the_loop(feed: Feed, tmp_path: Path) -> None:
    write_sheet(feed, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 * 96, 4 * 64)
        pixels = np.asarray(sheet).astype(int)
    tiles = pixels.reshape(4, 64, 4, 96, 3).swapaxes(1, 2).reshape(16, 64, 96, 3)
    red, green = tiles[..., 0].mean(), tiles[..., 1].mean()
    assert red > 1.15 * green
    assert np.abs(tiles[0] - tiles[8]).mean() > 5


@pytest.mark.parametrize("broken", ["picture", "disk"])
def test_nothing_is_left_of_a_film_that_fails(
    broken: str, feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "picture":
        made = feed.frame

        def frame(index: int) -> PhantomFrame:
            if index == 20:
                raise RuntimeError("broken")
            return made(index)

        monkeypatch.setattr(feed, "frame", frame)
        with pytest.raises(RuntimeError, match="broken"):
            write_films(feed, tmp_path / "a.mp4", tmp_path / "b.mp4")
    else:
        with pytest.raises(SinkUnwritable):
            write_films(feed, tmp_path / "a.mp4", tmp_path / "nowhere" / "b.mp4")
    assert list(tmp_path.iterdir()) == []


def test_wrong_orders_are_refused(feed: Feed, tmp_path: Path) -> None:
    out, console = tmp_path / "a.mp4", Console(quiet=True)
    with pytest.raises(SettingInvalid, match="two files"):
        write_films(feed, out, out)
    with pytest.raises(SettingInvalid, match="endless"):
        order({"size": "64x64", "loops": "0"}, out, None, console)
    with pytest.raises(SettingInvalid, match="no truth"):
        order({"size": "64x64"}, tmp_path / "a.png", out, console)
    with pytest.raises(SettingInvalid, match="WIDTHxHEIGHT"):
        order({"size": "64"}, out, None, console)
    assert list(tmp_path.iterdir()) == []


def test_the_verb_writes_what_it_is_asked_for(tmp_path: Path) -> None:
    small = ["--size", "64x64", "--seconds", "1", "--fps", "10", "--episodes", "fog"]
    run = CliRunner().invoke(
        surgiclear.app,
        ["phantom", str(tmp_path / "a.mp4"), "--truth", str(tmp_path / "b.mp4"), *small],
    )
    assert run.exit_code == 0, run.output
    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert len(list(container.decode(video=0))) == 10
    run = CliRunner().invoke(surgiclear.app, ["phantom", str(tmp_path / "a.png"), *small])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "a.png").stat().st_size > 1000
