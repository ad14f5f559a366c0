"""The chain for one stream: detect, gate, restore, guard. Frames in, results out, no I/O."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Protocol

from engines.errors import FeedsWrong
from engines.picture import Picture, Rgb
from engines.restorer import NOTHING, Analysis, Detection, Restorer
from server.frame import Frame, Provenance, Reason, Result
from server.gate import CaseGate, Gate
from server.guard import Cause, check, check_detection


class Stopwatch(Protocol):
    """Told how long each stage of each frame took."""

    def add(self, stage: str, ns: int) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineSettings:
    """strength: 0 (raw) to 1 (the full repair). The last clear frame goes to the restorer at most
    every refer_every_s, and only once the scene stayed clear for refer_settle_s after it, so that
    the first wisps of smoke never become the reference."""

    strength: float = 1.0
    refer_every_s: float = 1.0
    refer_settle_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"strength lies in 0-1, not {self.strength}")


@dataclass
class Tally:
    """What became of the frames so far. first_error: of the restorer, as text."""

    frames: int = 0
    restored: int = 0
    raw: Counter[Reason] = field(default_factory=Counter)
    trips: Counter[Cause] = field(default_factory=Counter)
    first_error: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A frame between the two halves of the chain. strength: that of the gate; analysis: None
    exactly where there is a refusal."""

    frame: Frame
    detection: Detection
    analysis: Analysis | None = None
    strength: float = 0.0
    refusal: Cause | None = None
    error: Exception | None = None


def _copied(picture: Picture) -> Picture:
    """The same picture in memory of its own (a decoder or a ring may reuse the given one)."""
    if isinstance(picture, Rgb):
        return Rgb(picture.pixels.copy())
    return replace(picture, y=picture.y.copy(), u=picture.u.copy(), v=picture.v.copy())


class _LastClear:
    """Chooses which clear frames become the restorer's reference."""

    def __init__(self, settings: PipelineSettings) -> None:
        self._every_ns = int(settings.refer_every_s * 1e9)
        self._settle_ns = int(settings.refer_settle_s * 1e9)
        self._candidate: tuple[Picture, int] | None = None
        self._taken_ns: int | None = None

    def see(self, picture: Picture, time_ns: int, clear: bool) -> Picture | None:
        """The picture to refer to from now on, or None where nothing changes."""
        if not clear:
            self._candidate = None
            return None
        if self._candidate is None:
            if self._taken_ns is None or time_ns - self._taken_ns >= self._every_ns:
                self._candidate = (_copied(picture), time_ns)
            return None
        candidate, since_ns = self._candidate
        if time_ns - since_ns < self._settle_ns:
            return None
        self._candidate, self._taken_ns = None, since_ns
        return candidate


class Pipeline:
    """Owns a stream's restorer, gate and guard. One stream, one thread, frames in order.

    `step` gives exactly one result per frame and never raises for what the restorer does: a frame
    is raw unless its restoration is proven sound. A new (stream, epoch) forgets all state.
    reference: a clear picture of the scene that holds until a clear frame replaces it.
    """

    def __init__(
        self,
        restorer: Restorer,
        *,
        gate: Gate | None = None,
        settings: PipelineSettings | None = None,
        reference: Picture | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        self.restorer = restorer
        self.gate: Gate = CaseGate() if gate is None else gate
        self.settings = PipelineSettings() if settings is None else settings
        self.tally = Tally()
        self._reference = reference
        self._watch = watch
        self._case: tuple[int, int] | None = None
        self._last_clear = _LastClear(self.settings)

    def reset(self) -> None:
        """Forgets the case: gate, restorer state and last clear frame; keeps the tally."""
        self.gate.reset()
        self.restorer.reset()
        self.restorer.refer(self._reference)
        self._last_clear = _LastClear(self.settings)

    def step(self, frame: Frame) -> Result:
        """Decides for one frame; its picture is the frame's own where the result is raw."""
        return self.finish(self.judge(frame))

    def judge(self, frame: Frame) -> Judged:
        """The first half: detects, and lets the gate decide. Frames in order, one thread."""
        try:
            analysis, strength = self._judged(frame)
        except Exception as error:
            return Judged(frame, NOTHING, refusal=Cause.RAISED, error=error)
        if cause := check_detection(analysis.detection):
            return Judged(frame, NOTHING, refusal=cause)
        return Judged(frame, analysis.detection, analysis, strength)

    def finish(self, judged: Judged) -> Result:
        """The second half: restores and guards, in the order of `judge`. It may run in another
        thread while `judge` is at the next frame."""
        frame, detection, analysis = judged.frame, judged.detection, judged.analysis
        self.tally.frames += 1
        if judged.refusal or analysis is None:
            return self._tripped(frame, detection, judged.refusal or Cause.RAISED, judged.error)
        if self.settings.strength == 0.0:
            return self._raw(frame, detection, Reason.BYPASS)
        if judged.strength == 0.0:
            return self._raw(frame, detection, Reason.CLEAR)
        strength = judged.strength * self.settings.strength
        started = time.perf_counter_ns()
        try:
            picture = self.restorer.apply(frame.picture, analysis, strength)
        except Exception as error:
            return self._tripped(frame, detection, Cause.RAISED, error)
        restored = time.perf_counter_ns()
        cause = check(frame.picture, picture)
        self._tell("restore", restored - started)
        self._tell("guard", time.perf_counter_ns() - restored)
        if cause:
            return self._tripped(frame, detection, cause)
        self.tally.restored += 1
        return Result(frame, picture, Provenance.RESTORED, None, detection)

    def _judged(self, frame: Frame) -> tuple[Analysis, float]:
        """Reads the frame, lets the gate decide, and keeps the reference fresh."""
        started = time.perf_counter_ns()
        if self._case != (frame.stream, frame.epoch):
            self.reset()
            self._case = (frame.stream, frame.epoch)
        analysis = self.restorer.analyse(frame.picture)
        if check_detection(analysis.detection):  # nothing for the gate to learn from
            return analysis, 0.0
        strength = self.gate.step(analysis.detection, frame.capture_ns)
        analysis = replace(analysis, detection=self.gate.grade(analysis.detection))
        clear = self._last_clear.see(frame.picture, frame.capture_ns, self.gate.clear)
        if clear is not None:
            self.restorer.refer(clear)
        self._tell("detect", time.perf_counter_ns() - started)
        return analysis, strength

    def _raw(self, frame: Frame, detection: Detection, reason: Reason) -> Result:
        self.tally.raw[reason] += 1
        return Result(frame, frame.picture, Provenance.RAW, reason, detection)

    def _tripped(
        self, frame: Frame, detection: Detection, cause: Cause, error: Exception | None = None
    ) -> Result:
        self.tally.trips[cause] += 1
        if error is not None and not self.tally.first_error:
            self.tally.first_error = f"{type(error).__name__}: {error}"
        shape = isinstance(error, FeedsWrong)  # an engine of one size, say
        return self._raw(frame, detection, Reason.SHAPE if shape else Reason.GUARD)

    def _tell(self, stage: str, ns: int) -> None:
        if self._watch is not None:
            self._watch.add(stage, ns)
