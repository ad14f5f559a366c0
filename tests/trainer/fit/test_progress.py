"""A bar on a terminal, plain lines in a log."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from trainer.fit.progress import Shown


def told(terminal: bool) -> str:
    out = StringIO()
    console = Console(file=out, width=120, force_terminal=terminal)
    with Shown(console, 10) as shown:
        shown.step(5, {"loss": 0.25})
        shown.judged(5, {"score": 20.0})
        shown.step(10, {"loss": 0.125})
    return out.getvalue()


def test_a_log_has_plain_lines_with_the_time_left() -> None:
    lines = told(False).splitlines()
    assert len(lines) == 3 and "\x1b" not in "".join(lines)
    assert lines[0].startswith("step 5/10  loss 0.25") and "min left" in lines[0]
    assert lines[1] == "judged at step 5  score 20.000"


def test_a_terminal_has_a_bar() -> None:
    text = told(True)
    assert "\x1b" in text and "10/10" in text and "loss 0.125" in text
    assert "judged at step 5" in text
