"""`surgiclear curate`: raw video in; pairs in SurgClean's layout, a contact sheet and a decision
file out.

OUT/journal holds how far each video is, OUT/candidates every picture that may be used,
OUT/decisions.csv what a person may change, OUT/contact-sheet.html what to look at meanwhile,
OUT/dataset the pairs that are accepted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from trainer.curate import decisions, sheet
from trainer.curate.decisions import Row
from trainer.curate.finder import Settings
from trainer.curate.layout import apply as build
from trainer.curate.mine import Mined, Task, journal_of, name_of
from trainer.curate.workers import Here, Workers
from trainer.datasets.videos import case_of, video_files

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Curated:
    """What a run did. pairs: in the data set now."""

    mined: tuple[Mined, ...]
    rows: tuple[Row, ...]
    pairs: int
    wall_s: float

    @property
    def failed(self) -> tuple[Mined, ...]:
        return tuple(m for m in self.mined if m.failure)

    def sentence(self) -> str:
        videos = len(self.mined)
        left = sum(not m.finished and not m.failure for m in self.mined)
        hours = sum(m.length_s for m in self.mined) / 3600
        decoded = sum(m.decoded for m in self.mined)
        rate = decoded / max(self.wall_s, 1e-9)
        text = (
            f"{videos} videos, {hours:.2f} hours, {sum(m.episodes for m in self.mined)} episodes: "
            f"{self.pairs} pairs accepted, {len(self.rows) - self.pairs} rejected; "
            f"{decoded} frames decoded now, {rate:.0f} a second"
        )
        return f"{text}; {left} videos are not finished: run it again" if left else text


def tasks_of(source: Path, out: Path, settings: Settings, engine: str | None) -> list[Task]:
    """One for each video of a folder, or for the one video. Raises ValueError without any."""
    if not source.exists():
        raise ValueError(f"{source} is not there")
    files = video_files(source) if source.is_dir() else [source]
    root = source if source.is_dir() else source.parent
    inside = out.resolve()
    files = [f for f in files if inside not in f.resolve().parents]
    if not files:
        raise ValueError(f"{source} holds no video")
    return [
        Task(
            path=path.absolute(),
            name=name_of(path.relative_to(root).as_posix()),
            label=path.relative_to(root).as_posix(),
            case=case_of(path, root),
            out=out.absolute(),
            settings=settings,
            engine=engine,
        )
        for path in files
    ]


def curate(
    source: Path,
    out: Path,
    *,
    settings: Settings | None = None,
    engine: str | None = None,
    workers: Workers | None = None,
    say: Say = lambda _: None,
) -> Curated:
    """Mines what is not yet mined, then writes decisions (a person's own are kept), sheet and data
    set. Raises ValueError, FileExistsError."""
    tasks = tasks_of(source, out, settings or Settings(), engine)
    out.mkdir(parents=True, exist_ok=True)
    old = decisions.read(out / decisions.NAME) if (out / decisions.NAME).exists() else []
    began = time.monotonic()
    done: dict[str, Mined] = {}
    with ended_by_interrupt() as stop:
        for mined in (workers or Here()).run(tasks, stop):
            done[mined.name] = mined
            say(_line(mined, len(done), len(tasks)))
    wall_s = time.monotonic() - began
    not_begun = [Mined(name=t.name, label=t.label, finished=False) for t in tasks
                 if t.name not in done]  # fmt: skip
    failed = {m.name for m in done.values() if m.failure}
    fresh = [
        row for task in tasks if task.name not in failed
        for row in journal_of(task).load()[0].rows
    ]  # fmt: skip
    rows = decisions.merged(fresh, old)
    # what other folders have given before stays, and what a video gave that cannot be read now
    here = {task.label for task in tasks if task.name not in failed}
    rows += [row for row in old if row.video not in here]
    pairs = _publish(out, rows)
    return Curated((*done.values(), *not_begun), tuple(rows), pairs, wall_s)


def apply(out: Path) -> Curated:
    """Makes sheet and data set what the decision file says. Nothing is decoded.

    Raises ValueError, FileExistsError.
    """
    began = time.monotonic()
    rows = decisions.read(out / decisions.NAME)
    pairs = _publish(out, rows)
    return Curated((), tuple(rows), pairs, time.monotonic() - began)


def _publish(out: Path, rows: list[Row]) -> int:
    pairs = build(out, rows)
    decisions.write(out / decisions.NAME, rows)
    sheet.write(out, rows)
    return pairs


def _line(mined: Mined, number: int, of: int) -> str:
    if mined.failure:
        return f"{number} of {of}: {mined.label}: {mined.failure}"
    state = "" if mined.finished else ", not finished"
    notes = "".join(f"; {note}" for note in mined.notes)
    return (
        f"{number} of {of}: {mined.label}: {mined.length_s / 60:.1f} min, {mined.episodes} "
        f"episodes, {mined.decoded} frames decoded{state}{notes}"
    )


@contextlib.contextmanager
def ended_by_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C asks for a stop at the next commit, the second stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
