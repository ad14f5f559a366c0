"""A simulated GPU for tests: streams really run apart, so a missing event shows as wrong pixels.

Work is queued, not done. It is done only when somebody waits, in an order drawn at random from
all that the streams and events allow, and never earlier than it must be.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from engines.cuda import Bytes, Gpu, Rows
from engines.errors import RunFailed

Work = Callable[[], None]


@dataclass
class FakeDevice:
    """Fills engines.cuda.Device. late: later streams are preferred, the worst order for races."""

    gpu: Gpu = Gpu("Simulated GPU", "sm89", "13020")
    seed: int = 0
    memory: dict[int, Bytes] = field(default_factory=dict)
    queues: dict[int, deque[tuple[str, int | Work]]] = field(default_factory=dict)
    marks: dict[int, int] = field(default_factory=dict)  # event -> marks queued
    reached: dict[int, int] = field(default_factory=dict)  # event -> marks passed
    timed: set[int] = field(default_factory=set)
    graphs: list[list[Work]] = field(default_factory=list)
    recording: list[Work] | None = None
    replays: int = 0
    launches: int = 0
    copied: int = 0  # calls of copy_rows
    broken: bool = False
    closed: bool = False
    _last: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def _handle(self) -> int:
        self._last += 1
        return self._last

    def allocate(self, size: int) -> int:
        address = self._handle()
        self.memory[address] = np.full(size, 0xAA, np.uint8)  # never what was wanted
        return address

    def pinned(self, size: int) -> Bytes:
        return np.full(size, 0x55, np.uint8)

    def stream(self) -> int:
        handle = self._handle()
        self.queues[handle] = deque()
        return handle

    def event(self, *, timed: bool = False) -> int:
        handle = self._handle()
        self.marks[handle] = self.reached[handle] = 0
        if timed:
            self.timed.add(handle)
        return handle

    def elapsed_ms(self, start: int, stop: int) -> float:
        """2.5 ms between any two that may be asked."""
        if not {start, stop} <= self.timed:
            raise RunFailed("cudaEventElapsedTime: cudaErrorInvalidResourceHandle")
        return 2.5

    def used_bytes(self) -> int:
        return sum(memory.nbytes for memory in self.memory.values())

    def enqueue(self, work: Work, stream: int) -> None:
        """What a kernel launch does; recorded while a capture is on."""
        if self.recording is not None:
            self.recording.append(work)
            return
        self.launches += 1
        self.queues[stream].append(("work", work))

    def upload(self, address: int, host: Bytes, stream: int) -> None:
        def copy() -> None:
            self.memory[address][:] = host

        self.queues[stream].append(("work", copy))

    def download(self, host: Bytes, address: int, stream: int) -> None:
        def copy() -> None:
            host[:] = self.memory[address]

        self.queues[stream].append(("work", copy))

    def copy_rows(self, rows: Rows, stream: int) -> None:
        def copy() -> None:
            source = self._rows(rows.source, rows.source_pitch, rows)
            self._rows(rows.target, rows.target_pitch, rows)[:] = source

        self.copied += 1
        self.queues[stream].append(("work", copy))

    def _rows(self, address: int, pitch: int, rows: Rows) -> Bytes:
        """Of its own memory by its handle, or of this process by its address."""
        size = pitch * (rows.rows - 1) + rows.row_bytes
        if address in self.memory:
            flat = self.memory[address]
        else:
            flat = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        strides = (pitch, 1)
        view: Bytes = np.lib.stride_tricks.as_strided(flat, (rows.rows, rows.row_bytes), strides)
        return view

    def mark(self, event: int, stream: int) -> None:
        self.marks[event] += 1
        self.queues[stream].append(("mark", event))

    def after(self, event: int, stream: int) -> None:
        target, marks = self.marks[event], self.reached

        def ready() -> None:
            if marks[event] < target:
                raise BlockedError

        self.queues[stream].append(("work", ready))

    def _step(self) -> bool:
        """Does one thing that may be done now, chosen at random; False where there is none."""
        streams = [s for s in self.queues if self.queues[s]]
        for stream in self.rng.permutation(streams):
            kind, what = self.queues[int(stream)][0]
            if isinstance(what, int):
                self.reached[what] += 1
            else:
                try:
                    what()
                except BlockedError:
                    continue
            self.queues[int(stream)].popleft()
            return True
        return False

    def wait(self, event: int) -> None:
        if self.broken:
            raise RunFailed("cudaEventSynchronize: cudaErrorLaunchFailure")
        while self.reached[event] < self.marks[event]:
            if not self._step():
                raise RunFailed("deadlock")

    def synchronise(self) -> None:
        while self._step():
            pass

    def record(self, launch: Work, stream: int) -> int:
        self.recording = []
        launch()
        self.graphs.append(self.recording)
        self.recording = None
        return len(self.graphs) - 1

    def replay(self, graph: int, stream: int) -> None:
        self.replays += 1
        self.queues[stream].extend(("work", work) for work in self.graphs[graph])

    def close(self) -> None:
        self.closed = True


class BlockedError(Exception):
    """This stream has to wait for an event."""
