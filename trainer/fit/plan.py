"""How long, how fast and how exact: all that the loop itself wants to know of a recipe."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Literal

from trainer.fit.schedule import Constant, Schedule

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
# what may differ when a run goes on: it changes the speed, not the losses
FREE = frozenset({"steps", "workers", "log_every", "save_every", "judge_every", "picture_every"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """batch: samples of one step over all processes and parts; accumulate: parts of it taken one
    after another; clip: most that a gradient's norm may be; ema: decay of the averaged weights
    (None: the weights themselves ship); ema_buffers: the statistics of batch normalisation are
    averaged too, instead of copied; *_every: steps; workers: loading processes of each
    training process; threads: of torch in each training process (None: torch's own choice)."""

    steps: int
    batch: int
    schedule: Schedule = Constant()
    seed: int = 10
    accumulate: int = 1
    precision: Precision = "32-true"
    clip: float | None = None
    ema: float | None = 0.999
    ema_buffers: bool = False
    channels_last: bool = False
    compile: bool = False
    workers: int = 2
    threads: int | None = None
    log_every: int = 20
    save_every: int = 500
    judge_every: int = 2000
    picture_every: int = 1000

    def share(self, processes: int) -> int:
        """Samples of one part for one process. Raises ValueError where the batch cannot be cut
        into equal shares."""
        share, rest = divmod(self.batch, self.accumulate * processes)
        if rest or not share:
            raise ValueError(
                f"a batch of {self.batch} cannot be cut into {self.accumulate} parts "
                f"for {processes} processes"
            )
        return share


def told(value: Any) -> Any:
    """A recipe as plain JSON values: a dataclass becomes its fields and, as `is`, its name."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: told(getattr(value, f.name)) for f in fields(value)}
        return {"is": type(value).__name__, **named}
    if isinstance(value, tuple | list):
        return [told(v) for v in value]
    if isinstance(value, str | int | float | bool | None):
        return value
    return str(value)


def difference(before: Any, now: Any, path: str = "") -> str | None:
    """The first field in which two told recipes differ, as `path: before, now now`; None where
    they are the same in all that steers the losses. A plan's field that did not exist yet when the
    run began counts as its default."""
    if isinstance(before, dict) and isinstance(now, dict):
        if path == "plan":
            usual = {f.name: told(f.default) for f in fields(Plan) if f.default is not MISSING}
            before = {**usual, **before}
        for key in sorted(before.keys() | now.keys()):
            if path == "plan" and key in FREE:
                continue
            found = difference(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
            if found:
                return found
        return None
    return None if before == now else f"{path}: {before}, now {now}"
