"""How far a long work is: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, int | None], None]  # told how many are done, and of how many if known

LINE_EVERY_S = 10.0


def silent(done: int, total: int | None) -> None:
    """For callers who show nothing."""


@contextlib.contextmanager
def shown(
    what: str,
    console: Console,
    *,
    unit: str = "frames",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """A function to call as often as one likes."""
    if console.is_terminal:
        with Progress(
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as bar:
            task = bar.add_task(what, total=None, rate="")
            started = clock()

            def advance(done: int, total: int | None) -> None:
                spent = max(clock() - started, 1e-6)
                bar.update(task, completed=done, total=total, rate=f"{done / spent:.0f} {unit}/s")

            yield advance
        return
    started = clock()
    last = started

    def line(done: int, total: int | None) -> None:
        nonlocal last
        now = clock()
        if now - last >= LINE_EVERY_S:
            last = now
            of = f" of {total}" if total else ""
            console.print(
                f"{what}: {done}{of} {unit}, {done / (now - started):.1f} a second",
                highlight=False,
                soft_wrap=True,
            )

    yield line
