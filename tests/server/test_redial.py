"""A camera dialled again and again: pauses, epochs, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from streams import planes

from server.decode_process import Shown
from server.errors import LoginRefused, SourceUnreadable
from server.redial import FIRST_S, LOGIN_S, MOST_S, SPREAD, redial


class Line:
    """Connections that give `pictures` each and then fail as told."""

    def __init__(self, *pictures: int, error: Callable[[], Exception] | None = None) -> None:
        self.pictures = iter(pictures)
        self.error = error or (lambda: SourceUnreadable("the camera has gone"))
        self.told: list[tuple[str, float]] = []
        self.slept: list[float] = []

    def feed(self, source: str) -> Iterator[Shown]:
        assert source == "rtsp://x"
        for seq in range(next(self.pictures)):
            yield Shown(planes(seq), came_ns=seq)
        raise self.error()

    def frames(self, count: int) -> list[Shown]:
        told = lambda why, patience_s: self.told.append((why, patience_s))  # noqa: E731
        return list(islice(redial(self.feed, "rtsp://x", told, sleep=self.slept.append), count))


def near(wanted: list[float]) -> list[object]:
    return [pytest.approx(value, rel=SPREAD + 1e-6) for value in wanted]


def test_each_later_connection_starts_over() -> None:
    line = Line(2, 2, 1)
    assert [shown.again for shown in line.frames(5)] == [False, False, True, False, True]


def test_pauses_grow_and_a_picture_makes_them_short_again() -> None:
    line = Line(1, 0, 0, 0, 0, 0, 1, 1)
    line.frames(3)
    growing = [min(MOST_S, FIRST_S * 2**n) for n in range(5)]
    assert line.slept == near([FIRST_S, *growing, FIRST_S])


def test_why_is_said_and_for_how_long() -> None:
    line = Line(0, 1)
    line.frames(1)
    assert [why for why, _ in line.told] == ["", "the camera has gone", ""]
    assert line.told[1][1] > line.slept[0]


def test_a_wrong_password_is_not_tried_in_a_hurry() -> None:
    line = Line(0, 0, 1, error=lambda: LoginRefused("no"))
    line.frames(1)
    assert line.slept == near([LOGIN_S, LOGIN_S])


def test_what_is_no_trouble_of_the_camera_gets_out() -> None:
    line = Line(0, 1, error=lambda: ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        line.frames(1)
