"""The whole of it on a short generated surgery: episodes, resuming, decisions, nothing twice."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import surgery
from fakes import FakeRestorer

from engines.restorer import NOTHING
from trainer import dataset
from trainer.curate import decisions, measure, mine, order
from trainer.curate.frames import Entry, Video
from trainer.curate.mine import Mined, Task
from trainer.curate.workers import Here


@pytest.fixture(scope="module")
def made() -> surgery.Surgery:
    return surgery.Surgery(surgery.SHORT)


@pytest.fixture(scope="module")
def film(made: surgery.Surgery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write(tmp_path_factory.mktemp("film") / "short.mp4")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One episode in 28 s: enough where it does not matter what is found."""
    plan = (surgery.Scene(3, 28, surgery.turn("S"), 3),)
    return surgery.Surgery(plan).write(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="module")
def curated(film: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[order.Curated, Path]:
    """With the detector that ships."""
    out = tmp_path_factory.mktemp("curated")
    return order.curate(film, out), out


class Blind:
    """Workers whose detector sees nothing: the case's own clear frames must do, and fast."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after  # commits
        self.commits = 0

    def run(self, tasks: Sequence[Task], stop: threading.Event) -> Iterator[Mined]:
        for task in tasks:
            yield mine.mine(task, self._enough, FakeRestorer(detection=NOTHING))

    def _enough(self) -> bool:
        self.commits += 1
        return self.stop_after is not None and self.commits >= self.stop_after


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The times of all frames that any decoder gives, over all runs."""
    times: list[int] = []
    whole = Video._images

    def counted(self: Video, packet: object) -> Iterator[object]:
        for image in whole(self, packet):
            times.append(image.pts)
            yield image

    monkeypatch.setattr(Video, "_images", counted)
    return times


def test_episodes_are_found_and_their_clear_frames_are_clear(
    made: surgery.Surgery, curated: tuple[order.Curated, Path]
) -> None:
    done, _ = curated
    verdict = surgery.judge(made, list(done.rows))
    assert verdict.known == 4
    assert verdict.precision > 0.9 and verdict.recall > 0.9, verdict.lines()
    assert max(verdict.clear) == 0.0 and min(verdict.direct) > 0.995, verdict.lines()
    near = [abs(true - graded) <= 1 for true, graded in verdict.levels]
    assert np.mean(near) > 0.9, verdict.lines()
    cut_off = [r for r in done.rows if float(r.start_s) > made.length_s - 15]
    assert cut_off and all("ended before it was clear" in r.reason for r in cut_off)


def test_pictures_are_those_of_the_film(film: Path, curated: tuple[order.Curated, Path]) -> None:
    done, out = curated
    row = done.rows[0]
    want = {row.frame_s: row.input, row.clear_s: row.gt}
    video = Video(film, 0.5)
    for frame in video:
        if isinstance(frame, Entry):
            continue
        name = want.pop(f"{frame.time_ns / 1e9:.2f}", None)
        if name is not None:
            saved = cv2.cvtColor(cv2.imread(str(out / name)), cv2.COLOR_BGR2RGB)
            assert np.array_equal(saved, video.full(frame))
    assert not want
    report = dataset.check(out / "dataset")
    assert report.sound and len(report.items) == done.pairs > 10


def test_a_broken_run_goes_on_and_decodes_nothing_twice(
    film: Path, tmp_path: Path, decoded: list[int]
) -> None:
    whole = order.curate(film, tmp_path / "whole", workers=Blind())
    frames = list(decoded)
    assert len(set(frames)) == len(frames) == 660 and whole.pairs > 10
    decoded.clear()
    for commits in (1, 3):
        part = order.curate(film, tmp_path / "parts", workers=Blind(commits))
        assert "not finished" in part.sentence()
    last = order.curate(film, tmp_path / "parts", workers=Blind())
    assert last.rows == whole.rows
    assert sorted(decoded) == frames  # each frame once, over three runs
    assert sum(m.decoded for m in (*part.mined, *last.mined)) < 660
    decoded.clear()
    again = order.curate(film, tmp_path / "parts", workers=Blind())
    assert again.rows == whole.rows and decoded == []
    for row in whole.rows:
        mine_, other = (tmp_path / place / row.input for place in ("whole", "parts"))
        assert mine_.read_bytes() == other.read_bytes()


def test_a_killed_run_loses_what_came_after_its_last_commit_alone(
    film: Path, tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = order.curate(film, tmp_path / "whole", workers=Blind())
    decoded.clear()
    real = measure.read
    samples = 0

    def dies(*given: object) -> object:
        nonlocal samples
        samples += 1
        if samples == 160:
            raise MemoryError
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(mine, "read", dies)
    with pytest.raises(MemoryError):
        order.curate(film, tmp_path / "killed", workers=Blind())
    monkeypatch.setattr(mine, "read", real)
    last = order.curate(film, tmp_path / "killed", workers=Blind())
    assert last.rows == whole.rows
    assert len(decoded) - 660 <= 75  # 10 s between commits and 5 s to the next entry, at 5 a second
    assert len(decoded) - 660 >= 1  # the guard above can fail


def test_a_person_s_decisions_are_applied_without_decoding(
    curated: tuple[order.Curated, Path], tmp_path: Path, decoded: list[int]
) -> None:
    done, source = curated
    out = tmp_path / "out"
    shutil.copytree(source, out)
    rows = decisions.read(out / decisions.NAME)
    assert rows == list(done.rows)
    refused = next(r for r in rows if r.verdict == "reject" and r.gt)
    taken = next(r for r in rows if r.verdict == "accept")
    edited = [
        replace(r, verdict="accept", kind="fog", level="3", split="test") if r == refused
        # one clear frame must not be in both halves
        else replace(r, verdict="reject") if r == taken or r.clear_s == refused.clear_s else r
        for r in rows
    ]  # fmt: skip
    decisions.write(out / decisions.NAME, edited)
    again = order.apply(out)
    assert again.pairs == sum(r.verdict == "accept" for r in edited) and decoded == []
    report = dataset.check(out / "dataset")
    assert not report.problems, [str(p) for p in report.problems]
    assert report.counts["test", "fog", "level 3"] == 1
    assert not list((out / "dataset").rglob(f"{taken.id}.png"))
    assert "accepted" in (out / "contact-sheet.html").read_text()


def test_a_new_run_keeps_a_person_s_word(clip: Path, tmp_path: Path) -> None:
    first = order.curate(clip, tmp_path, workers=Blind())
    place = next(n for n, row in enumerate(first.rows) if row.verdict == "accept")
    edited = list(first.rows)
    edited[place] = replace(edited[place], verdict="reject")
    decisions.write(tmp_path / decisions.NAME, edited)
    again = order.curate(clip, tmp_path, workers=Blind())
    assert list(again.rows) == edited and again.pairs == first.pairs - 1


def test_a_folder_is_curated_by_case_and_a_bad_file_stops_no_other(
    clip: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    for name in ("case 1/a.mp4", "case 1/b.mp4", "case 2/a.mp4"):
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, videos / name)
    (videos / "broken.mp4").write_bytes(b"nothing")
    said: list[str] = []
    done = order.curate(videos, videos / "out", workers=Blind(), say=said.append)
    assert [m.label for m in done.failed] == ["broken.mp4"] and len(said) == 4
    assert any("no video that can be read" in line for line in said)
    assert {r.case for r in done.rows} == {"case 1", "case 2"}
    splits = {(r.case, r.split) for r in done.rows}
    assert len(splits) == 2  # no case on both sides
    assert len({r.id for r in done.rows}) == len(done.rows) >= 6


def test_what_cannot_be_curated_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not there"):
        order.curate(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(ValueError, match="holds no video"):
        order.curate(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="run curate first"):
        order.apply(tmp_path)


def test_the_first_interrupt_asks_the_second_insists() -> None:
    import signal

    with order.ended_by_interrupt() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert list(Here().run([], threading.Event())) == []
