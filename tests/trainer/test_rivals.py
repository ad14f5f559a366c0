"""Nets beside `veil`: the same pictures, on scenes that every recipe keeps aside."""

from __future__ import annotations

import pytest
import torch
from fakes import FakeRestorer
from torch import Tensor, nn

from engines.veil import load
from trainer import dataset
from trainer.datasets.scenes import ASIDE
from trainer.rivals import compare, veils

DATA = dataset.shared_data()


class Same(nn.Module):
    """The identity, with a weight so that it has a device."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


@pytest.mark.skipif(DATA is None, reason="no surgical data: set SURGICLEAR_SHARED")
def test_a_net_that_does_nothing_scores_as_the_input() -> None:
    assert DATA is not None
    asked: list[str] = []

    def veil(scene: str) -> object:
        asked.append(scene)
        return load()

    found = compare(DATA, {"same": Same().eval()}, veil, count=3)  # type: ignore[arg-type]
    assert set(asked) == {*ASIDE, ""}
    for table in (found.real, found.synthetic):
        mine, given = table.by_group("same"), table.by_group("input")
        assert mine.keys() == given.keys()
        for group in mine:
            assert mine[group].psnr == pytest.approx(given[group].psnr, abs=0.01)
        assert table.overall("veil") != table.overall("input")
        assert table.overall("dark channel prior") != table.overall("global regression")
    assert set(found.real.by_group("veil")) == {f"scene {s}" for s in ASIDE}
    assert "scene 6 (7)" in found.text() and "same" in found.text()


def test_without_folds_veil_is_not_judged_on_scenes_that_it_has_seen() -> None:
    shipped, fold = FakeRestorer(), FakeRestorer()
    assert veils(shipped, None)("6") is None and veils(shipped, None)("") is shipped
    asked: list[str] = []

    def folds(scene: str) -> FakeRestorer:
        asked.append(scene)
        return fold

    assert veils(shipped, folds)("9") is fold and veils(shipped, folds)("") is fold
    assert asked == ["9", ASIDE[0]]
