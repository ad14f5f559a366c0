"""Percentiles are those of the values given, and memory stays bounded."""

from __future__ import annotations

import numpy as np

from server.stages import Stages


def test_percentiles_in_milliseconds() -> None:
    stages = Stages()
    for ms in range(1, 101):
        stages.add("decode", ms * 1_000_000)
    found = stages.percentiles()["decode"]
    expected = np.percentile(np.arange(1, 101), (50, 95, 99))
    assert (found.p50, found.p95, found.p99) == tuple(round(float(p), 3) for p in expected)


def test_the_oldest_values_give_way() -> None:
    stages = Stages(kept=10)
    for ms in [1000] * 10 + [1] * 10:
        stages.add("encode", ms * 1_000_000)
    assert stages.percentiles()["encode"].p99 == 1.0


def test_nothing_measured_is_nothing_told() -> None:
    assert Stages().percentiles() == {}
