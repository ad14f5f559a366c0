"""The weights that ship: they load, they restore, they have a card, and they stay small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import models
from models.steered import Steered
from models.trained import FOLDER, trained
from trainer import dataset
from trainer.beside import steered
from trainer.datasets.scenes import ASIDE
from trainer.metrics import psnr
from trainer.pixels import unit
from trainer.tasks.judging import restored

DATA = dataset.shared_data()
needs_data = pytest.mark.skipif(DATA is None, reason="no surgical data: set SURGICLEAR_SHARED")
NAMES = sorted(p.stem for p in FOLDER.glob("*.safetensors"))
MOST_BYTES = 10_000_000  # of all weights in the tree


@pytest.mark.parametrize("name", NAMES)
def test_they_load_and_have_a_card(name: str) -> None:
    net = models.load(trained(name)).eval()
    assert type(net) is type(models.RESTORERS[name].build())
    with torch.no_grad():
        out = net(torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)))
    assert torch.isfinite(out).all()
    card = (FOLDER / f"{name}.md").read_text()
    for said in ("Research use", "Trained on", "Made by", "Limits"):
        assert said in card, said


def test_a_network_without_is_told_with_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="'amir'.*focalnet"):
        trained("amir")


def test_all_weights_together_stay_small() -> None:
    root = Path(models.__file__).parent.parent
    kept = [
        p
        for room in ("models", "engines", "trainer", "server", "clients", "docker")
        for p in (root / room).rglob("*")
        if p.suffix in (".onnx", ".safetensors", ".pt", ".npz", ".pth")
    ]
    assert len(kept) >= 3
    assert sum(p.stat().st_size for p in kept) < MOST_BYTES


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_they_gain_on_scenes_they_were_not_trained_on(name: str) -> None:
    assert DATA is not None
    net = models.load(trained(name)).eval()
    gains = []
    for scene in ASIDE:
        pair = next(p for p in dataset.pairs(DATA) if p.scene == scene)
        smoky = dataset.load(pair.smoky, (176, 320))
        truth = unit(dataset.load(pair.clear, (176, 320)))
        gains.append(psnr(restored(net, smoky), truth) - psnr(unit(smoky), truth))
    assert np.mean(gains) > 0.5


@needs_data
def test_focalnet_gains_from_a_reference_and_is_not_misled_by_another_scene() -> None:
    """Scenes that it was not trained on; the reference is another clear frame than the truth."""
    assert DATA is not None
    net = models.load(trained("focalnet"), steered=True)
    assert isinstance(net, Steered)
    gains = []
    for scene, elsewhere in (("6", "9"), ("9", "6")):
        frames, other = dataset.references(DATA, scene), dataset.references(DATA, elsewhere)
        pair = next(p for p in dataset.pairs(DATA) if p.scene == scene)
        smoky = dataset.load(pair.smoky, (176, 320))
        truth = unit(dataset.load(pair.clear, (176, 320)))
        good = next(f for f in reversed(frames) if f != pair.clear)
        beside = {"good": dataset.load(good), "wrong": dataset.load(other[0])}
        found = {k: psnr(v, truth) for k, v in steered(net, smoky, beside).items()}
        gains.append([found[k] - found["none"] for k in ("good", "wrong")])
    good_gain, wrong_gain = np.mean(gains, 0)
    assert good_gain > 0.5
    assert wrong_gain > -0.3
