"""The steering branch: only it is trained, on references of every kind, from FocalNet's weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from training import drawn, scene, steering, veiled, write

from models.focalnet import FocalNet
from models.steered import Steered
from models.weights import plain
from models.weights import read as weights
from trainer.datasets.scenes import ClearFrame, patient_of
from trainer.feed.answered import Answered
from trainer.feed.data import Data, read
from trainer.fit.checkpoint import save_weights
from trainer.fit.launch import launch
from trainer.fit.loop import Trainer, fit
from trainer.fit.plan import Plan
from trainer.tasks import steer
from trainer.tasks.recipes import steered_focalnet
from trainer.tasks.steer import SteerJudge, SteerTask, TrainSteer, distance


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkpoint of a small FocalNet; the job builds nets of its size."""
    net = FocalNet(width=8, blocks=1)
    monkeypatch.setattr(steer, "Steered", lambda: Steered(width=8, blocks=1))

    def load(path: str) -> torch.nn.Module:
        again = FocalNet(width=8, blocks=1)
        again.load_state_dict(plain(weights(path)))
        return again.eval()

    monkeypatch.setattr(steer.models, "load", load)
    path = tmp_path / "trunk.safetensors"
    save_weights(path, net, {})
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """A frame of a training patient and one of a held-out one; scenes 1 and 6 (kept aside)."""
    root = tmp_path_factory.mktemp("steer") / "data"
    held: set[bool] = set()
    for n in range(300):
        frame = ClearFrame(root, patient_of(f"artnet_P{n}_f0.jpg"))
        if frame.held_out not in held:
            held.add(frame.held_out)
            pixels = scene(n, 180, 320)
            pixels[..., n % 3] //= 8  # a dark channel: fit to degrade
            write(root / "clean" / f"artnet_P{n}_f0.jpg", pixels)
    rows = ["scene,smoky,clear,ncc"]
    for number in (1, 6):
        clear = scene(number, 180, 320)
        folder = root / "pairs" / f"scene{number:02d}"
        write(folder / "clear_000.jpg", clear)
        write(folder / "smoky_001.jpg", veiled(clear))
        rows.append(f"{number},{folder.name}/smoky_001.jpg,{folder.name}/clear_000.jpg,0.9")
    (root / "pairs" / "pairs.csv").write_text("\n".join(rows) + "\n")
    return read(root)


def job(start: Path) -> TrainSteer:
    found = steered_focalnet().job
    assert isinstance(found, TrainSteer)
    return replace(found, start=str(start), count=4)


def test_only_the_branch_is_trained(tmp_path: Path) -> None:
    plan = Plan(steps=3, batch=2, workers=0, threads=1, clip=1.0)
    task = steering()
    before = {k: v.clone() for k, v in task.nets["net"].state_dict().items()}
    source = Answered(drawn(), FocalNet(8, 1).eval(), 4)
    outcome = fit(task, source, plan, tmp_path, fabric=launch("32-true"), recipe={})
    for key, value in outcome.net.state_dict().items():
        assert torch.equal(value, before[key]) != key.startswith("steer."), key
    trainer = Trainer(steering(), plan, launch("32-true"), {})
    trainer.set_up()
    net = trainer.task.nets["net"]
    assert isinstance(net, Steered) and not net.Encoder.training and net.steer.training


def test_every_reference_is_asked_of_the_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own, the same moved far, and another sample's."""
    task = steering()
    net = task.nets["net"]
    assert isinstance(net, Steered)
    seen: list[Tensor] = []
    real = net.steered

    def spy(x: Tensor, answer: Tensor, reference: Tensor) -> Tensor:
        seen.append(reference)
        return real(x, answer, reference)

    monkeypatch.setattr(net, "steered", spy)
    feed = Answered(drawn(), FocalNet(8, 1).eval(), 2)
    rows = [feed.sample(n, np.random.default_rng(n)) for n in range(2)]
    batch = {k: torch.stack([r[k] for r in rows]) for k in rows[0]}
    torch.manual_seed(0)
    cost = task.cost("steer", batch)
    for got, kind in zip(seen, ("reference", "far", "wrong"), strict=True):
        assert torch.equal(got, batch[kind]), kind
    parts = {k: float(v) for k, v in cost.parts.items()}
    total = parts["good"] + steer.STALE * parts["stale"] + steer.WRONG * parts["wrong"]
    assert float(cost.loss.detach()) == pytest.approx(total, rel=1e-5)
    assert task.pictures(net, batch).shape == (2, 3, 144, 5 * 256)


def test_the_distance_is_none_where_there_is_none() -> None:
    x = torch.rand(2, 3, 48, 64)
    assert float(distance(x, x)) == pytest.approx(0, abs=1e-5)
    assert distance(x * 0.9, x) > 0.02


def test_the_judge_tells_what_the_reference_gives() -> None:
    net = Steered(8, 1).eval()
    told = SteerJudge(drawn(), 2)(net)
    assert told["psnr"] == pytest.approx(told["plain"]) == pytest.approx(told["score"])
    with torch.no_grad():
        assert net.steer.last.bias is not None
        net.steer.last.bias.fill_(3.0)  # much too bright
    worse = SteerJudge(drawn(), 2)(net)
    assert worse["psnr"] < told["psnr"] - 3 and worse["plain"] == pytest.approx(told["plain"])


def test_it_begins_with_focalnets_weights(small: Path) -> None:
    task = job(small).build()
    assert isinstance(task, SteerTask)
    net, trunk = task.nets["net"], weights(small)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in trunk.items())
    with torch.no_grad():
        net.get_submodule("steer.first").weight.fill_(0.5)  # type: ignore[union-attr]
    save_weights(small, net, {})
    again = job(small).build().nets["net"]
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in net.state_dict().items())
    with pytest.raises(ValueError, match="--start"):
        replace(job(small), start=None).build()


def test_another_net_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="trained focalnet"):
        replace(job(tmp_path), start="ramit").build()


def test_what_is_kept_aside_is_judged_and_not_trained(small: Path, data: Data) -> None:
    source = job(small).source(data)
    assert len(source) == 4
    assert {pair.scene for pair in source._samples.real} == {"1"}
    assert len(source._samples.clear) == 1
    judge = job(small).judge(data)
    assert isinstance(judge, SteerJudge)
    held = job(small)._samples(data, aside=True)
    assert {pair.scene for pair in held.real} == {"6"}
    assert held.clear[0].patient != source._samples.clear[0].patient
    sample = source.sample(0, np.random.default_rng(0))
    assert sample["image"].shape == sample["reference"].shape == (3, 144, 256)


def test_frames_that_are_all_hazy_are_refused(small: Path, data: Data, tmp_path: Path) -> None:
    root = tmp_path / "data"
    grey = scene(0, 180, 320) // 2 + 120
    write(root / "clean" / "artnet_P1_f0.jpg", grey)
    (root / "pairs").mkdir()
    (root / "pairs" / "pairs.csv").write_text("scene,smoky,clear,ncc\n")
    with pytest.raises(ValueError, match="fit to degrade"):
        job(small).source(read(root))
    assert job(small).judge(read(root)) is None
