"""The history of every frame: what came in, what was chosen, what left, what was lost and why.

Append-only and bounded in memory; saved as JSON lines. Every number is the monotonic clock's, so a
history means something only within one start of the machine. It holds no picture and no name.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path

from server.errors import SourceUnreadable

Scalar = str | int | float | bool | None


class EventKind(StrEnum):
    """What happened. In brackets: the keys of `data`."""

    CONFIG = "config"  # a stream process began [mode, and the limits the checker holds it to]
    ENGINE = "engine"  # [state, name, version, sha256, verified, lane, why]
    INGEST = "ingest"  # a frame came in; at_ns is its capture time [crc: of a JPEG payload]
    RESULT = "result"  # the engine answered [verdict, engine, lane, on_time, levels, stages]
    BYPASS = "bypass"  # the automatic bypass moved [to: off, hold, latched; why]
    PRESS = "press"  # a person pressed the bypass [on]
    EMIT = "emit"  # a frame left [provenance, reason, age_ns, stale, flags, mark, engine, ...]
    DROP = "drop"  # frames did not leave [reason, hop, count: seq and those after it]
    CARD = "card"  # the signal-lost card is shown
    FAULT = "fault"  # something failed [hop, what]
    RESTART = "restart"  # a process was started again [hop, wait_s]
    WATCHDOG = "watchdog"  # the watchdog was fed [emitted: frames and cards so far]
    GAP = "gap"  # events were lost on the way to the keeper of the history [count]
    END = "end"  # the stream process ended in order


class DropReason(StrEnum):
    """Why a frame that came in never left."""

    SUPERSEDED = "SUPERSEDED"  # a newer frame took its place in a full slot
    AGE = "AGE"  # older than max_age_ms
    OLDER = "OLDER"  # not newer than what has left already
    ROUTE = "ROUTE"  # it belongs to another stream
    UNREADABLE = "UNREADABLE"  # the decoder could not read it
    TOO_LARGE = "TOO_LARGE"  # over the pixel cap
    STOPPED = "STOPPED"  # the stream ended first
    RESTART = "RESTART"  # the stream's process died with it


@dataclass(frozen=True, slots=True)
class Event:
    """One entry. at_ns: monotonic; epoch, seq: -1 where it is about no frame."""

    kind: EventKind
    at_ns: int
    stream: int
    epoch: int = -1
    seq: int = -1
    data: Mapping[str, Scalar] = field(default_factory=dict)

    def line(self) -> str:
        """One line of JSON."""
        entry = {"k": self.kind.value, "t": self.at_ns, "s": self.stream}
        if self.epoch >= 0:
            entry |= {"e": self.epoch, "n": self.seq}
        return json.dumps(entry | {"d": dict(self.data)} if self.data else entry)

    @classmethod
    def parse(cls, line: str | bytes) -> Event:
        """Raises ValueError for a line that is no event."""
        try:
            entry = json.loads(line)
            return cls(
                EventKind(entry["k"]),
                int(entry["t"]),
                int(entry["s"]),
                int(entry.get("e", -1)),
                int(entry.get("n", -1)),
                dict(entry.get("d", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"not an event: {line[:80]!r}") from error


class History:
    """The newest `most` events of one stream, besides the first ones that say what held."""

    def __init__(self, most: int) -> None:
        self._lines: deque[str] = deque(maxlen=most)  # a third of what the objects take
        self._opening: list[Event] = []
        self.total = 0

    def append(self, event: Event) -> None:
        """Keeps the event. A bounded history that lost its start begins with the last CONFIG,
        the engine's state and a GAP, so that the checker can still judge the rest."""
        if event.kind is EventKind.CONFIG:
            self._opening = [event]
        elif event.kind in (EventKind.ENGINE, EventKind.PRESS, EventKind.BYPASS):
            same = (event.kind, event.data.get("lane"), event.data.get("state"))
            self._opening = [
                e
                for e in self._opening
                if (e.kind, e.data.get("lane"), e.data.get("state")) != same
            ]
            self._opening.append(event)
        self._lines.append(event.line())
        self.total += 1

    def __iter__(self) -> Iterator[Event]:
        lines = list(self._lines)  # it may grow while somebody reads
        events = (Event.parse(line) for line in lines)
        if self.total <= len(lines):
            return events
        first = Event.parse(lines[0])
        opening = [e for e in self._opening if e.at_ns < first.at_ns]
        lost = self.total - len(lines) - len(opening)
        gap = Event(EventKind.GAP, first.at_ns, first.stream, data={"count": lost})
        return chain(opening, [gap], events)

    def __len__(self) -> int:
        return len(self._lines)

    def save(self, path: Path) -> int:
        """Writes JSON lines beside, then renames: the file appears whole or not at all. Returns
        the number of lines. Raises OSError."""
        return save(self, path)


def save(events: Iterable[Event], path: Path) -> int:
    beside = path.with_name(path.name + ".part")
    count = 0
    with beside.open("w", encoding="utf-8") as file:
        for event in events:
            file.write(event.line() + "\n")
            count += 1
    beside.replace(path)
    return count


def load(path: Path) -> Iterator[Event]:
    """The events of a saved history. Raises SourceUnreadable."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield Event.parse(line)
                except ValueError as error:
                    raise SourceUnreadable(
                        f"{path} line {number} is no event", "was it saved by this service?"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"cannot read the history {path}", str(error)) from error
