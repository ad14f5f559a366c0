"""The self-test: an engine must give the bundle's own answers before it is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.bundle import Vector
from engines.engine import Array, Engine
from engines.errors import SelfTestFailed


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one output is from its answer: the largest absolute difference, in its units."""

    output: str
    largest: float


def distance(have: Array, want: Array) -> float:
    """Largest absolute difference; infinite for another shape or type or anything not finite."""
    if have.shape != want.shape or have.dtype != want.dtype:
        return float("inf")
    if have.dtype.kind == "f" and not np.isfinite(have).all():
        return float("inf")
    if have.size == 0:
        return 0.0
    return float(np.abs(have.astype(np.float64) - want.astype(np.float64)).max())


def selftest(engine: Engine, vector: Vector) -> list[Difference]:
    """Runs the self-test. Raises SelfTestFailed if an output is farther off than allowed."""
    outputs = engine.run(vector.inputs)
    differences = [
        Difference(name, distance(outputs[name], want) if name in outputs else float("inf"))
        for name, want in vector.outputs.items()
    ]
    for difference in differences:
        if not difference.largest <= vector.tolerance:
            raise SelfTestFailed(
                f"{engine.info.name} on {engine.info.provider}: {difference.output} is off by"
                f" {difference.largest:.3g}, allowed {vector.tolerance:.3g}",
                "do not use this engine here; try another provider, or rebuild its plan",
            )
    return differences
