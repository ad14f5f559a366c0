"""Fitting the presence head: it learns, repeats itself, and judges patients it never saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.veil import Veil
from trainer import presence
from trainer.presence import GROUPS, Fitted, Looked, fit, fit_presence, group, judged
from trainer.samples import Cached, Samples


def seen(n: int = 512, seed: int = 0) -> Looked:
    """Numbers of which the first three say what is there."""
    pooled = torch.randn(n, 10, generator=torch.Generator().manual_seed(seed)) * 3 + 1
    return Looked(pooled, (pooled[:, :3] > 1).float(), torch.ones(n, 3))


def patients() -> list[str]:
    """Two of each group."""
    found: dict[int, list[str]] = {n: [] for n in range(GROUPS)}
    for n in range(100):
        found[group(f"p{n}")].append(f"p{n}")
    return [name for names in found.values() for name in names[:2]]


def frames() -> list[Cached]:
    out = []
    for n, patient in enumerate(patients()):
        small = np.random.default_rng(n).integers(30, 200, (12, 20, 3), dtype=np.uint8)
        out += [Cached(cv2.resize(small, (320, 180)), patient, 0.05)] * 2
    return out


def net() -> Veil:
    torch.manual_seed(0)
    return Veil(widths=(8, 8, 16, 16)).eval()


def test_the_head_learns_what_the_numbers_say() -> None:
    head = fit(seen(2048), seed=1)
    fresh = seen(500, seed=9)
    with torch.no_grad():
        right = ((head(fresh.pooled) > 0) == (fresh.presence > 0)).float().mean()
    assert right > 0.9


def test_what_weighs_nothing_teaches_nothing() -> None:
    shown = seen(2048)
    wrong = Looked(
        torch.cat((shown.pooled, shown.pooled)),
        torch.cat((shown.presence, 1 - shown.presence)),
        torch.cat((shown.weight, torch.zeros_like(shown.weight))),
    )
    head = fit(wrong, seed=1)
    with torch.no_grad():
        found = head(shown.pooled) > 0
    assert (found == (shown.presence > 0)).float().mean() > 0.9


def test_the_same_samples_give_the_same_head_whatever_was_drawn_before() -> None:
    torch.manual_seed(3)
    one = fit(seen(), seed=1).state_dict()
    torch.manual_seed(4)
    state = torch.random.get_rng_state()
    two = fit(seen(), seed=1).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_patient_is_judged_by_a_head_that_never_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = iter([1.0, 10.0, 100.0, 1000.0])  # of the groups, in order

    def looked(net: Veil, samples: Samples, count: int) -> Looked:
        return Looked(torch.full((count, 10), next(marks)), torch.ones(count, 3), torch.ones(1, 3))

    def told(shown: Looked, seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
        total = sum(set(shown.pooled[:, 0].tolist()))
        return lambda pooled: torch.full((len(pooled), 3), total)

    monkeypatch.setattr(presence, "look", looked)
    monkeypatch.setattr(presence, "fit", told)
    found = fit_presence(net(), frames(), [], count=16, seed=1, say=lambda _: None)
    # two patients of each group, two frames each, every second judged: by all groups but its own
    assert found.alone[:, 0].tolist() == [1110.0] * 2 + [1101.0] * 2 + [1011.0] * 2 + [111.0] * 2
    assert torch.equal(found.beside, found.alone)
    assert found.head(torch.zeros(1, 10))[0, 0] == 1111.0


def test_samples_are_looked_at_without_moving_the_net() -> None:
    moved, before = net(), net().state_dict()
    found = fit_presence(moved, frames(), [], count=8, seed=1, say=lambda _: None)
    assert all(torch.equal(v, before[k]) for k, v in moved.state_dict().items())
    for logits in (found.alone, found.beside):
        assert logits.shape == (len(patients()), 3) and torch.isfinite(logits).all()
    assert not torch.equal(found.alone, found.beside)


def test_a_frame_is_judged_beside_another_of_its_patient_that_is_fit_for_it() -> None:
    one, two, hazy, lone = (
        Cached(np.full((4, 4, 3), n, np.uint8), patient, haze)
        for n, (patient, haze) in enumerate((("a", 0.1), ("a", 0.1), ("a", 0.5), ("b", 0.1)))
    )
    pairs = list(judged([one, hazy, lone, lone, two]))
    assert [(p.max(), None if q is None else q.max()) for p, q in pairs] == [
        (0, 1), (3, 3), (1, 0),
    ]  # fmt: skip
    assert list(judged([one]))[0][1] is None


def test_a_group_without_a_frame_to_degrade_is_an_error() -> None:
    missing = [f for f in frames() if group(f.patient) != 2]
    with pytest.raises(ValueError, match="group 2"):
        fit_presence(net(), missing, [], count=8, seed=1, say=lambda _: None)


def test_it_is_kept_whole(tmp_path: Path) -> None:
    made = Fitted(fit(seen(), seed=1), torch.randn(7, 3), torch.randn(5, 3))
    made.save(tmp_path / "presence.pt")
    back = Fitted.load(tmp_path / "presence.pt")
    x = seen(5, seed=2).pooled
    with torch.no_grad():
        assert torch.equal(made.head(x), back.head(x))
    assert torch.equal(made.alone, back.alone) and torch.equal(made.beside, back.beside)
    assert [p.name for p in tmp_path.iterdir()] == ["presence.pt"]
    with pytest.raises(FileNotFoundError, match="train veil-fold1 --resume"):
        Fitted.load(tmp_path / "veil-fold1" / "presence.pt")
