"""When a frame is restored and how strongly: hysteresis on evidence against the case itself.

One absolute threshold does not transfer between cameras, so the gate of a video keeps a running
baseline of each kind, the low quantile of the case's own evidence, and opens when one rises.
Strength moves slowly in both directions, so that the picture does not pump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.restorer import KINDS, Degradation, Detection
from engines.restorer import level as covered

Kind = Literal["smoke", "fog", "splash"]

BINS = 64
LOGIT = 12.0  # evidence beyond it counts no more; dense smoke reaches 10, clear views -12
SURE = 0.1  # evidence under it is all one: another kind can press it lower still
STEP_MAX_S = 0.2  # a longer gap between two frames counts as this
STEP_DEFAULT_S = 0.04  # where time does not move, or jumps back


class Gate(Protocol):
    """Judges the frames of one stream in order."""

    def step(self, detection: Detection, time_ns: int) -> float:
        """The strength for this frame, 0 (leave it alone) to 1. time_ns: of its capture."""
        ...

    @property
    def clear(self) -> bool:
        """Whether the frame just judged shows the scene unhindered (fit as a reference)."""
        ...

    def grade(self, detection: Detection) -> Detection:
        """The detection of the frame just judged, with the levels that hold for this case."""
        ...

    def reset(self) -> None:
        """Forgets the case."""
        ...


def evidence(probability: float) -> float:
    """0-1, linear in the logit of a probability from -LOGIT to LOGIT; 0.5 is the threshold.

    A detector that is sure of a clear view, say 1 in 10,000, and one that is less sure, 1 in 100,
    differ by much; the probabilities hardly do. Raises ValueError outside 0-1.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"a probability lies in 0-1, not {probability}")
    logit = math.log(max(probability, 1e-9) / max(1.0 - probability, 1e-9))
    return 0.5 + 0.5 * min(max(logit / LOGIT, -1.0), 1.0)


def level(detection: Detection, kinds: tuple[Kind, ...] = KINDS) -> int:
    """The worst level among the kinds asked for, 0-4."""
    return max((getattr(detection, kind).level for kind in kinds), default=0)


class Baseline:
    """A low quantile of a value in [0, 1] over a case, weighted by time, slowly forgetting.

    A prior weight sits at `prior`; the result never exceeds `cap`, so that a case that starts
    in smoke, or is nearly all smoke, is not taken for clear. cap and the gate's open_rise add up
    to the detector's own threshold: until a case has shown clear frames, that threshold rules.
    """

    def __init__(
        self,
        *,
        quantile: float = 0.15,
        prior: float = 0.29,
        prior_s: float = 2.0,
        cap: float = 0.29,
        half_life_s: float = 600.0,
    ) -> None:
        self._quantile, self._cap, self._half_life_s = quantile, cap, half_life_s
        self._weights: NDArray[np.float64] = np.zeros(BINS)
        self._weights[self._bin(prior)] = prior_s

    @staticmethod
    def _bin(value: float) -> int:
        return min(max(int(value * BINS), 0), BINS - 1)

    def add(self, value: float, seconds: float) -> None:
        self._weights *= 0.5 ** (seconds / self._half_life_s)
        self._weights[self._bin(value)] += seconds

    @property
    def value(self) -> float:
        reached = np.cumsum(self._weights)
        index = int(np.searchsorted(reached, self._quantile * reached[-1]))
        return min((index + 0.5) / BINS, self._cap)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateSettings:
    """open_rise, close_rise: of the evidence above the case's baseline; smooth_s: its time
    constant; fade_in_s, fade_out_s: for the strength to go all the way."""

    kinds: tuple[Kind, ...] = KINDS
    open_rise: float = 0.22
    close_rise: float = 0.13
    smooth_s: float = 0.12
    fade_in_s: float = 0.4
    fade_out_s: float = 0.8


@dataclass
class CaseGate:
    """For video: opens and closes with hysteresis around the case's own baseline, and fades.

    The first frame decides at once: there is no earlier picture that it could jump against.
    """

    settings: GateSettings = field(default_factory=GateSettings)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._baselines = {kind: Baseline() for kind in self.settings.kinds}
        self._smooth: dict[Kind, float] = {}
        self._last_ns = 0
        self._found: frozenset[Kind] = frozenset()
        self._strength = 0.0

    @property
    def baselines(self) -> dict[Kind, float]:
        """The evidence that this case shows where it is clear, by kind."""
        return {kind: baseline.value for kind, baseline in self._baselines.items()}

    @property
    def clear(self) -> bool:
        return not self._found and self._strength == 0.0

    def grade(self, detection: Detection) -> Detection:
        """A kind is there when it rises over the case's baseline, whatever its absolute score."""

        def graded(kind: Kind, found: Degradation) -> Degradation:
            if kind not in self.settings.kinds:
                return found
            return replace(found, level=covered(found.coverage, kind in self._found))

        out = replace(
            detection,
            smoke=graded("smoke", detection.smoke),
            fog=graded("fog", detection.fog),
            splash=graded("splash", detection.splash),
        )
        return out if out.splash.level else replace(out, splash_type=None)

    def step(self, detection: Detection, time_ns: int) -> float:
        settings = self.settings
        now = {k: max(evidence(getattr(detection, k).probability), SURE) for k in settings.kinds}
        first = not self._smooth
        gap_s = (time_ns - self._last_ns) * 1e-9
        step_s = min(gap_s, STEP_MAX_S) if not first and gap_s > 0 else STEP_DEFAULT_S
        self._last_ns = time_ns
        share = min(1.0, step_s / settings.smooth_s)
        there = set()
        for kind, baseline in self._baselines.items():
            before = self._smooth.get(kind, now[kind])
            self._smooth[kind] = before + (now[kind] - before) * share
            baseline.add(self._smooth[kind], step_s)
            least = settings.close_rise if kind in self._found else settings.open_rise
            if self._smooth[kind] - baseline.value >= least:
                there.add(kind)
        self._found = frozenset(there)
        if first:
            self._strength = float(bool(there))
        elif there:
            self._strength = min(1.0, self._strength + step_s / settings.fade_in_s)
        else:
            self._strength = max(0.0, self._strength - step_s / settings.fade_out_s)
        return self._strength


@dataclass
class StillGate:
    """For pictures that stand alone: restore from level 1 on, at full strength."""

    kinds: tuple[Kind, ...] = KINDS
    clear: bool = False

    def grade(self, detection: Detection) -> Detection:
        return detection

    def step(self, detection: Detection, time_ns: int) -> float:
        self.clear = level(detection, self.kinds) == 0
        return 0.0 if self.clear else 1.0

    def reset(self) -> None:
        self.clear = False


@dataclass
class OpenGate:
    """Restores every frame, whatever it shows: for timing."""

    clear: bool = False

    def grade(self, detection: Detection) -> Detection:
        return detection

    def step(self, detection: Detection, time_ns: int) -> float:
        return 1.0

    def reset(self) -> None:
        self.clear = False
