"""The loop: exact resume with noise inside, parts of a batch, divergence, what is written."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training import FAST, Noisy, data, pairs, seeded

from trainer.fit.checkpoint import BEST, LAST, STATE, read_about
from trainer.fit.launch import launch
from trainer.fit.loop import Outcome, fit
from trainer.fit.plan import Plan, told
from trainer.fit.task import Adam, Batch, Cost, Diverged
from trainer.tasks.restore import RestoreTask

PLAN = Plan(
    steps=9, batch=4, workers=0, threads=1, log_every=3, save_every=4, judge_every=3,
    picture_every=5, ema=0.9,
)  # fmt: skip


class Cut(Exception):
    """The power goes."""


class Heard:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.judgements: list[Mapping[str, float]] = []

    def step(self, step: int, values: Mapping[str, float]) -> None:
        assert "loss" in values
        self.steps.append(step)

    def judged(self, step: int, figures: Mapping[str, float]) -> None:
        self.judgements.append(figures)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data(tmp_path_factory.mktemp("loop") / "data")


def run(
    root: Path,
    folder: Path,
    plan: Plan = PLAN,
    *,
    share: float = 0.1,
    optimiser: Adam = FAST,
    cut: int | None = None,
    judge: object = None,
    hear: Heard | None = None,
) -> Outcome:
    def after(step: int) -> None:
        if step == cut:
            raise Cut

    task = seeded(lambda: RestoreTask(Noisy(share), optimiser))()
    return fit(
        task, pairs(root), plan, folder, fabric=launch(plan.precision),
        recipe={"plan": told(plan)}, after=after, judge=judge, hear=hear,  # type: ignore[arg-type]
    )  # fmt: skip


def test_noise_inside_a_net_is_the_same_after_a_resume(root: Path, tmp_path: Path) -> None:
    whole = run(root, tmp_path / "whole")
    with pytest.raises(Cut):
        run(root, tmp_path / "half", cut=6)
    rest = run(root, tmp_path / "half")
    assert rest.first == 4 and rest.losses == whole.losses[4:]


def test_workers_change_no_loss(root: Path, tmp_path: Path) -> None:
    here = run(root, tmp_path / "here")
    there = run(root, tmp_path / "there", replace(PLAN, workers=1))
    assert here.losses == there.losses


def test_parts_of_a_batch_add_up_to_it(root: Path, tmp_path: Path) -> None:
    whole = run(root, tmp_path / "whole", share=0.0)
    parts = run(root, tmp_path / "parts", replace(PLAN, accumulate=2), share=0.0)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    other = run(root, tmp_path / "other", replace(PLAN, batch=2), share=0.0)
    assert other.losses != pytest.approx(whole.losses, rel=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 parts"):
        run(root, tmp_path, replace(PLAN, accumulate=3))


def test_a_finished_run_stays_as_it_is(root: Path, tmp_path: Path) -> None:
    first = run(root, tmp_path)
    again = run(root, tmp_path)
    assert again.first == PLAN.steps and not again.losses
    for key, value in first.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[key])


def test_another_recipe_does_not_go_on_from_it(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Cut):
        run(root, tmp_path, cut=5)
    with pytest.raises(ValueError, match=r"plan\.batch: 4, now 2"):
        run(root, tmp_path, replace(PLAN, batch=2))
    assert run(root, tmp_path, replace(PLAN, log_every=1)).first == 4  # changes no loss


@pytest.mark.parametrize("rate", [float("nan"), 1e20])
def test_a_run_that_diverges_stops_and_keeps_its_last_checkpoint(
    rate: float, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(Cut):
        run(root, tmp_path, replace(PLAN, steps=30), cut=12, share=0.0)
    state = torch.load(tmp_path / STATE, weights_only=True)
    state["nets"]["net"]["body.0.bias"] += rate
    torch.save(state, tmp_path / STATE)
    before = (tmp_path / STATE).read_bytes(), (tmp_path / LAST).read_bytes()
    with pytest.raises(Diverged) as caught:
        run(root, tmp_path, replace(PLAN, steps=30), share=0.0)
    assert caught.value.step >= 12 and "loss" in str(caught.value)
    assert before == ((tmp_path / STATE).read_bytes(), (tmp_path / LAST).read_bytes())


class Exploding(RestoreTask):
    """Its gradient at one step is as large as numbers go, its loss is not."""

    def __init__(self, net: nn.Module, at: int) -> None:
        super().__init__(net, FAST)
        self._calls, self._at = 0, at

    def cost(self, turn: str, batch: Batch) -> Cost:
        cost = super().cost(turn, batch)
        self._calls += 1
        if self._calls != self._at + 1:
            return cost
        weight = next(self.nets["net"].parameters()).sum()
        return cost._replace(loss=cost.loss + 1e25 * (weight - weight.detach()))


def test_a_step_whose_gradient_explodes_is_left_out(root: Path, tmp_path: Path) -> None:
    net = Noisy()
    seen: list[dict[str, torch.Tensor]] = []
    fit(
        Exploding(net, at=2), pairs(root), replace(PLAN, steps=5, clip=1.0, log_every=1), tmp_path,
        fabric=launch(PLAN.precision), recipe={},
        after=lambda _: seen.append({k: v.clone() for k, v in net.state_dict().items()}),
    )  # fmt: skip
    still = [all(torch.equal(a[k], b[k]) for k in a) for a, b in itertools.pairwise(seen)]
    assert still == [False, True, False, False]


def test_best_and_last_hold_the_recipe_and_the_average(root: Path, tmp_path: Path) -> None:
    scores = iter((1.0, 3.0, 2.0))
    heard = Heard()
    outcome = run(root, tmp_path, judge=lambda net: {"score": next(scores)}, hear=heard)
    assert heard.steps == [3, 4, 5, 6, 8, 9] and len(heard.judgements) == 3
    best, last = read_about(tmp_path / BEST), read_about(tmp_path / LAST)
    assert (best["step"], best["figures"]) == (6, {"score": 3.0}) and outcome.best == 3.0
    assert last["step"] == 9 and last["recipe"]["plan"] == told(PLAN)
    from safetensors.torch import load_file

    weights = load_file(tmp_path / LAST)
    raw = torch.load(tmp_path / STATE, weights_only=True)["nets"]["net"]
    for key, value in outcome.net.state_dict().items():
        assert torch.equal(value, weights[key])
    assert not torch.equal(raw["body.0.weight"], weights["body.0.weight"])


def test_the_board_has_curves_and_pictures(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert {"train/loss", "train/l1", "train/rate factor"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Images("samples")] == [5, 9]


def test_the_average_follows_slowly(root: Path, tmp_path: Path) -> None:
    """ema None ships the weights themselves."""
    raw = run(root, tmp_path, replace(PLAN, ema=None))
    weights = torch.load(tmp_path / STATE, weights_only=True)["nets"]["net"]
    for key, value in raw.net.state_dict().items():
        assert torch.equal(value, weights[key])


def test_clipping_bounds_what_a_step_moves(root: Path, tmp_path: Path) -> None:
    """Adam hides the gradient's size; its first moment does not."""
    moments = []
    for name, clip in (("free", None), ("clipped", 1e-4)):
        run(root, tmp_path / name, replace(PLAN, steps=1, clip=clip), share=0.0)
        state = torch.load(tmp_path / name / STATE, weights_only=True)["optimisers"]["net"]["state"]
        moments.append(torch.cat([s["exp_avg"].flatten() for s in state.values()]).norm().item())
    assert moments[1] <= 1.01 * 0.1 * 1e-4 < moments[0]


def test_only_nets_whose_turn_it_is_move(root: Path, tmp_path: Path) -> None:
    class Two(RestoreTask):
        """A second, frozen net."""

        def __init__(self) -> None:
            super().__init__(Noisy(0.0), FAST)
            self.nets["frozen"] = nn.Linear(2, 2)

    task = seeded(Two)()
    before = task.nets["frozen"].state_dict()["weight"].clone()
    fit(task, pairs(root), PLAN, tmp_path, fabric=launch("32-true"), recipe={})
    assert torch.equal(before, task.nets["frozen"].state_dict()["weight"])
    assert not task.nets["frozen"].training and task.nets["net"].training
