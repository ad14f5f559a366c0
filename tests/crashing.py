"""A restorer that kills, hangs or fills its process when the picture says so."""

from __future__ import annotations

import os
import signal
import time

from fakes import FakeRestorer

from engines.picture import Picture, Rgb
from engines.restorer import Analysis

KILL, HANG, SLOW = 1, 2, 3  # height of the picture that does it


class CrashingRestorer(FakeRestorer):
    def analyse(self, picture: Picture) -> Analysis:
        assert isinstance(picture, Rgb)
        if picture.height == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if picture.height == HANG:
            time.sleep(60)
        if picture.height == SLOW:
            time.sleep(0.3)
        return super().analyse(picture)
