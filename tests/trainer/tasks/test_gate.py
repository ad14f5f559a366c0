"""The do-no-harm gate: each bound alone keeps it shut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from training import scene, veiled

from trainer.pixels import Pixels
from trainer.tasks.gate import Bounds, Check, Exam, Verdict, examine


class Fixed(nn.Module):
    """Takes an even veil away, by a share of what is there."""

    def __init__(self, share: float, always: bool = False) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        smoky = x.std() < 0.11  # under the veil there is little contrast
        if not smoky and not self.always:
            return x
        clear = ((x - 0.5 * 200 / 255) / 0.5).clamp(0, 1)
        out: Tensor = x + self.share * (clear - x)
        return out


def exams(numbers: Sequence[int], group: str) -> list[Exam]:
    return [Exam(group, veiled(scene(n)), scene(n)) for n in numbers]


OWN = [*exams((1, 2), "a"), *exams((3, 4), "b")]
CLEAR: list[Pixels] = [scene(n) for n in (1, 2)]


def verdict(after: nn.Module, *, own: list[Exam] = OWN, guard: list[Exam] | None = None) -> Verdict:
    return examine(
        Fixed(0.5), after, own=own, guard=exams((7,), "g") if guard is None else guard, clear=CLEAR
    )


def failed(found: Verdict) -> list[str]:
    return [c.name for c in found.checks if not c.passed]


def test_a_better_net_is_let_through() -> None:
    found = verdict(Fixed(0.8))
    assert found.passed and not failed(found) and len(found.checks) == 4
    assert all(line.startswith("passed") for line in found.lines())


def test_the_same_net_gains_nothing() -> None:
    assert failed(verdict(Fixed(0.5))) == ["gain on the hospital's pairs"]


def test_a_group_that_loses_shuts_it() -> None:
    upside = [replace(e, degraded=e.truth, truth=e.degraded) for e in exams((5, 6), "c")]
    wins = [e for e in OWN for _ in range(3)]
    found = verdict(Fixed(0.8, always=True), own=[*wins, *upside])
    assert "loss of the worst group" in failed(found)


def test_other_data_that_it_forgets_shuts_it() -> None:
    backwards = [Exam("g", veiled(scene(7)), veiled(scene(7)))]
    assert failed(verdict(Fixed(0.8), guard=backwards)) == ["loss on other data"]


def test_clear_pictures_that_it_changes_shut_it() -> None:
    assert failed(verdict(Fixed(0.8, always=True))) == ["loss on clear pictures"]


def test_a_gate_that_has_not_looked_does_not_open() -> None:
    for own, clear in (([], CLEAR), (OWN, [])):
        with pytest.raises(ValueError, match="the gate needs"):
            examine(Fixed(0.5), Fixed(0.8), own=own, guard=[], clear=clear)
    assert not Verdict(()).passed


def test_no_number_passes_nothing() -> None:
    for sense in ("least", "most"):
        assert not Check("x", float("nan"), 0.0, sense).passed
    assert Bounds().gain > 0
