"""The control messages of `surgiclear.v1`: JSON text beside the binary frames. No I/O here.

To the service: hello (first), bypass, want, strength, engine, ack (viewers), ping. From it:
welcome, dropped, bypass, pong, error. Unknown keys are ignored, so that a newer client may talk to
an older service; an unknown type, a wrong value or broken JSON is a `ProtocolError`.
"""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from server.errors import UserError
from server.spec import Kind, Mode, View

SUBPROTOCOL = "surgiclear.v1"
TEXT_BYTES = 8192  # of one control message
MAX_CREDITS = 8


class Close(IntEnum):
    """Why the service ends a connection."""

    GOING_AWAY = 1001  # the service stops, or the stream ended
    TOO_BIG = 1009
    TRY_LATER = 1013
    PROTOCOL = 4400
    AUTH = 4401
    UNKNOWN = 4404  # no such stream
    TOO_SLOW = 4408


class ProtocolError(UserError):
    """The peer broke the protocol; `code` tells how."""

    def __init__(self, code: str, what: str, do: str = "") -> None:
        super().__init__(what, do)
        self.code = code


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Hello(_Message):
    """Opens a conversation. credits: of a pusher, how many frames it may have unanswered (default
    2); of a viewer, how many frames may go unacknowledged (without: no acknowledgement)."""

    type: Literal["hello"]
    want: View = "restored"
    credits: Annotated[int, Field(ge=1, le=MAX_CREDITS)] | None = None
    token: Annotated[str, Field(max_length=4096)] | None = None
    max_age_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    deadline_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    engine: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    kinds: list[Kind] | None = None
    mode: Mode | None = None


class Bypass(_Message):
    """Raw from the next frame on (or no longer)."""

    type: Literal["bypass"]
    on: bool


class Want(_Message):
    """Another view from the next frame on."""

    type: Literal["want"]
    want: View


class Strength(_Message):
    type: Literal["strength"]
    strength: Annotated[float, Field(ge=0, le=1)]


class Engine(_Message):
    type: Literal["engine"]
    name: Annotated[str, Field(min_length=1, max_length=200)]


class Ack(_Message):
    """A viewer that stated credits has shown this frame."""

    type: Literal["ack"]
    seq: Annotated[int, Field(ge=0, lt=2**64)]


class Ping(_Message):
    """For the clock: answered at once with the service's monotonic time."""

    type: Literal["ping"]
    t: Annotated[int, Field(ge=0, lt=2**64)]


Control = Annotated[
    Hello | Bypass | Want | Strength | Engine | Ack | Ping, Field(discriminator="type")
]
_CONTROL: TypeAdapter[Control] = TypeAdapter(Control)


def parse(text: str) -> Control:
    """The control message in `text`. Raises ProtocolError."""
    if len(text) > TEXT_BYTES:
        raise ProtocolError("control_too_long", f"a control message has at most {TEXT_BYTES} bytes")
    try:
        return _CONTROL.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(
            "control_invalid", f"{where}: {first['msg']}" if where else str(first["msg"])
        ) from None


def dump(kind: str, **fields: object) -> str:
    """A control message to the peer."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))
