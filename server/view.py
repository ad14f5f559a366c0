"""Watches a stream of a service from a terminal: one line a second, and the newest picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.errors import StreamUnknown
from server.whole import Whole
from surgiclear_client import Client, Frame
from surgiclear_client.session import Want

LINE_S = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The last second. gap_ms: the longest time without a picture."""

    frames: int
    gap_ms: float
    last: Frame | None

    def line(self) -> str:
        """For a person."""
        if self.last is None:
            return "no picture"
        state = "RESTORED" if self.last.restored else f"RAW {self.last.reason or ''}".strip()
        if self.last.card:
            state = "NO SIGNAL"
        elif self.last.stale:
            state += " STALE"
        levels = self.last.levels
        return (
            f"{state:<16} frame {self.last.seq:<8} {self.last.width}x{self.last.height} "
            f"{self.frames:3d} fps, longest gap {self.gap_ms:4.0f} ms, smoke {levels.smoke} "
            f"fog {levels.fog} splash {levels.splash}"
        )


def stream_of(client: Client, wanted: str | None) -> str:
    """The id of the stream with this id or number; the first one for None. Raises
    StreamUnknown."""
    states = client.streams()
    for state in states:
        if wanted in (None, state["id"], str(state["number"])):
            return str(state["id"])
    known = ", ".join(str(state["number"]) for state in states)
    raise StreamUnknown(
        "there is no such stream" if wanted else "no stream is running",
        f"there are: {known}" if known else "start one on the page, or push one",
    )


def view(
    url: str,
    told: Callable[[Seen], None],
    *,
    stream: str | None = None,
    token: str | None = None,
    want: Want = "restored",
    save: Path | None = None,
    seconds: float | None = None,
) -> None:
    """Watches until the stream ends, or for `seconds`. save: a JPEG file that always holds the
    newest picture. Raises StreamUnknown, SinkUnwritable or SurgiclearClientError."""
    with Client(url, token=token) as client, client.view(stream_of(client, stream), want=want) as w:
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            frames, gap_ms, last = 0, 0.0, None
            began = before = time.monotonic()
            while (left := began + LINE_S - time.monotonic()) > 0:
                frame = w.receive(timeout_s=left)
                now = time.monotonic()
                gap_ms = max(gap_ms, (now - before) * 1000)
                if frame is not None:
                    frames, before, last = frames + 1, now, frame
            told(Seen(frames, gap_ms, last))
            if save is not None and last is not None:
                with Whole(save) as whole:
                    whole.write_bytes(last.payload)
                    whole.commit()
