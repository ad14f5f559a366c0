"""How a run shows itself: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Shown:
    """A `Listener` on a console. steps: of the whole run."""

    def __init__(self, console: Console, steps: int, first: int = 0) -> None:
        self._console, self._steps = console, steps
        self._began, self._first = time.monotonic(), first
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn("{task.fields[said]}"), console=console, refresh_per_second=2,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=steps, completed=first, said="")

    def __enter__(self) -> Shown:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int, values: Mapping[str, float]) -> None:
        said = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=said)
            return
        pace = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
        left_min = (self._steps - step) / pace / 60
        self._line(f"step {step}/{self._steps}  {said}  {pace:.2f}/s, {left_min:.0f} min left")

    def judged(self, step: int, figures: Mapping[str, float]) -> None:
        said = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self._line(f"judged at step {step}  {said}")

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
