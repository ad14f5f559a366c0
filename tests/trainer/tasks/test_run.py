"""A run from its name to its checkpoint: settings, dry run, resume, the gate at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn
from training import FAST, Noisy, data

import models
from trainer.feed.data import Data, read
from trainer.fit.checkpoint import BEST, LAST, STATE, read_about
from trainer.tasks.finetune import Finetune
from trainer.tasks.gate import Bounds
from trainer.tasks.job import Recipe
from trainer.tasks.recipes import RECIPES, surgclean
from trainer.tasks.restore import Restore
from trainer.tasks.run import VERDICT, Harmful, Settings, changed, run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read(data(tmp_path_factory.mktemp("run") / "data") / "pairs")


@pytest.fixture(autouse=True)
def small_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any net's name and any checkpoint's path give the small net of these tests."""

    def load(name: str) -> nn.Module:
        net = Noisy(0.0)
        if Path(name).is_file():
            from safetensors.torch import load_file

            net.load_state_dict(load_file(name))
        return net

    monkeypatch.setattr(models, "load", load)


def small(job: Restore | Finetune | None = None, **plan: int) -> Recipe:
    base = surgclean("focalnet")
    quick = replace(base.plan, steps=4, batch=2, workers=0, threads=1, save_every=2, **plan)  # type: ignore[arg-type]
    return replace(base, job=job or Restore(net="focalnet", size=32, optimiser=FAST), plan=quick)


def told() -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, width=200), out


def test_a_run_says_how_it_goes_and_leaves_the_best(root: Data, tmp_path: Path) -> None:
    console, out = told()
    best = run(small(), root, tmp_path, resume=False, dry=False, console=console)
    assert best == tmp_path / "surgclean-focalnet" / BEST
    assert "step 4/4" in out.getvalue() and "judged at step 4" in out.getvalue()
    about = read_about(best)
    assert about["recipe"]["job"]["net"] == "focalnet" and about["figures"]["psnr"] > 5


def test_a_run_is_not_overwritten_but_goes_on(root: Data, tmp_path: Path) -> None:
    console, _ = told()
    run(small(), root, tmp_path, resume=False, dry=False, console=console)
    with pytest.raises(FileExistsError, match="--resume"):
        run(small(), root, tmp_path, resume=False, dry=False, console=console)
    longer = replace(small(), plan=replace(small().plan, steps=6))
    run(longer, root, tmp_path, resume=True, dry=False, console=console)
    assert read_about(tmp_path / "surgclean-focalnet" / LAST)["step"] == 6


def test_a_dry_run_tells_and_writes_nothing(root: Data, tmp_path: Path) -> None:
    console, out = told()
    assert run(small(), root, tmp_path / "o", resume=False, dry=True, console=console) is None
    assert not (tmp_path / "o").exists()
    text = out.getvalue()
    for word in ("input: 2 3 32 32", "443 parameters", "MiB", "first step", "6 samples", "losses"):
        assert word in text, text


def test_settings_change_what_they_name_and_no_more() -> None:
    base = RECIPES["finetune"]()
    got = changed(base, Settings(start="x.safetensors", steps=7, workers=0, compile=False))
    assert isinstance(got.job, Finetune) and got.job.start == "x.safetensors"
    assert (got.plan.steps, got.plan.workers) == (7, 0)
    assert got.plan.schedule == base.plan.schedule
    assert changed(base, Settings()) == base
    with pytest.raises(ValueError, match="no use for --teacher"):
        changed(base, Settings(teacher="x"))


def tuned(root: Data, tmp_path: Path, bounds: Bounds, **plan: int) -> Path | None:
    from safetensors.torch import save_file

    torch.manual_seed(2)
    save_file(Noisy(0.0).state_dict(), tmp_path / "start.safetensors")
    job = Finetune(
        optimiser=FAST, start=str(tmp_path / "start.safetensors"), size=32, anchor=0.0,
        alignment="none", bounds=bounds,
    )  # fmt: skip
    return run(small(job, **plan), root, tmp_path, resume=False, dry=False, console=told()[0])


def test_a_tuned_net_that_gains_is_let_through(root: Data, tmp_path: Path) -> None:
    best = tuned(root, tmp_path, Bounds(gain=0.01, group_loss=9, clear_loss=99))
    assert best is not None and best.name == BEST
    verdict = json.loads((best.parent / VERDICT).read_text())
    assert read_about(best)["gate"] == verdict and all(c["passed"] for c in verdict)


def test_a_tuned_net_that_harms_is_not(root: Data, tmp_path: Path) -> None:
    with pytest.raises(Harmful, match=r"FAILED.*gain") as caught:
        tuned(root, tmp_path, Bounds(gain=60, clear_loss=99))
    assert "best.safetensors" in str(caught.value)
    assert not (caught.value.folder / BEST).exists()
    verdict = json.loads((caught.value.folder / VERDICT).read_text())
    assert not verdict[0]["passed"] and (caught.value.folder / STATE).exists()
