"""A camera again and again: connects, and when it fails connects anew, with growing pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from server.errors import LoginRefused, SourceUnreadable

if TYPE_CHECKING:
    from server.decode_process import Feed, Shown

FIRST_S, MOST_S = 0.25, 1.0  # of the pauses
LOGIN_S = 10.0  # after a wrong password: cameras lock out who tries again and again
SPREAD = 0.2  # of a pause, to and fro: many streams do not come back all at once
TRY_S = 20.0  # a connection may take this long to give its first picture


def redial(
    feed: Feed,
    source: str,
    tell: Callable[[str, float], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Shown]:
    """Without end. tell: why there is no picture ("" while it is tried), and for how many seconds
    that may be so before somebody should look; the first picture of each later connection starts
    over."""
    pause_s, connected_before = FIRST_S, False
    while True:
        tell("", TRY_S)
        given = login = False
        try:
            for shown in feed(source):
                if not given and connected_before:
                    shown = replace(shown, again=True)
                given = connected_before = True
                pause_s = FIRST_S
                yield shown
            why = "the camera has ended the transmission"
        except SourceUnreadable as error:
            why, login = str(error), isinstance(error, LoginRefused)
        wait_s = LOGIN_S if login else pause_s
        wait_s *= random.uniform(1 - SPREAD, 1 + SPREAD)
        tell(why, wait_s + 1.0)
        sleep(wait_s)
        pause_s = pause_s if given else min(MOST_S, 2 * pause_s)
