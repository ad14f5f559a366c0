"""A trained net becomes a bundle that verifies, loads, and answers as torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines import onnxrt
from engines.bundle import read
from engines.picture import Rgb
from engines.veil import VeilRestorer, from_bundle
from models.prior import Brightness, Steadied
from models.veil import Veil
from trainer.publish import NARROW_FROM, OUTPUTS, publish_veil, veil_onnx
from trainer.release import TorchEngine, card


def small_net(share: float = 0.8) -> Steadied:
    torch.manual_seed(0)
    net = Veil(widths=(8, 8, 16, 16))
    last = net.local[2]
    assert isinstance(last, torch.nn.Conv2d)
    torch.nn.init.normal_(last.weight, std=0.5)  # maps that are not flat
    return Steadied(net, Brightness(), share).eval()


def test_a_net_becomes_a_bundle_that_answers_as_torch_does(tmp_path: Path) -> None:
    net = small_net()
    publish_veil(
        net,
        tmp_path / "mine",
        version="1.2.3",
        presence_offset=(0.5, 0.0, -0.5),
        presence_offset_beside=(0.5, 0.0, -0.5),
        share_beside=0.9,
        card="a card",
        command="a command",
        training_data="none",
    )
    bundle = read(tmp_path / "mine")
    assert bundle.manifest.version == "1.2.3" and bundle.files["card.md"] == b"a card"
    engine = onnxrt.load(bundle)  # runs the self-test
    rng = np.random.default_rng(1)
    feeds = {
        "image": rng.random((1, 3, 144, 256), np.float32),
        "reference": rng.random((1, 3, 144, 256), np.float32),
        "known": np.ones((1, 1, 144, 256), np.float32),
    }
    have, want = engine.run(feeds), TorchEngine(net, "mine").run(feeds)
    for name in OUTPUTS:
        assert np.abs(have[name] - want[name]).max() < 1e-3, name


def test_weights_are_kept_in_sixteen_bits_and_widened_when_loaded(tmp_path: Path) -> None:
    import onnx

    data = veil_onnx(small_net())
    assert b'.py", line' not in data  # nor whose machine made it
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    large = [i for i in model.graph.initializer if np.prod(i.dims) >= NARROW_FROM]
    halves = [i.name for i in large if i.data_type == onnx.TensorProto.FLOAT16]
    assert len(halves) > 10 and not [i for i in large if i.data_type == onnx.TensorProto.FLOAT]
    widened = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type == "Cast"}
    assert all(widened[name] == name.removesuffix(".half") for name in halves)


def test_the_offset_of_the_bundle_rules_the_restorer(tmp_path: Path) -> None:
    def probability(offset: float, *, referred: bool = False) -> float:
        folder = tmp_path / f"b{offset:g}".replace("-", "m")
        publish_veil(
            small_net(), folder, version="1.0.0", presence_offset=(offset, 0.0, 0.0),
            presence_offset_beside=(-offset, 0.0, 0.0), share_beside=0.9, card="", command="",
            training_data="",
        )  # fmt: skip
        restorer: VeilRestorer = from_bundle(read(folder))
        grey = Rgb(np.full((90, 160, 3), 120, np.uint8))
        restorer.refer(grey if referred else None)
        return restorer.analyse(grey).detection.smoke.probability

    assert probability(-5.0) > 0.9 > 0.1 > probability(5.0)
    assert probability(5.0, referred=True) > 0.9  # beside a reference the other one holds


@pytest.mark.parametrize("beside", [False, True])
def test_the_share_of_the_bundle_rules_the_repair(tmp_path: Path, beside: bool) -> None:
    def maps(share: float) -> np.ndarray:
        folder = tmp_path / f"b{round(10 * share)}"
        publish_veil(
            small_net(0.7 if beside else share), folder, version="1.0.0",
            presence_offset=(0.0, 0.0, 0.0), presence_offset_beside=(0.0, 0.0, 0.0),
            share_beside=share if beside else 0.3, card="", command="", training_data="",
        )  # fmt: skip
        restorer = from_bundle(read(folder))
        if beside:
            restorer.refer(Rgb(np.full((90, 160, 3), 90, np.uint8)))
        found: np.ndarray = restorer.analyse(Rgb(np.full((90, 160, 3), 120, np.uint8))).maps
        return found

    untouched = np.array([1, 1, 0, 0, 0], np.float32)[:, None, None]
    whole, half = maps(1.0) - untouched, maps(0.5) - untouched
    assert np.abs(whole).max() > 0.05
    np.testing.assert_allclose(half, 0.5 * whole, atol=1e-5)


def test_the_card_says_what_passed_and_what_it_is_not() -> None:
    from engines.manifest import Gate

    passed = Gate(name="one", figure=2.5, bound=2.0, sense="least", unit="dB")
    failed = Gate(name="two", figure=3.0, bound=2.0, sense="most", unit="%")
    text = card("1.0.0", "make it", "figures", (passed, failed))
    assert "one: 2.50 dB (at least 2.0; passed" in text
    assert "two: 3.00 % (at most 2.0; NOT PASSED" in text
    assert "Not a medical device" in text and "make it" in text
