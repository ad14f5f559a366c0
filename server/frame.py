"""One frame on its way: whose it is, when it was captured, and where its pixels came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engines.picture import Picture
from engines.restorer import Detection


class Provenance(StrEnum):
    """Where the pixels that the surgeon sees came from."""

    RESTORED = "RESTORED"
    RAW = "RAW"


class Reason(StrEnum):
    """Why a raw frame is raw."""

    CLEAR = "CLEAR"  # nothing to restore
    BYPASS = "BYPASS"  # the user asked for raw
    LATE = "LATE"  # no restored frame by the deadline
    GUARD = "GUARD"  # the restored frame failed a check
    ENGINE_DOWN = "ENGINE_DOWN"  # no live engine process
    WARMING = "WARMING"  # the engine is not ready yet
    SHAPE = "SHAPE"  # the engine does not take this size


@dataclass(frozen=True, slots=True)
class Frame:
    """A captured frame. capture_ns: monotonic clock; seq counts from 0 within (stream, epoch)."""

    stream: int
    epoch: int
    seq: int
    capture_ns: int
    picture: Picture
    pts: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What leaves the chain for one frame: exactly one per frame, raw unless proven restored."""

    frame: Frame
    picture: Picture
    provenance: Provenance
    reason: Reason | None  # None exactly when RESTORED
    detection: Detection

    def __post_init__(self) -> None:
        if (self.reason is None) != (self.provenance is Provenance.RESTORED):
            raise ValueError(f"{self.provenance} with reason {self.reason}")
