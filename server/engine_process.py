"""The process that restores: it takes the newest frame, runs the chain over it, and answers.

It may be killed at any time; the picture does not depend on it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engines.errors import EngineError
from engines.picture import Picture, Rgb
from engines.restorer import Restorer
from engines.rungs import RAW, Rungs
from server.child import Control
from server.errors import SurgiclearError
from server.frame import Frame, Provenance, Reason, Result
from server.gate import CaseGate, GateSettings
from server.guard import check
from server.ladder import Ladder, LadderSettings, Move
from server.packet import Packet, described, parts_of, picture_of
from server.pipeline import Pipeline, PipelineSettings
from server.shared import Bytes, Slot, SlotHandle
from server.spec import Kind, Mode


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Which engine this is, and whether its bundle verified just now."""

    name: str
    version: str
    sha256: str
    verified: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RestorerFactory:
    """Makes a restorer inside the engine process. make, verify: functions of a module, called
    with `arguments`; verify raises or says no for an engine that must not run. An engine that is
    part of this program has nothing to verify."""

    name: str
    make: Callable[..., Restorer]
    arguments: tuple[Any, ...] = ()
    verify: Callable[..., EngineFacts] | None = None

    def __call__(self) -> Restorer:
        return self.make(*self.arguments)

    def facts(self) -> EngineFacts:
        if self.verify is None:
            return EngineFacts(self.name, "built-in", "", True)
        return self.verify(*self.arguments)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineTask:
    """What the engine process is started with. size: width and height to warm for, if known;
    deadline_ms: by which a live frame's answer is due; ladder: how an engine with several rungs
    moves between them."""

    stream: int
    factory: RestorerFactory
    frames: SlotHandle
    answers: SlotHandle
    mode: Mode
    strength: float
    kinds: frozenset[Kind]
    split: bool
    size: tuple[int, int] | None
    guard: bool = True
    deadline_ms: float = 40.0
    ladder: LadderSettings = LadderSettings()


class Stopwatch:
    """The stages of the frame in hand, in ms."""

    def __init__(self) -> None:
        self.stages_ms: dict[str, float] = {}

    def add(self, stage: str, ns: int) -> None:
        self.stages_ms[stage] = round(ns / 1e6, 3)


