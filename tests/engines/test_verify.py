"""The self-test sees a value off, a wrong shape, a wrong type, a missing output and a NaN."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from bundles import tiny_vector

from engines.bundle import Vector
from engines.engine import Array, Info
from engines.errors import SelfTestFailed
from engines.verify import distance, selftest


class Scripted:
    """Gives these outputs, whatever comes in."""

    info = Info(name="scripted", version="1.0.0", sha256="", provider="cpu", detail="")

    def __init__(self, outputs: Mapping[str, Array]) -> None:
        self.outputs = dict(outputs)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return self.outputs

    def close(self) -> None: ...


def test_the_right_answer_passes() -> None:
    vector = tiny_vector()
    (difference,) = selftest(Scripted(vector.outputs), vector)
    assert (difference.output, difference.largest) == ("restored", 0.0)


@pytest.mark.parametrize("outputs", [
    {}, {"restored": np.zeros((1, 2, 2, 3), np.uint8)},
    {"restored": tiny_vector().outputs["restored"].astype(np.int32)},
    {"restored": tiny_vector().outputs["restored"] ^ 1},
])  # fmt: skip
def test_a_wrong_answer_fails(outputs: Mapping[str, Array]) -> None:
    with pytest.raises(SelfTestFailed, match="restored"):
        selftest(Scripted(outputs), tiny_vector())


def test_not_a_number_is_never_within_tolerance() -> None:
    want = np.zeros(3, np.float32)
    have = np.array([0, np.nan, 0], np.float32)
    assert distance(have, want) == float("inf")
    with pytest.raises(SelfTestFailed):
        selftest(Scripted({"y": have}), Vector({}, {"y": want}, 1e9))
    assert distance(np.full(3, 0.25, np.float32), want) == 0.25
