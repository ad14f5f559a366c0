"""A one-slot hand-over inside one event loop: the newest wins, the older is dropped and counted."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """put never waits; `ready` waits for an item, or for `wake`."""

    def __init__(self) -> None:
        self.dropped = 0
        self._item: T | None = None
        self._there = asyncio.Event()

    def put(self, item: T) -> T | None:
        """Returns the item that this one took the place of."""
        old, self._item = self._item, item
        self.dropped += old is not None
        self._there.set()
        return old

    def take(self) -> T | None:
        """The item, if there is one."""
        item, self._item = self._item, None
        return item

    @property
    def full(self) -> bool:
        return self._item is not None

    async def ready(self) -> None:
        """Returns once there may be something to take."""
        await self._there.wait()
        self._there.clear()

    def wake(self) -> None:
        """Makes `ready` return."""
        self._there.set()
