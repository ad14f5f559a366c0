"""A one-slot hand-over between processes in shared memory: the newest wins, nobody waits.

The memory is anonymous (memfd) and is passed on by inheriting its file descriptor: it has no name
in /dev/shm that could be left behind, opened by a stranger, or unlinked too early by the resource
tracker (cpython issue 85619), and the kernel frees it with its last holder, however that one died.

Three buffers take turns. Each has a lock word, odd while it is written; `published` names the
newest whole item. A reader copies the newest buffer and checks that its lock word has not moved.
The writer never waits for a reader, a reader for a dead writer neither. One writer, one reader.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

PAGE = 4096
BUFFERS = 3
# words of the first page
MAGIC, PUBLISHED, TAKEN, BUFFER_WORDS = 0, 1, 2, 8
LOCK, INDEX, HEAD_BYTES, BODY_BYTES = 0, 1, 2, 3  # of each buffer, from BUFFER_WORDS + 8 b
MAGIC_NUMBER = 0x53434C5245534C54
HEAD_ROOM = PAGE


@dataclass(frozen=True, slots=True)
class SlotHandle:
    """What a child needs to attach: inherited descriptors and the size."""

    memory: int
    wake: int
    room: int
    capacity: int

    @property
    def fds(self) -> tuple[int, ...]:
        return (self.memory, self.wake, self.room)


@dataclass(frozen=True, slots=True)
class Item:
    """One item taken. index: counts from 1 over the slot's life; missed: items that newer ones
    replaced since the last taken one."""

    index: int
    head: bytes
    body: Bytes
    missed: int


class Slot:
    """One end of a slot; the creator keeps `handle` for the other end."""

    def __init__(self, handle: SlotHandle) -> None:
        self.handle = handle
        self.stride = HEAD_ROOM + -(-handle.capacity // PAGE) * PAGE
        self._memory = mmap.mmap(handle.memory, PAGE + BUFFERS * self.stride)
        self._words: NDArray[np.uint64] = np.frombuffer(self._memory, np.uint64, PAGE // 8)
        self._bytes: Bytes = np.frombuffer(self._memory, np.uint8)
        if int(self._words[MAGIC]) != MAGIC_NUMBER:
            raise ValueError("not a slot")
        self._cursor = int(self._words[TAKEN])  # a fresh reader goes on where a dead one stopped

    @classmethod
    def create(cls, capacity: int, name: str = "slot") -> Slot:
        """capacity: bytes of the largest body."""
        stride = HEAD_ROOM + -(-capacity // PAGE) * PAGE
        memory = os.memfd_create(f"surgiclear {name}")
        os.ftruncate(memory, PAGE + BUFFERS * stride)
        os.pwrite(memory, MAGIC_NUMBER.to_bytes(8, "little"), 8 * MAGIC)
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        return cls(SlotHandle(memory, os.eventfd(0, flags), os.eventfd(0, flags), capacity))

    @property
    def published(self) -> int:
        """Items ever put."""
        return int(self._words[PUBLISHED])

    @property
    def taken(self) -> int:
        """Index of the item last taken by the reader."""
        return int(self._words[TAKEN])

    def fileno(self) -> int:
        """Becomes readable when there is something to take."""
        return self.handle.wake

    # the writer's side

    def put(self, head: bytes, parts: Sequence[Bytes]) -> int:
        """Publishes one item and returns its index; replaces an untaken one. parts: flat or
        strided arrays, laid one after the other. Raises ValueError when it does not fit."""
        size = sum(part.size for part in parts)
        if size > self.handle.capacity or len(head) > HEAD_ROOM:
            raise ValueError(f"{size} bytes do not fit into {self.handle.capacity}")
        index = self.published + 1
        buffer = index % BUFFERS
        words = self._words[BUFFER_WORDS + 8 * buffer : BUFFER_WORDS + 8 * buffer + 4]
        # A writer that died half-way left the lock odd: go on from there.
        lock = int(words[LOCK]) | 1 if int(words[LOCK]) % 2 else int(words[LOCK]) + 1
        words[LOCK] = lock
        start = PAGE + buffer * self.stride
        self._bytes[start : start + len(head)] = np.frombuffer(head, np.uint8)
        offset = start + HEAD_ROOM
        for part in parts:
            target = self._bytes[offset : offset + part.size]
            np.copyto(target.reshape(part.shape), part)
            offset += part.size
        words[INDEX], words[HEAD_BYTES], words[BODY_BYTES] = index, len(head), size
        words[LOCK] = lock + 1
        self._words[PUBLISHED] = index
        os.eventfd_write(self.handle.wake, 1)  # a system call: orders the stores before it
        return index

    def has_room(self) -> bool:
        """Whether the last item was taken (lossless mode puts only then)."""
        return self.taken >= self.published

    def wait_for_room(self, timeout_s: float) -> bool:
        """Waits until the last item was taken; False after timeout_s."""
        while not self.has_room():
            if not wait(self.handle.room, timeout_s):
                return self.has_room()
            drain(self.handle.room)
        return True

    # the reader's side

    def take(self) -> Item | None:
        """The newest item not taken yet, copied out; None if there is none."""
        drain(self.handle.wake)
        for _ in range(BUFFERS + 1):
            index = self.published
            if index <= self._cursor:
                return None
            item = self._copy(index)
            if item is not None:
                self._cursor = index
                self._words[TAKEN] = index
                os.eventfd_write(self.handle.room, 1)
                return item
        return None  # overtaken again and again: the writer's next wake brings us back

    def _copy(self, index: int) -> Item | None:
        buffer = index % BUFFERS
        words = self._words[BUFFER_WORDS + 8 * buffer : BUFFER_WORDS + 8 * buffer + 4]
        lock = int(words[LOCK])
        if lock % 2 or int(words[INDEX]) != index:
            return None
        head_bytes, body_bytes = int(words[HEAD_BYTES]), int(words[BODY_BYTES])
        if head_bytes > HEAD_ROOM or body_bytes > self.handle.capacity:
            return None
        start = PAGE + buffer * self.stride
        head = self._bytes[start : start + head_bytes].tobytes()
        body = self._bytes[start + HEAD_ROOM : start + HEAD_ROOM + body_bytes].copy()
        if int(words[LOCK]) != lock:
            return None
        return Item(index, head, body, index - self._cursor - 1)

    def close(self) -> None:
        """Unmaps this end and closes its descriptors."""
        self.unmap()
        for fd in self.handle.fds:
            os.close(fd)

    def unmap(self) -> None:
        del self._words, self._bytes
        self._memory.close()


class Board:
    """A few 64-bit words that several processes read and one writes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, PAGE)
        self._words: NDArray[np.uint64] = np.frombuffer(self._memory, np.uint64)

    @classmethod
    def create(cls) -> Board:
        fd = os.memfd_create("surgiclear board")
        os.ftruncate(fd, PAGE)
        return cls(fd)

    def __getitem__(self, word: int) -> int:
        return int(self._words[word])

    def __setitem__(self, word: int, value: int) -> None:
        self._words[word] = value

    def close(self) -> None:
        del self._words
        self._memory.close()
        os.close(self.fd)


def drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(fd)


def wait(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, round(timeout_s * 1000))))
