"""The offline main job: restores what a path or URL names, and says what it did."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from engines.restorer import KINDS
from server.album import restore_folder, restore_picture
from server.choose import Chosen
from server.errors import SettingInvalid
from server.offline import Order, refuse_same_place, restore_video
from server.progress import Advance, shown
from server.report import Report
from server.source import SourceKind, identify
from server.whole import Whole


class Ending:
    """Whether a signal has asked the work to end. The exception that it raises can get lost in a
    callback of a library (a compiler's, for one); whoever calls `check` now and then finds it."""

    def __init__(self) -> None:
        self._cause: BaseException | None = None

    def ask(self, cause: BaseException) -> None:
        self._cause = cause
        raise cause

    def check(self) -> None:
        """Raises what was asked for, if anything was."""
        if self._cause is not None:
            raise self._cause

    def heeded(self, advance: Advance) -> Advance:
        """The same, with a check at every step."""

        def step(done: int, total: int | None) -> None:
            self.check()
            advance(done, total)

        return step


@contextlib.contextmanager
def ended_by_signals() -> Iterator[Ending]:
    """Ctrl-C, SIGTERM and SIGHUP end the block like an exception, so that unfinished files go."""
    ending = Ending()

    def leave(number: int, frame: FrameType | None) -> None:
        ending.ask(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number))

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, leave) for number in numbers]
    try:
        yield ending
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def order_of(source: str, output: Path, *, kinds: str, **rest: Any) -> Order:
    """The order that command-line words make. kinds: comma-separated. Raises SettingInvalid."""
    wanted = [word.strip() for word in kinds.split(",") if word.strip()]
    for word in wanted:
        if word not in KINDS:
            raise SettingInvalid(f"no kind is called {word!r}", f"choose among {', '.join(KINDS)}")
    chosen = tuple(kind for kind in KINDS if kind in wanted)
    return Order(source=source, output=output, kinds=chosen, **rest)


def restore(
    order: Order,
    choose: Callable[[], Chosen],
    console: Console,
    report: Path | None = None,
    ending: Ending | None = None,
) -> Report:
    """A picture, a folder of them, or a video. choose: called once the input is known to be
    there; console: for progress. Raises SurgiclearError."""
    ending = Ending() if ending is None else ending
    kind = identify(order.source)
    refuse_same_place(order.source, order.output)
    with contextlib.ExitStack() as opened:
        # before the work, so that a report that cannot be written does not waste it
        paper = None if report is None else opened.enter_context(Whole(report))
        chosen = choose()
        restorer, info = chosen.restorer, chosen.info
        opened.callback(restorer.close)
        if kind is SourceKind.PICTURE:
            done = restore_picture(order, restorer, info)
        elif kind is SourceKind.FOLDER:
            with shown("restoring", console, unit="pictures") as advance:
                done = restore_folder(order, restorer, info, advance=ending.heeded(advance))
        else:
            with shown("restoring", console) as advance:
                done = restore_video(order, restorer, info, advance=ending.heeded(advance))
        if paper is not None:
            paper.write_bytes(done.to_json())
            paper.commit()
    return done
