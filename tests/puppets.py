"""A child process that is none: dies when killed, says what it is told to."""

from __future__ import annotations

from typing import Any


class Puppet:
    """Stands in for server.child.Child and its control."""

    def __init__(self) -> None:
        self.killed = False
        self.words: list[dict[str, Any]] = []
        self.control = self

    def kill(self) -> None:
        self.killed = True

    def reaped(self, timeout_s: float = 0.0) -> bool:
        return self.killed

    def receive(self) -> dict[str, Any] | None:
        return self.words.pop(0) if self.words else None
