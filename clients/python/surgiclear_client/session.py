"""The conversation of one socket without the socket: what to send, what an answer means.

Used by the blocking and by the async client alike; testable with no network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from surgiclear_client.errors import BadMessage, Refused
from surgiclear_client.frame import Codec, Frame, Picture, as_jpeg, pack, unpack

SUBPROTOCOL = "surgiclear.v1"
Want = Literal["restored", "raw", "split", "both"]  # both: raw above restored


@dataclass(frozen=True, slots=True)
class Dropped:
    """The answer to a frame that no picture answers: a newer one took its place (SUPERSEDED), it
    was too old (AGE), there was no credit (CREDITS), it was not readable (UNREADABLE), ..."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """The service's answer to the hello."""

    stream_id: str
    stream: int
    engine: str
    deadline_ms: float
    credits: int | None
    server_ns: int


@dataclass(frozen=True, slots=True)
class Pong:
    """t: as it was sent; server_ns: the service's monotonic clock."""

    t: int
    server_ns: int


Answer = Frame | Dropped
Heard = Frame | Dropped | Welcome | Pong


@dataclass
class Session:
    """One socket's state. credits: None for what the service gives a pusher, and for a viewer
    that does not acknowledge."""

    want: Want = "restored"
    token: str | None = None
    credits: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    quality: int = 90
    clock_ns: Callable[[], int] = time.monotonic_ns

    def __post_init__(self) -> None:
        self.welcome: Welcome | None = None
        self._pending: dict[int, None] = {}
        self._next_seq = 0

    @property
    def credit(self) -> int:
        """How many frames may be sent now."""
        if self.welcome is None:
            return 0
        return max(0, (self.welcome.credits or 0) - len(self._pending))

    @property
    def pending(self) -> int:
        """Frames that were sent and have no answer yet."""
        return len(self._pending)

    # what to send

    def hello(self) -> str:
        message: dict[str, Any] = {"type": "hello", "want": self.want}
        if self.token is not None:
            message["token"] = self.token
        if self.credits is not None:
            message["credits"] = self.credits
        return json.dumps(message | {k: v for k, v in self.options.items() if v is not None})

    def frame(
        self, picture: Picture, *, seq: int | None = None, capture_ts_ns: int | None = None
    ) -> tuple[int, bytes]:
        """The message for a picture, and its seq. Raises BadPicture, or ValueError for a seq that
        does not grow."""
        payload, width, height = as_jpeg(picture, self.quality)
        return self.encoded(payload, "jpeg", width, height, seq, capture_ts_ns)

    def encoded(
        self,
        payload: bytes,
        codec: Codec,
        width: int,
        height: int,
        seq: int | None = None,
        capture_ts_ns: int | None = None,
    ) -> tuple[int, bytes]:
        """As `frame`, for a picture that is encoded already."""
        number = self._next_seq if seq is None else seq
        if number < self._next_seq:
            raise ValueError(f"seq {number} was used, the next is at least {self._next_seq}")
        stamp = self.clock_ns() if capture_ts_ns is None else capture_ts_ns
        message = pack(payload, codec, width, height, number, stamp)
        self._next_seq = number + 1
        self._pending[number] = None
        return number, message

    @staticmethod
    def control(kind: str, **fields: Any) -> str:
        """bypass (on), want (want), strength (strength), engine (name), ack (seq), ping (t)."""
        return json.dumps({"type": kind, **fields})

    # what was heard

    def receive(self, message: str | bytes) -> Heard:
        """What a message from the service means. Raises Refused or BadMessage."""
        if isinstance(message, bytes):
            frame = unpack(message)
            self._pending.pop(frame.seq, None)
            return frame
        try:
            fields = json.loads(message)
            match fields["type"]:
                case "welcome":
                    self.welcome = Welcome(
                        str(fields["stream_id"]),
                        int(fields["stream"]),
                        str(fields["engine"]),
                        float(fields["deadline_ms"]),
                        None if fields.get("credits") is None else int(fields["credits"]),
                        int(fields.get("server_ns", 0)),
                    )
                    return self.welcome
                case "dropped":
                    dropped = Dropped(int(fields["seq"]), str(fields["reason"]))
                    self._pending.pop(dropped.seq, None)
                    return dropped
                case "pong":
                    return Pong(int(fields["t"]), int(fields["server_ns"]))
                case "error":
                    refusal = Refused(str(fields["code"]), str(fields["message"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadMessage(f"not a message of {SUBPROTOCOL}: {message[:80]!r}") from error
        else:
            if fields["type"] != "error":
                raise BadMessage(f"unknown message {fields['type']!r}")
        raise refusal
