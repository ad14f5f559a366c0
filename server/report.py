"""What a restoration did, as the JSON that `--report` writes (docs: the report)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from engines.engine import Info
from engines.restorer import Detection
from server.frame import Reason
from server.pipeline import Tally
from server.stages import Percentiles


@dataclass(frozen=True, slots=True)
class Seen:
    """Levels 0-4 from t_s on (None for stills, which `file` names)."""

    t_s: float | None
    smoke: int
    fog: int
    splash: int
    file: str | None = None


@dataclass
class Timeline:
    """Levels over time: one entry whenever one of them changes, and for every still."""

    entries: list[Seen] = field(default_factory=list)

    def add(self, t_s: float, detection: Detection) -> None:
        now = Seen(
            round(t_s, 4), detection.smoke.level, detection.fog.level, detection.splash.level
        )
        last = self.entries[-1] if self.entries else None
        if last is None or (last.smoke, last.fog, last.splash) != (now.smoke, now.fog, now.splash):
            self.entries.append(now)

    def add_still(self, name: str, detection: Detection) -> None:
        levels = detection.smoke.level, detection.fog.level, detection.splash.level
        self.entries.append(Seen(None, *levels, file=name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One run. raw, guard: frames by Reason and by guard Cause; fps_processed: frames over
    wall_s; notes: what the user should know of input and output, failed: inputs that gave no
    output and why (folders only), as sentences."""

    input: str
    output: str
    engine: Info
    frames: int
    restored: int
    raw: Mapping[str, int]
    guard: Mapping[str, int]
    width: int | None
    height: int | None
    fps_in: float | None
    fps_processed: float
    wall_s: float
    stage_ms: Mapping[str, Percentiles]
    detections: tuple[Seen, ...]
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """As written: plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["engine"] = {
            key: getattr(self.engine, key) for key in ("name", "version", "sha256", "provider")
        }
        values["stage_ms"] = {stage: asdict(p) for stage, p in self.stage_ms.items()}
        values["detections"] = [
            {key: value for key, value in asdict(seen).items() if key != "file" or value}
            for seen in self.detections
        ]
        values["notes"], values["failed"] = list(self.notes), list(self.failed)
        return values

    def to_json(self) -> bytes:
        return (json.dumps(self.fields(), indent=1) + "\n").encode()

    def sentence(self) -> str:
        """The last line of a run."""
        what = f"restored {self.restored} of {self.frames} frames"
        if self.guard:
            causes = ", ".join(f"{cause} {count}" for cause, count in self.guard.items())
            what += f" ({sum(self.guard.values())} refused by the guard: {causes})"
        return f"{what}, {self.fps_processed:.1f} a second: {self.output}"


def counts(tally: Tally) -> tuple[dict[str, int], dict[str, int]]:
    """raw (every Reason, in order) and guard (those that happened), as a report names them."""
    raw = {reason.value: tally.raw[reason] for reason in Reason}
    return raw, {cause.value: count for cause, count in sorted(tally.trips.items())}
