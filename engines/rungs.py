"""One restorer with several ways to repair, the best first: a network over the whole frame, the
same at half the size, the detector's own repair (`veil`), and none (raw).

It stands on one rung at a time and moves when it is told to (server/ladder.py decides): a rung
that is warm costs nothing to step on. The detector looks at every frame whatever the rung, so
nothing has to be learnt anew after a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from engines.errors import FeedsWrong
from engines.picture import Picture, Rgb
from engines.repaint import Pixels, Repainter, referred
from engines.restorer import Analysis, Restorer

VEIL, RAW = "veil", "raw"
AGAIN_MS = 1000.0  # a first run that took longer is not repeated just to time it


class Rungs:
    """A Restorer. networks: label and repainter, the best first; the first one decides which
    sizes are taken, another that does not take a size is left out for it.

    costs_ms: what each rung took for one warm frame of the size that it was last warmed for.
    """

    def __init__(
        self,
        name: str,
        networks: Sequence[tuple[str, Repainter]],
        detector: Restorer,
        *,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not networks:
            raise ValueError("no network to step down from")
        self._name, self._networks, self._detector = name, dict(networks), detector
        self._clock_s = clock_s
        self.labels: tuple[str, ...] = (*self._networks, VEIL, RAW)
        self.at = 0
        self.costs_ms: dict[str, float] = {}
        self._reference: Pixels | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def label(self) -> str:
        """Of the rung in use."""
        return self.labels[self.at]

    def step_to(self, rung: int) -> None:
        """Uses this rung from the next frame on."""
        self.at = min(max(rung, 0), len(self.labels) - 1)

    def refer(self, picture: Picture | None) -> None:
        self._reference = referred(picture)
        self._detector.refer(picture)

    def reset(self) -> None:
        self._reference = None
        self._detector.reset()

    def analyse(self, picture: Picture) -> Analysis:
        """The detector's word; its maps and the reference for the rungs that need them."""
        found = self._detector.analyse(picture)
        return replace(found, maps=(found.maps, self._reference))

    def apply(self, picture: Picture, analysis: Analysis, strength: float = 1.0) -> Picture:
        """The repair of the rung in use; on the last one the picture itself."""
        label = self.label
        if label == RAW:
            return picture
        maps, reference = analysis.maps
        if label == VEIL:
            return self._detector.apply(picture, replace(analysis, maps=maps), strength)
        return self._networks[label].apply(picture, strength, reference)

    def warm(self, width: int, height: int) -> None:
        """Runs and times every rung. Raises FeedsWrong where the best one takes another size."""
        self._detector.warm(width, height)
        plain = Rgb(np.full((height, width, 3), 90, np.uint8))
        analysis = self._detector.analyse(plain)
        costs: dict[str, float] = {}
        for number, (label, network) in enumerate(self._networks.items()):
            started = self._clock_s()
            try:
                network.warm(width, height)
            except FeedsWrong:
                if number == 0:
                    raise
                continue
            costs[label] = (self._clock_s() - started) * 1e3
            if costs[label] <= AGAIN_MS:
                costs[label] = self._timed(lambda n=network: n.apply(plain))  # type: ignore[misc]
        costs[VEIL] = self._timed(lambda: self._detector.apply(plain, analysis))
        costs[RAW] = 0.0
        self.reset()
        self.costs_ms = costs
        self.labels = tuple(costs)
        self.at = 0

    def close(self) -> None:
        for network in self._networks.values():
            network.close()
        self._detector.close()

    def _timed(self, work: Callable[[], object]) -> float:
        started = self._clock_s()
        work()
        return (self._clock_s() - started) * 1e3
