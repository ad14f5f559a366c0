"""A log gets a plain line now and then; a terminal a bar that goes away."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from server.progress import LINE_EVERY_S, shown


def ticking(step_s: float) -> Callable[[], float]:
    now = [0.0]

    def clock() -> float:
        now[0] += step_s
        return now[0]

    return clock


def test_a_log_gets_plain_lines_and_not_too_many() -> None:
    out = io.StringIO()
    with shown("restoring", Console(file=out), clock=ticking(1.0)) as advance:
        for done in range(1, 26):
            advance(done, 25)
    lines = out.getvalue().splitlines()
    assert len(lines) == int(26 / LINE_EVERY_S)
    assert lines[0] == "restoring: 10 of 25 frames, 1.0 a second"
    assert "\x1b" not in out.getvalue()


def test_an_unknown_end_is_not_made_up() -> None:
    out = io.StringIO()
    with shown("restoring", Console(file=out), clock=ticking(6.0)) as advance:
        advance(1, None)
        advance(2, None)
    assert out.getvalue() == "restoring: 2 frames, 0.2 a second\n"


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with shown("restoring", console, unit="pictures") as advance:
        advance(3, 4)
    assert "3/4" in out.getvalue()
    assert "pictures/s" in out.getvalue()
