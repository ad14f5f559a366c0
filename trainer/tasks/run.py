"""Runs a recipe: where, on what, into which folder; and the gate at the end of a fine-tuning."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from trainer.datasets.cache import PictureDamaged
from trainer.feed.data import Data, Need
from trainer.fit.checkpoint import BEST, LAST, STATE, read_about, save_weights
from trainer.fit.launch import launch
from trainer.fit.loop import fit
from trainer.fit.plan import told
from trainer.fit.progress import Shown
from trainer.fit.rehearsal import rehearse
from trainer.samples import Samples
from trainer.tasks.finetune import Finetune
from trainer.tasks.job import Job, Recipe
from trainer.tasks.recipes import NETS, RECIPES
from trainer.tasks.veil import PRESENCE, TrainVeil

VERDICT = "gate.json"
WORDS: Mapping[Need, str] = {
    "pairs": "pairs",
    "clips": "clips with a clear frame",
    "pools": "degraded and clear pictures",
    "scenes": "clean/ by patient with pairs/ by scene",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a user may say beside the recipe; None: as the recipe has it. start, teacher, guard:
    paths; threads: of torch."""

    start: str | None = None
    teacher: str | None = None
    guard: str | None = None
    steps: int | None = None
    batch: int | None = None
    accumulate: int | None = None
    workers: int | None = None
    threads: int | None = None
    compile: bool | None = None


class Harmful(ValueError):
    """The gate did not let a fine-tuned net through; `lines` says why."""

    def __init__(self, folder: Path, lines: list[str]) -> None:
        super().__init__(folder, lines)
        self.folder, self.lines = folder, lines

    def __str__(self) -> str:
        failed = "; ".join(line for line in self.lines if line.startswith("FAILED"))
        return f"{self.folder}: not let through, no {BEST} is written: {failed}"


def changed(recipe: Recipe, settings: Settings) -> Recipe:
    """The recipe with a user's settings. Raises ValueError for one that it has no use for.

    Another number of steps stretches nothing: the schedule stays the recipe's own.
    """
    job: Any = recipe.job
    for name in ("start", "teacher", "guard"):
        value = getattr(settings, name)
        if value is None:
            continue
        if name not in {f.name for f in fields(job)}:
            raise ValueError(f"{recipe.name} has no use for --{name}")
        job = replace(job, **{name: value})
    given = {
        name: getattr(settings, name)
        for name in ("steps", "batch", "accumulate", "workers", "threads", "compile")
        if getattr(settings, name) is not None
    }
    return replace(recipe, job=job, plan=replace(recipe.plan, **given))


def run(
    recipe: Recipe, data: Data, out: Path, *, resume: bool, dry: bool, console: Console
) -> Path | None:
    """Trains; returns the checkpoint to use; None after a dry run, and in processes that write
    nothing.

    Raises ValueError where the data set is of no use to the recipe; PictureDamaged; FileExistsError
    where a run is there and `resume` is not asked for; Harmful where the gate does not open; what
    Job.build, Job.source and fit raise.
    """
    if recipe.job.needs not in data.offers:
        raise ValueError(unfit(recipe, data))
    try:
        return _run(recipe, data, out, resume=resume, dry=dry, console=console)
    except PictureDamaged as error:
        # from a loading process it comes with that process's traceback
        last = str(error).strip().splitlines()[-1].removeprefix(f"{_name(PictureDamaged)}: ")
        raise PictureDamaged(
            f"{last}: surgiclear dataset check {data.root} --json check.json finds all such, "
            "--without check.json leaves them out"
        ) from error


