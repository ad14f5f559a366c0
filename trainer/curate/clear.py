"""What a case looks like when nothing hides it, and how far a frame is from that.

The detector's threshold does not transfer between cameras, and it is weak on clear fluid and thin
fog; so every measure is taken against the case's own recent clear frames, in units of how much it
varies among them. Until a case has shown enough, the detector's own threshold rules.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.curate.measure import LIT, Floats, Reading

MEASURES = ("smoke", "fog", "splash", "dulled", "lifted")
# the least rise that counts: of the three logits; of the share of cells that lost their detail;
# of the share whose darkest places rose
LEAST = np.array([1.2, 1.2, 2.4, 0.16, 0.2])
TAIL = 2.5  # a rise must also be this many times what the upper 5 % of clear frames rise by
DULL = 0.6  # a cell is dulled where its detail falls under this share of the clear view's
LIFT = 12.0  # grey levels by which the dark floor of a lifted cell has risen
FEATURELESS = 1.5  # mean Laplacian of a cell that cannot lose detail
MEMORY = 120  # clear readings
ENOUGH, MANY = 8, 40  # to judge by; to know how restless the case is
MOST = 3.0  # times LEAST that a restless case may ask for
LAG_NS = 4_000_000_000  # thin smoke is seen late: what is newer is not yet trusted as clear
UNSURE = 1.5  # logits under the detector's threshold where its doubt ends, while nothing is known


Logits = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Hindrance:
    """How far a frame is from the case's clear view. rises: by MEASURES, 1 is the threshold;
    covered: share of the view that is hidden; sharp: detail as a share of the clear view's."""

    rises: tuple[float, float, float, float, float]
    covered: float
    sharp: float

    @property
    def score(self) -> float:
        """Degraded from 1 on."""
        return max(self.rises)


class ClearView:
    """The recent clear readings of one view, and the detector's logits in the clear frames of the
    case, which hold for the camera and outlive the view."""

    def __init__(self) -> None:
        self.entries: deque[Reading] = deque(maxlen=MEMORY)
        self.waiting: deque[Reading] = deque()
        self.case: deque[Logits] = deque(maxlen=MEMORY)
        self.arriving: deque[tuple[int, Logits]] = deque()
        self._facts: tuple[Floats, Floats, NDArray[np.float64], NDArray[np.float64]] | None = None

    @property
    def known(self) -> bool:
        return len(self.entries) + len(self.waiting) >= ENOUGH

    @property
    def _trusted(self) -> list[Reading]:
        """A view just met has to do with the first of its newest readings."""
        return [*self.entries, *self.waiting][: max(ENOUGH, len(self.entries))]

    def add(self, reading: Reading) -> None:
        """Takes a clear reading; it counts once it is LAG_NS old."""
        self.waiting.append(reading)
        while self.waiting and reading.time_ns - self.waiting[0].time_ns >= LAG_NS:
            self.entries.append(self.waiting.popleft())
        self._facts = None
        self.arriving.append((reading.time_ns, reading.logits))
        while reading.time_ns - self.arriving[0][0] >= LAG_NS:
            self.case.append(self.arriving.popleft()[1])

    def turn(self) -> None:
        """The scope looks elsewhere."""
        self.entries.clear()
        self.waiting.clear()
        self._facts = None

    def distrust(self) -> None:
        """The view has begun to be hidden: what does not count yet never will."""
        trusted = self._trusted
        self.entries.clear()
        self.entries.extend(trusted)
        self.waiting.clear()
        self.arriving.clear()
        self._facts = None

    def judge(self, reading: Reading) -> Hindrance:
        """Holds a frame against the clear view."""
        if not self.known and len(self.case) >= MANY:
            usual = np.median(np.array(self.case), 0)
            a, b, c = (float(x) for x in (np.array(reading.logits) - usual) / LEAST[:3])
            return Hindrance((a, b, c, 0.0, 0.0), reading.coverage, 1.0)
        if not self.known:
            doubt = [max(0.0, 1.0 + logit / UNSURE) for logit in reading.logits]
            return Hindrance((doubt[0], doubt[1], doubt[2], 0.0, 0.0), reading.coverage, 1.0)
        detail, floor, usual, least = self._known()
        values, hidden = _values(
            np.asarray(reading.logits)[None], reading.detail[None], reading.floor[None],
            detail, floor,
        )  # fmt: skip
        rises = (values[0] - usual) / least
        sharp = reading.sharp / max(float(np.median([e.sharp for e in self._trusted])), 1e-6)
        a, b, c, d, e = (float(rise) for rise in rises)
        covered = max(reading.coverage, float(hidden[0]))
        return Hindrance((a, b, c, d, e), min(1.0, covered), sharp)

    def _known(self) -> tuple[Floats, Floats, NDArray[np.float64], NDArray[np.float64]]:
        """Clear detail and floor by cell; the usual value of each measure and the least rise."""
        if self._facts is None:
            details = np.stack([e.detail for e in self._trusted])
            floors = np.stack([e.floor for e in self._trusted])
            detail = np.median(details, 0).astype(np.float32)
            floor = np.median(floors, 0).astype(np.float32)
            logits = np.array([e.logits for e in self._trusted])
            values, _ = _values(logits, details, floors, detail, floor)
            usual = np.median(values, 0)
            least = LEAST
            if len(values) >= MANY:
                tail = TAIL * (np.quantile(values, 0.95, 0) - usual)
                # bounded: smoke that has slipped in must not raise the bar for all that follows
                least = np.clip(tail, LEAST, MOST * LEAST)
            self._facts = detail, floor, usual, least
        return self._facts


def _values(
    logits: NDArray[np.float64], details: Floats, floors: Floats, detail: Floats, floor: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """MEASURES of n readings (n 5), and the share of the view that is hidden in each (n)."""
    view = (detail > FEATURELESS) | (floor > LIT)
    count = max(1, int(view.sum()))
    textured = view & (detail > FEATURELESS)
    dulled = (details < DULL * detail) & textured
    lifted = (floors > floor + LIFT) & view
    dull = dulled.sum((1, 2)) / max(1, int(textured.sum()))
    lift = lifted.sum((1, 2)) / count
    hidden = (dulled | lifted).sum((1, 2)) / count
    return np.column_stack((logits, dull, lift)), hidden
