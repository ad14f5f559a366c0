"""Events on their way from a stream process to its manager: bounded, and never waited for (I13)."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice

from server.child import MESSAGE_MOST, Control
from server.controls import Controls, Limits
from server.events import Event, EventKind

BATCH = 500  # events to a message


class SideChannel:
    """Holds what the manager has not read yet; what does not fit becomes a GAP."""

    def __init__(self, control: Control, number: int, limits: Limits, controls: Controls) -> None:
        self._control = control
        self._number = number
        self._limits = limits
        self._controls = controls
        self._pending: deque[bytes] = deque()
        self._most = min(MESSAGE_MOST, limits.side_buffer_bytes // 2)  # a larger one never fits
        self._lost = 0
        self._waited_ns = 0
        self._computed_ns = 0

    def spent_ns(self) -> int:
        """Time this cost since the last call: waiting and computing. (Time for which the operating
        system gave the processor to others is nobody's fault here.)"""
        spent = self._waited_ns + self._computed_ns
        self._waited_ns = self._computed_ns = 0
        return spent

    def tell(self, event: Event) -> None:
        self._pending.append(event.line().encode())
        if len(self._pending) > self._limits.side_pending:
            self._pending.popleft()
            self._lost += 1

    def flush(self) -> None:
        """Sends what the socket takes."""
        started = time.thread_time_ns()
        self._send()
        self._computed_ns += time.thread_time_ns() - started

    def _send(self) -> None:
        if self._lost and self._pending:
            gap = Event(
                EventKind.GAP, time.monotonic_ns(), self._number, data={"count": self._lost}
            )
            if not self._control.send_bytes(gap.line().encode()):
                return
            self._lost = 0
        while self._pending:
            batch, size = [self._pending[0]], len(self._pending[0])
            for line in islice(self._pending, 1, BATCH):
                if size + len(line) + 1 > self._most:
                    break
                batch.append(line)
                size += len(line) + 1
            message = b"\n".join(batch)
            if not self._controls.side:
                started = time.monotonic_ns()
                self._control.send_waiting(message)
                self._waited_ns += time.monotonic_ns() - started
            elif not self._control.send_bytes(message):
                return
            for _ in batch:
                self._pending.popleft()