def _run(
    recipe: Recipe, data: Data, out: Path, *, resume: bool, dry: bool, console: Console
) -> Path | None:
    folder = out / recipe.name
    if not dry:
        _guard(folder, resume=resume)
    about = told(recipe)
    if data.kinds:
        about["kinds"] = list(data.kinds)  # a run of other kinds is another run
    fabric = launch(recipe.plan.precision)
    fabric.seed_everything(recipe.plan.seed, verbose=False)  # fresh weights
    job = recipe.job if (folder / STATE).exists() and not dry else begun(recipe.job, out)
    task = job.build()

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    if fabric.is_global_zero:
        halves = job.halves(data) if isinstance(job, TrainVeil) else None
        say("\n".join(data.lines(job.needs, halves)))
    source = job.source(data)
    if dry:
        found = rehearse(task, source, recipe.plan, fabric=fabric, recipe=about)
        if fabric.is_global_zero:
            say("\n".join(found.lines()))
        return None
    if fabric.is_global_zero and not _done(folder, recipe.plan.steps):
        (folder / PRESENCE).unlink(missing_ok=True)  # of a net that is about to change
    judge = job.judge(data) if fabric.is_global_zero else None
    quiet = Console(quiet=True)
    with Shown(console if fabric.is_global_zero else quiet, recipe.plan.steps) as shown:
        outcome = fit(
            task, source, recipe.plan, folder,
            fabric=fabric, recipe=about, judge=judge, hear=shown,
        )  # fmt: skip
    if not fabric.is_global_zero:
        return None
    if isinstance(job, Finetune):
        let_through(job, outcome.net, data, folder, about)
    if isinstance(job, TrainVeil):
        assert isinstance(source, Samples)
        job.finish(source, folder, say)
        return folder / LAST  # what the next run begins with, and what ships
    best = folder / BEST
    return best if best.exists() else folder / LAST


def _guard(folder: Path, *, resume: bool) -> None:
    """Raises FileExistsError where a run would be overwritten, or cannot be gone on with."""
    if (folder / STATE).exists() and resume:
        return
    left = sorted(p.name for p in folder.glob("last.*") if p.suffix != ".new")
    if left and resume:
        missing = f"but not {STATE}, which it takes to go on: take another --out"
        raise FileExistsError(f"{folder} holds {left[0]}, {missing}")
    if left:
        raise FileExistsError(f"{folder} holds a run: use --resume, or another --out")


def begun(job: Job, out: Path) -> Job:
    """The job with the last checkpoint of the recipe that it begins after, found in `out`. Raises
    FileNotFoundError where that one has not been trained."""
    if not isinstance(job, TrainVeil) or job.after is None or job.start is not None:
        return job
    start = out / job.after / LAST
    if not start.is_file():
        how = f"train {job.after} first, or name a checkpoint with --start"
        raise FileNotFoundError(f"{start} is missing: {how}")
    return replace(job, start=str(start))


def _done(folder: Path, steps: int) -> bool:
    """Whether the last checkpoint is that of the last step."""
    last = folder / LAST
    return last.exists() and int(read_about(last)["step"]) >= steps


def unfit(recipe: Recipe, data: Data) -> str:
    """Why a data set is of no use to a recipe, and what is of use."""
    fitting = [name for name, make in RECIPES.items() if make().job.needs in data.offers]
    families = {name: re.sub(f"-({'|'.join(NETS)})$", "-NET", name) for name in fitting}
    sizes = Counter(families.values())
    names = ", ".join(dict.fromkeys(f if sizes[f] > 1 else name for name, f in families.items()))
    if not names:
        names = "none"
        if any(i.video for i in data.items):
            names = "none; surgiclear curate makes pairs of video"
    what = f"{data.found.dataset} in shards" if data.found.packed else data.found.dataset
    return (
        f"{data.root} is {what}, which holds no {WORDS[recipe.job.needs]} for "
        f"{recipe.name}. Recipes that fit it: {names}"
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def let_through(
    job: Finetune, net: Any, data: Data, folder: Path, about: Mapping[str, Any]
) -> None:
    """Examines the tuned net; writes gate.json in any case and best.safetensors only when it
    passed. Raises Harmful."""
    verdict = job.gate(net, data)
    (folder / VERDICT).write_text(json.dumps(verdict.told(), indent=1) + "\n")
    (folder / BEST).unlink(missing_ok=True)
    if not verdict.passed:
        raise Harmful(folder, verdict.lines())
    save_weights(folder / BEST, net, {"recipe": about, "gate": verdict.told()})
