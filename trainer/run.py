"""Runs a recipe: data in, checkpoints out, then a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import torch

from models.veil import Veil
from trainer.dataset import pairs
from trainer.presence import fit_presence
from trainer.recipes import Recipe
from trainer.samples import Samples, load_clear, load_pairs
from trainer.train import load_average, train

Say = Callable[[str], None]
PRESENCE = "presence.pt"  # beside the checkpoint


def run(recipe: Recipe, data: Path, out: Path, *, resume: bool, say: Say) -> Path:
    """Trains; returns the checkpoint out/NAME/last.pt, with the presence head beside it where
    the recipe has one. data: a folder as shared/data.

    Raises FileExistsError where a run is there and `resume` is not asked for, FileNotFoundError
    where the run that it starts from is not.
    """
    cv2.setNumThreads(1)  # the loader's processes are the parallelism
    torch.manual_seed(recipe.seed)
    folder = out / recipe.name
    if (folder / "last.pt").exists() and not resume:
        raise FileExistsError(f"{folder} holds a run: use --resume, or another --out")
    net = Veil().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.start is not None:
        begun = out / recipe.start / "last.pt"
        if not begun.exists():
            raise FileNotFoundError(f"{begun}: train {recipe.start} first")
        net.load_state_dict(load_average(begun))
    clear = load_clear(data, held_out=False)
    real = []
    if recipe.without is not None:
        scenes = {p.scene for p in pairs(data)} - set(recipe.without)
        real = load_pairs(data, frozenset(scenes))
    say(f"{recipe.name}: {len(clear)} clear frames, {len(real)} real pairs, {recipe.plan}")
    train(net, Samples(clear, real, recipe.mix, recipe.seed), recipe.plan, folder, say=say)
    if recipe.looks and not (folder / PRESENCE).exists():
        net = trained(folder / "last.pt")
        head = fit_presence(net, clear, real, count=recipe.looks, seed=recipe.seed, say=say)
        head.save(folder / PRESENCE)
    return folder / "last.pt"


def trained(checkpoint: Path) -> Veil:
    """The averaged net of a checkpoint, ready to run."""
    net = Veil()
    net.load_state_dict(load_average(checkpoint))
    return net.eval()
