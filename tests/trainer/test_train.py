"""The loop: it learns, and a broken run goes on exactly as an unbroken one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.veil import Veil
from trainer.samples import Cached, CachedPair, Mix, Samples
from trainer.train import Plan, load_average, rate, train

PLAN = Plan(steps=4, batch=2, warm_up=0, save_every=2, workers=0)


def frames(count: int = 3) -> list[Cached]:
    out = []
    for n in range(count):
        rng = np.random.default_rng(n)
        small = rng.integers(30, 200, (12, 20, 3), dtype=np.uint8)
        out.append(Cached(cv2.resize(small, (320, 180)), f"p{n}", 0.05))
    return out


def samples(seed: int = 3) -> Samples:
    clear = frames()
    pair = CachedPair(clear[0].pixels, clear[1].pixels, "1", (clear[2].pixels,))
    return Samples(clear, [pair], Mix(real=0.4, real_clear=0.1, clear=0.2), seed)


def fresh() -> Veil:
    torch.manual_seed(0)
    return Veil(widths=(8, 8, 16, 16))


def test_sample_number_n_is_always_the_same() -> None:
    first, again = samples()[17], samples()[17]
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["image"], samples(4)[17]["image"])


def test_every_kind_of_sample_is_drawn() -> None:
    drawn = [samples()[n] for n in range(60)]
    real = sum(float(d["real"]) for d in drawn)
    present = torch.stack([d["presence"] for d in drawn]).sum(0)
    known = sum(float(d["known"][0, 0, 0]) for d in drawn)
    assert 10 <= real <= 40 and 15 <= known <= 45
    assert (present > 0).all() and len({int(d["splash_type"]) for d in drawn}) > 1


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    whole = train(fresh(), samples(), PLAN, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):

        def stop(line: str) -> None:
            if line.startswith("  valid"):
                raise KeyboardInterrupt

        train(fresh(), samples(), PLAN, tmp_path / "half", validate=lambda _: {"x": 0.0}, say=stop)
    assert torch.load(tmp_path / "half" / "last.pt", weights_only=True)["step"] == 2
    half = train(fresh(), samples(), PLAN, tmp_path / "half")
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, half.state_dict()[name], atol=1e-6), name
    assert set(load_average(tmp_path / "half" / "last.pt")) == set(half.state_dict())


def test_the_loss_falls(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = replace(PLAN, steps=50, save_every=50, learning_rate=3e-3)
    one = samples()

    class Same(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        """Two samples over and over."""

        def __len__(self) -> int:
            return 2**31

        def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
            return one[number % 2]

    from trainer.loss import veil_loss

    net = fresh().train()
    batch = torch.utils.data.default_collate([one[0], one[1]])

    def loss() -> float:
        maps = net(batch["image"], batch["reference"], batch["known"])
        return float(veil_loss(maps, batch)[0].detach())

    before = loss()
    train(net, Same(), plan, tmp_path, say=lines.append)  # type: ignore[arg-type]
    assert loss() < 0.8 * before
    assert any(line.startswith("step 50/50") for line in lines)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    net = fresh()
    torch.nn.init.constant_(net.stem[0][0].weight, float("nan"))  # type: ignore[index,arg-type]
    with pytest.raises(FloatingPointError, match="step 0"):
        train(net, samples(), PLAN, tmp_path)


def test_the_rate_warms_up_and_falls() -> None:
    plan = Plan(steps=100, warm_up=10, learning_rate=1.0)
    assert rate(plan, 0) == pytest.approx(0.1, abs=0.02)
    assert rate(plan, 10) > 0.95 > rate(plan, 50) > rate(plan, 99) > 0