class Engine:
    """The loop of one engine process."""

    def __init__(self, task: EngineTask, control: Control) -> None:
        self.task = task
        self.control = control
        self.frames = Slot(task.frames)
        self.answers = Slot(task.answers)
        self.watch = Stopwatch()
        self.split = task.split
        self.size: tuple[int, int] | None = None
        self.refused: set[tuple[int, int]] = set()
        self.ladder: Ladder | None = None

    def run(self) -> None:
        facts = self._facts()
        if facts is None:
            return
        self.restorer = self.task.factory()
        if isinstance(self.restorer, Rungs) and self.task.mode == "live":
            self.ladder = Ladder(self.task.deadline_ms, self.task.ladder)
        self.pipeline = Pipeline(
            self.restorer,
            gate=CaseGate(GateSettings(kinds=tuple(sorted(self.task.kinds)))),
            settings=PipelineSettings(strength=self.task.strength),
            watch=self.watch,
        )
        self._say(
            "loaded", name=facts.name, version=facts.version, sha256=facts.sha256,
            verified=facts.verified,
        )  # fmt: skip
        if self.task.size is not None:
            self._warm(*self.task.size)
        poll = select.poll()
        poll.register(self.control.fileno(), select.POLLIN)
        poll.register(self.frames.fileno(), select.POLLIN)
        while True:
            poll.poll()
            self._obey()
            item = self.frames.take()
            if item is not None:
                self._restore(Packet.unpack(item.head), item.body, item.index)

    def _facts(self) -> EngineFacts | None:
        try:
            facts = self.task.factory.facts()
        except SurgiclearError as error:
            self._say("refused", why=str(error))
            return None
        if not facts.verified and self.task.guard:
            self._say("refused", why=f"{facts.name} did not verify")
            return None
        return facts

    def _obey(self) -> None:
        while (message := self.control.receive()) is not None:
            if "strength" in message:
                strength = float(message["strength"])
                self.pipeline.settings = replace(self.pipeline.settings, strength=strength)
            if "split" in message:
                self.split = bool(message["split"])

    def _restore(self, packet: Packet, body: Bytes, index: int) -> None:
        size = (packet.width, packet.height)
        if size != self.size and size not in self.refused:
            self._warm(*size)
            if self.task.mode == "live":
                self._answer(packet, index, Reason.WARMING, None, None)
                return  # a newer frame waits by now
        if size in self.refused:
            self._answer(packet, index, Reason.SHAPE, None, None)
            return
        picture = picture_of(packet, body)
        self.watch.stages_ms = {"decode": float(packet.note.get("decode", 0.0))}
        frame = Frame(packet.stream, packet.epoch, packet.seq, packet.capture_ns, picture)
        result = self._unrepaired(frame) if self._gave_up else self.pipeline.step(frame)
        restored = result.picture if result.reason is None else None
        if restored is not None and not publishable(restored):
            self._answer(packet, index, Reason.GUARD, None, result)
            return
        self._answer(packet, index, result.reason, restored, result)
        worked = self._gave_up or "restore" in self.watch.stages_ms
        if self.ladder is not None and worked:
            now = time.monotonic_ns()
            self._step(self.ladder.saw((now - packet.capture_ns) / 1e6, now))

    @property
    def _gave_up(self) -> bool:
        """Whether no rung of the engine is quick enough just now."""
        return (
            self.ladder is not None
            and isinstance(self.restorer, Rungs)
            and self.restorer.label == RAW
        )

    def _unrepaired(self, frame: Frame) -> Result:
        """The frame as it came, with what is seen on it."""
        detection = self.pipeline.judge(frame).detection
        return Result(frame, frame.picture, Provenance.RAW, Reason.LATE, detection)

    def _step(self, move: Move | None) -> None:
        if move is None or not isinstance(self.restorer, Rungs):
            return
        self.restorer.step_to(move.to)
        self._say("rung", rung=self.restorer.label, why=move.why, p99_ms=round(move.p99_ms, 1))

    def _answer(
        self,
        packet: Packet,
        index: int,
        reason: Reason | None,
        restored: Picture | None,
        result: Result | None,
    ) -> None:
        """index: of the frame in its slot, so that a lost answer shows."""
        detection = None if result is None else result.detection
        levels = (
            [0, 0, 0]
            if detection is None
            else [detection.smoke.level, detection.fog.level, detection.splash.level]
        )
        raw = result.frame.picture if result is not None and self.split else None
        note = {
            "index": index,
            "reason": None if reason is None else reason.value,
            "levels": levels,
            "stages": {} if result is None else self.watch.stages_ms,
            "parts": [restored is not None, raw is not None and restored is not None],
        }
        pictures = [] if restored is None else [restored] if raw is None else [restored, raw]
        parts = [part for picture in pictures for part in parts_of(picture)]
        head = described(packet, pictures[0]) if pictures else packet
        if self.task.mode == "lossless":
            while not self.answers.wait_for_room(1.0):
                self._obey()
        self.answers.put(replace(head, note=note).pack(), parts)

    def _warm(self, width: int, height: int) -> None:
        self._say("warming", width=width, height=height)
        try:
            self.restorer.reset()
            self.restorer.warm(width, height)
            plain = Rgb(np.zeros((height, width, 3), np.uint8))
            check(plain, plain)  # the guard's first look takes longer than its next ones
        except (SurgiclearError, EngineError) as error:
            self.refused.add((width, height))
            self._say("shape", width=width, height=height, why=str(error))
            return
        self.size = (width, height)
        if self.ladder is not None and isinstance(self.restorer, Rungs):
            costs = [self.restorer.costs_ms[label] for label in self.restorer.labels]
            self._step(self.ladder.begin(costs, time.monotonic_ns()))
        gc.collect()
        gc.freeze()  # a full collection over a warm engine's objects takes 0.1 s
        self._say("ready", width=width, height=height)

    def _say(self, state: str, **data: str | int | float | bool) -> None:
        self.control.send({"state": state, **data})


def publishable(picture: Picture) -> bool:
    """Whether its planes are 8-bit at all: an engine's NaN must not become a number here."""
    return all(part.dtype == np.uint8 for part in parts_of(picture))


def run(task: EngineTask, control: Control) -> None:
    """Entry of the process."""
    os.nice(5)  # the last hop started us, and goes first
    with contextlib.suppress(EOFError):  # the parent is gone, or wants us gone
        Engine(task, control).run()
    os._exit(0)  # no destructor of a GPU library may hold up the end
