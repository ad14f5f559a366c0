"""How long each stage of the frame path took: a bounded record with its percentiles."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass

import numpy as np

KEPT = 1 << 20  # values per stage (8 MiB); the oldest give way


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of one stage, in milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values_ns: array[int]) -> Percentiles:
        p50, p95, p99 = np.percentile(np.frombuffer(values_ns, np.int64), (50, 95, 99)) / 1e6
        return cls(round(float(p50), 3), round(float(p95), 3), round(float(p99), 3))


class Stages:
    """Collects durations from several threads; a stage exists from its first value on."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._values: dict[str, array[int]] = {}
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, stage: str, ns: int) -> None:
        with self._lock:
            values = self._values.setdefault(stage, array("q"))
            seen = self._seen.get(stage, 0)
            if len(values) < self._kept:
                values.append(ns)
            else:
                values[seen % self._kept] = ns
            self._seen[stage] = seen + 1

    def percentiles(self) -> dict[str, Percentiles]:
        with self._lock:
            return {stage: Percentiles.of(array("q", v)) for stage, v in self._values.items()}
