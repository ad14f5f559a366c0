"""The engine process on its own: what it answers to each frame, and what it says of itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import hear
from streams import FAULTS, coded, command, engines

from engines.picture import Picture
from server import engine_process
from server.child import Child, launch
from server.engine_process import EngineTask, publishable
from server.frame import Reason
from server.lanes import Lane
from server.packet import Packet, described, parts_of
from server.select import Answer
from server.shared import Slot
from server.spec import Mode
from server.supervise import Worker

PATIENCE_S = 60.0


class Bench:
    """One engine process with its two slots."""

    def __init__(self, child: Child, frames: Slot, answers: Slot) -> None:
        self.child, self.frames, self.answers = child, frames, answers
        self.seq = 0

    def send(self, picture: Picture) -> int:
        head = Packet(stream=7, epoch=0, seq=self.seq, capture_ns=time.monotonic_ns(), width=0,
                      height=0, codec="rgb24")  # fmt: skip
        self.frames.put(described(head, picture).pack(), parts_of(picture))
        self.seq += 1
        return self.seq - 1

    def answer(self, lane: Lane) -> Answer:
        end = time.monotonic() + PATIENCE_S
        while (answer := lane.take()) is None:
            assert time.monotonic() < end
            time.sleep(0.001)
        return answer


def lane_of(bench: Bench) -> Lane:
    """Only to read answers: it starts nothing."""

    def nothing(*_: Any) -> Any:
        raise AssertionError("starts nothing")

    return Lane(
        0,
        (bench.frames, bench.answers),
        engines(Path())["fake"],
        lambda launch: Worker(launch, None, None, nothing),  # type: ignore[arg-type]
        nothing,
        7,
    )


@contextmanager
def running(
    path: Path, engine: str = "fake", *, mode: Mode = "live", size: tuple[int, int] | None = None
) -> Iterator[Bench]:
    frames, answers = Slot.create(100_000), Slot.create(200_000)
    task = EngineTask(
        stream=7,
        factory=engines(path)[engine],
        frames=frames.handle,
        answers=answers.handle,
        mode=mode,
        strength=1.0,
        kinds=frozenset({"smoke", "fog", "splash"}),
        split=False,
        size=size,
    )
    fds = (*frames.handle.fds, *answers.handle.fds)
    child = launch(engine_process.run, task, title="surgiclear: engine 7", fds=fds)
    try:
        yield Bench(child, frames, answers)
    finally:
        child.kill()
        child.reaped(PATIENCE_S)
        frames.close()
        answers.close()


def test_it_warms_and_restores_and_obeys(tmp_path: Path) -> None:
    path = tmp_path / "command"
    with running(path, size=(64, 48)) as bench:
        assert [hear(bench.child)["state"] for _ in range(3)] == ["loaded", "warming", "ready"]
        lane = lane_of(bench)
        bench.send(coded(7, 0))
        answer = bench.answer(lane)
        assert (answer.reason, answer.engine, answer.levels.smoke) == (None, "fake", 2)
        assert answer.picture is not None
        assert answer.raw is None
        change = parts_of(answer.picture)[0].astype(int) - coded(7, 0).pixels
        assert set(np.unique(change)) == {8}
        assert {"detect", "restore", "guard"} <= set(answer.stages_ms)

        assert bench.child.control.send({"split": True})
        bench.send(coded(7, 1))
        answer = bench.answer(lane)
        assert answer.raw is not None
        assert (parts_of(answer.raw)[0] == coded(7, 1).pixels).all()

        # a new size: warmed for it, and the frame that told is not answered late
        bench.send(coded(7, 2, 96, 64))
        assert hear(bench.child) == {"state": "warming", "width": 96, "height": 64}
        assert hear(bench.child) == {"state": "ready", "width": 96, "height": 64}
        assert bench.answer(lane).reason is Reason.WARMING
        bench.send(coded(7, 3, 96, 64))
        assert bench.answer(lane).reason is None

        for fault in (*FAULTS, "raise"):
            command(path, fault)
            bench.send(coded(7, bench.seq, 96, 64))
            answer = bench.answer(lane)
            assert (answer.reason, answer.picture) == (Reason.GUARD, None)
        assert bench.child.control.send({"strength": 0.0})
        bench.send(coded(7, bench.seq, 96, 64))
        assert bench.answer(lane).reason is Reason.BYPASS
        assert not lane.behind
        bench.child.process.send_signal(signal.SIGTERM)  # nothing to tidy up


def test_the_newest_frame_wins(tmp_path: Path) -> None:
    path = tmp_path / "command"
    with running(path, size=(64, 48)) as bench:
        lane = lane_of(bench)
        while hear(bench.child)["state"] != "ready":
            pass
        command(path, "sleep 0.3")
        bench.send(coded(7, 0))
        time.sleep(0.1)
        for seq in range(1, 6):
            bench.send(coded(7, seq))
        seen = [bench.answer(lane).packet.seq]
        while seen[-1] != 5:
            seen.append(bench.answer(lane).packet.seq)
        assert seen == sorted(seen)
        assert len(seen) <= 3


@pytest.mark.parametrize("engine", ["forged", "tampered"])
def test_what_does_not_verify_says_so_and_ends(tmp_path: Path, engine: str) -> None:
    with running(tmp_path / "command", engine) as bench:
        said = hear(bench.child)
        assert said["state"] == "refused"
        assert bench.child.process.wait(PATIENCE_S) == 0


def test_what_does_not_load_ends_with_a_failure(tmp_path: Path) -> None:
    with running(tmp_path / "command", "broken") as bench:
        assert bench.child.process.wait(PATIENCE_S) != 0


def test_only_eight_bit_planes_are_published() -> None:
    assert publishable(coded(1, 1))
    assert not publishable(FAULTS["nan"](coded(1, 1)))
