"""The service's hold on one sink process: started, watched, listened to, replaced when it hangs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from server import rtsp, sink_process
from server.child import Child, launch
from server.controls import Controls, Limits
from server.shared import Slot
from server.sink_process import SinkTask
from server.spec import SinkReport
from server.supervise import Worker
from server.trust import SYSTEM, Trust

PATIENCE_MOST_S = 30.0


class SinkHold:
    """index: which of the stream's sinks, from 0. lost, back: told when it stops sending (why) and
    when it sends again."""

    def __init__(
        self,
        number: int,
        index: int,
        url: str,
        limits: Limits,
        controls: Controls,
        trust: Trust = SYSTEM,
        *,
        lost: Callable[[int, str], None],
        back: Callable[[int], None],
    ) -> None:
        self.number, self.index, self.url = number, index, url
        self.limits, self.controls, self.trust = limits, controls, trust
        self.slot = Slot.create(limits.frame_bytes, f"sink {number}.{index}")
        self._lost, self._back = lost, back
        self._state, self._why = "connecting", ""
        self._sent, self._dropped = 0, Counter[str]()  # of processes that are gone
        self._now_sent, self._now_dropped = 0, Counter[str]()
        self._connections = 0
        self._patience_s = limits.start_timeout_s
        self._taken, self._progress_ns = 0, 0
        self.worker = Worker(self._launch, limits, controls, self._worker_lost)

    def tick(self, now: int) -> None:
        """Hears it, starts it when it is due, and replaces it when it hangs."""
        self._hear(now)
        if self.worker.start(now):
            self._patience_s, self._progress_ns = self.limits.start_timeout_s, now
        if self.slot.taken != self._taken or self.slot.taken >= self.slot.published:
            self._taken, self._progress_ns = self.slot.taken, now
        patience_s = max(self._patience_s, self.limits.hang_ms / 1e3)
        hangs = now - self._progress_ns > patience_s * 1e9
        if self.worker.child is not None and hangs and self.controls.restart:
            self.worker.lost("takes no picture any more", now)

    def report(self) -> SinkReport:
        dropped = self._dropped + self._now_dropped
        handled = self._sent + self._now_sent + dropped.total()
        unread = self.slot.published - handled
        return SinkReport(
            url=rtsp.shown(self.url),
            state="up" if self._state == "up" else "down" if self._why else "connecting",
            why=self._why or None,
            frames=self.slot.published,
            sent=self._sent + self._now_sent,
            dropped=dict(dropped),
            under_way=max(0, unread),
            connections=self._connections,
            restarts=self.worker.restarts,
        )

    def _hear(self, now: int) -> None:
        child = self.worker.child
        try:
            while child is not None and (message := child.control.receive()) is not None:
                self._message(message)
        except (EOFError, ValueError, KeyError, TypeError):
            self.worker.lost("died", now)

    def _message(self, message: dict[str, Any]) -> None:
        patience_s = float(message["patience_s"])
        if not 0 <= patience_s <= PATIENCE_MOST_S:
            raise ValueError("impossible patience")
        self._patience_s = patience_s
        self._now_sent = int(message["sent"])
        self._now_dropped = Counter({str(k): int(v) for k, v in message["dropped"].items()})
        state, why = str(message["state"]), message["why"]
        if state == "up" and self._state != "up":
            self._connections += 1
            self._state, self._why = "up", ""
            self._back(self.index)
        elif state == "down":
            self._fell(str(why or ""))

    def _fell(self, why: str) -> None:
        """Each reason is told once."""
        before, self._state = (self._state, self._why), "down"
        if why:
            self._why = why
        if (self._state, self._why) != before and self._why:
            self._lost(self.index, self._why)

    def _worker_lost(self, what: str, wait_s: float) -> None:
        """What it had taken and not sent went with it."""
        self._sent, self._dropped = self._sent + self._now_sent, self._dropped + self._now_dropped
        handled = self._sent + self._dropped.total()
        self._dropped["DOWN"] += max(0, self.slot.taken - handled)
        self._now_sent, self._now_dropped = 0, Counter()
        self._fell(what)

    def _launch(self) -> Child:
        return launch(
            sink_process.run,
            SinkTask(url=self.url, pictures=self.slot.handle, trust=self.trust),
            title=f"surgiclear: sink {self.number}",
            fds=self.slot.handle.fds,
        )
