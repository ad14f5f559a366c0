"""A bounded hand-over between two threads that waits and loses nothing."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stopped(Exception):
    """The other side broke off; the thread that meets this ends quietly."""


class Conveyor(Generic[Item]):
    """First in, first out, at most `room` items; `end` closes it in order, `stop` at once."""

    def __init__(self, room: int) -> None:
        if room < 1:
            raise ValueError(f"room for at least one item, not {room}")
        self._room = room
        self._items: deque[Item] = deque()
        self._moved = threading.Condition()
        self._ended = False
        self._stopped = False

    def put(self, item: Item) -> None:
        """Waits for room. Raises Stopped once it was stopped, ValueError after `end`."""
        with self._moved:
            if self._ended:
                raise ValueError("nothing follows the end")
            while len(self._items) >= self._room and not self._stopped:
                self._moved.wait()
            if self._stopped:
                raise Stopped
            self._items.append(item)
            self._moved.notify_all()

    def get(self) -> Item | None:
        """Waits for an item; None after the last. Raises Stopped once it was stopped."""
        with self._moved:
            while not self._items and not self._ended and not self._stopped:
                self._moved.wait()
            if self._stopped:
                raise Stopped
            if not self._items:
                return None
            item = self._items.popleft()
            self._moved.notify_all()
            return item

    def end(self) -> None:
        """No item follows; those inside are still delivered."""
        with self._moved:
            self._ended = True
            self._moved.notify_all()

    def stop(self) -> None:
        """Wakes both sides with Stopped and forgets what is inside."""
        with self._moved:
            self._stopped = True
            self._items.clear()
            self._moved.notify_all()
