"""What `surgiclear train`, `recipes`, `bench train` and `bench align` do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from engines.restorer import Kind
from trainer.feed.data import read
from trainer.tasks.recipes import RECIPES
from trainer.tasks.run import Settings, changed, run


def table() -> Iterator[tuple[str, str]]:
    """Name and purpose of everything that can be trained."""
    for name, make in RECIPES.items():
        yield name, make().about


def train(
    name: str, data: Path, out: Path, *, resume: bool, dry: bool, settings: Settings,
    kinds: Sequence[Kind] = (), without: Path | None = None,
) -> Path | None:  # fmt: skip
    """Trains one recipe by name. kinds, without: as trainer/feed/data.py's `read` has them. Raises
    ValueError for an unknown recipe, and for a setting or a data set that it has no use for."""
    if name not in RECIPES:
        raise ValueError(f"no recipe is named {name!r}: see surgiclear recipes")
    recipe = changed(RECIPES[name](), settings)
    return run(
        recipe,
        read(data, kinds=kinds, without=without),
        out,
        resume=resume,
        dry=dry,
        console=Console(stderr=True),
    )


def bench_train(
    data: Path, net: str, *, crop: int, batch: int, rounds: int, steps: int, workers: int
) -> str:
    """Training throughput beside a plain loop of the same net."""
    import models
    from trainer.feed.pairs import shots
    from trainer.fit.bench import compare
    from trainer.fit.launch import launch

    rates = compare(
        lambda: models.load(net), shots(read(data))[0], launch("bf16-mixed"),
        side=crop, batch=batch, rounds=rounds, steps=steps, workers=workers,
    )  # fmt: skip
    return "\n".join(rates.lines())


def bench_align(data: Path, count: int, raft: Path | None) -> str:
    """End-point errors of a known movement under synthetic smoke, on held-out clear frames.
    Raises ValueError where there are none."""
    from trainer import dataset
    from trainer.align import Raft
    from trainer.flow_bench import lines

    held_out = [f for f in dataset.clear_frames(data) if f.held_out]
    if not held_out:
        raise ValueError(f"{data} holds no clear frames of held-out patients (clean/)")
    chosen = held_out[:: max(1, len(held_out) // count)][:count]
    frames = [dataset.load(f.path, (270, 480)) for f in chosen]
    flow = Raft(raft) if raft is not None else None
    return "\n".join([f"{len(frames)} frames of 480x270", *lines(frames, flow)])
