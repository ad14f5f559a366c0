"""Mines one video: decodes it once, finds its episodes, leaves candidate pairs and a journal."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from engines.restorer import Restorer
from engines.veil import load
from trainer.curate.finder import SAME_SCENE, Episode, Finder, Settings
from trainer.curate.frames import Entry, Video
from trainer.curate.journal import Journal, Progress, identity_of, restore
from trainer.curate.measure import Pixels, read

THUMB_PX = 320


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One video. name: of its folders, unique; case: what must not be split; label: of the video in
    the decision file."""

    path: Path
    name: str
    label: str
    case: str
    out: Path
    settings: Settings
    engine: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Mined:
    """What became of one video. decoded: frames in this run; failure: why nothing could be done."""

    name: str
    label: str
    finished: bool
    decoded: int = 0
    length_s: float = 0.0
    episodes: int = 0
    notes: tuple[str, ...] = ()
    failure: str = ""


def name_of(label: str) -> str:
    """A folder's name for a video: readable, and unique whatever its path holds."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(label).stem).strip("-")[:40] or "video"
    return f"{stem}-{hashlib.blake2b(label.encode(), digest_size=3).hexdigest()}"


def journal_of(task: Task) -> Journal:
    facts = (task.settings, task.engine)
    return Journal(task.out / "journal" / task.name, identity_of(task.path, facts))


@functools.cache
def restorer_of(engine: str | None) -> Restorer:
    """One for each process: loading takes longer than a short video."""
    return load(engine)


def mine(
    task: Task, stop: Callable[[], bool] | None = None, restorer: Restorer | None = None
) -> Mined:
    """Goes on where the journal says; does nothing where the video is done. stop: asked at each
    commit, so that what was decoded is never lost by stopping."""
    try:
        journal = journal_of(task)
        progress, arrays = journal.load()
        if progress.done:
            return _mined(task, progress, 0)
        video = Video(task.path, task.settings.every_s, progress.entry, progress.slot)
    except (OSError, ValueError) as error:
        return Mined(name=task.name, label=task.label, finished=False, failure=str(error))
    finder = Finder(task.settings, journal.shelf)
    if arrays:
        restore(finder, arrays)
    eyes = restorer or restorer_of(task.engine)
    begun = progress.decoded
    try:
        for frame in video:
            if isinstance(frame, Entry):
                progress.entry, progress.decoded = frame.pts, begun + video.decoded
                journal.commit(progress, finder)
                if stop is not None and stop():
                    return _mined(task, progress, video.decoded)
                continue
            progress.length_s = frame.time_ns / 1e9
            if frame.slot is None:
                continue
            progress.slot = frame.slot
            small = video.small(frame)
            reading = read(small, frame.time_ns, eyes, finder.reference)
            episode = finder.step(reading, small, functools.partial(video.full, frame))
            if episode is not None:
                _record(task, journal, progress, finder, episode)
        last = finder.end()
        if last is not None:
            _record(task, journal, progress, finder, last)
    finally:
        video.close()
    progress.done, progress.decoded = True, begun + video.decoded
    progress.notes += video.notes
    journal.commit(progress, None)
    return _mined(task, progress, video.decoded)


def _mined(task: Task, progress: Progress, decoded: int) -> Mined:
    return Mined(
        name=task.name, label=task.label, finished=progress.done, decoded=decoded,
        length_s=progress.length_s, episodes=progress.episodes, notes=tuple(progress.notes),
    )  # fmt: skip


def split_of(case: str, test_share: float) -> str:
    """By a hash of the case's name: it never moves, whatever else is curated."""
    digest = hashlib.sha256(case.encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") < test_share * 2**32 else "train"


def _record(
    task: Task, journal: Journal, progress: Progress, finder: Finder, episode: Episode
) -> None:
    """Pictures and rows of one episode; its pictures leave the shelf."""
    progress.episodes += 1
    number = progress.episodes
    folder = task.out / "candidates" / task.name
    folder.mkdir(parents=True, exist_ok=True)
    gt = ""
    if episode.clear is not None and episode.frames:
        gt = _save(folder, f"e{number:03d}_clear", journal.shelf.get(episode.clear.time_ns))
    for place, (kept, fit) in enumerate(
        zip(episode.frames, episode.agreements, strict=True), start=1
    ):
        name = f"e{number:03d}_{place:02d}"
        picture = _save(folder, name, journal.shelf.get(kept.time_ns))
        reason = episode.refusal
        if not reason and fit < SAME_SCENE:
            reason = "it shows another view than its clear frame"
        progress.rows.append(
            {
                "id": f"{task.name}_{name}",
                "verdict": "reject" if reason else "accept",
                "kind": episode.kind,
                "level": str(kept.level),
                "splash_type": episode.splash_type or "",
                "split": split_of(task.case, task.settings.test_share),
                "reason": reason,
                "case": task.case,
                "video": task.label,
                "start_s": _seconds(episode.start_ns),
                "clear_s": _seconds(episode.clear.time_ns) if episode.clear else "",
                "frame_s": _seconds(kept.time_ns),
                "end_s": _seconds(episode.end_ns),
                "covered": f"{kept.covered:.2f}",
                "agreement": f"{fit:.2f}",
                "input": _below(task, folder, picture),
                "gt": _below(task, folder, gt) if gt else "",
            }
        )
    finder.forget(episode)


def _below(task: Task, folder: Path, name: str) -> str:
    return (folder / name).relative_to(task.out).as_posix()


def _seconds(time_ns: int) -> str:
    return f"{time_ns / 1e9:.2f}"


def thumb(picture: str) -> str:
    """Where the small copy of a candidate's picture lies."""
    return picture.removesuffix(".png") + ".thumb.jpg"


def _save(folder: Path, name: str, pixels: Pixels) -> str:
    """NAME.png, lossless, and its small copy. Raises OSError."""
    turned = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    h, w = turned.shape[:2]
    size = (THUMB_PX, max(1, round(h * THUMB_PX / w)))
    small = cv2.resize(turned, size, interpolation=cv2.INTER_AREA)
    for file, picture in ((f"{name}.png", turned), (thumb(f"{name}.png"), small)):
        done, data = cv2.imencode(Path(file).suffix, picture)
        if not done:
            raise OSError(f"{folder / file} cannot be encoded")
        beside = folder / f"{file}.part"
        beside.write_bytes(data.tobytes())
        beside.replace(folder / file)
    return f"{name}.png"
