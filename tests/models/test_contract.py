"""What every restorer of the zoo keeps, whatever its architecture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import models
from models import RESTORERS
from models.spec import Spec
from models.weights import WeightsError

OWN_INPUTS = {"veil", "selfsvd"}  # not one picture in, one picture out: they have their own tests
NAMES = [name for name in RESTORERS if name not in OWN_INPUTS]
# parameters that the last output does not depend on: of training's smaller pictures and noise
UNUSED = {"focalnet": ("ConvsOut.",), "convir": ("ConvsOut.",), "amir": (".w_noise",)}
DISCONTINUOUS = {"histoformer", "amir"}  # sort and choose: rounding can change their answer


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def spec(name: str) -> Spec:
    return RESTORERS[name]


@pytest.fixture(scope="module")
def net(spec: Spec) -> Iterator[nn.Module]:
    """The default variant in eval mode; its weights moved a little off their starting values,
    since a layer scale that starts at 0 hides all behind it."""
    torch.manual_seed(11)
    net = spec.build().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    yield net
    net.zero_grad(set_to_none=True)


def picture(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(5))


def difference(ours: torch.Tensor, want: torch.Tensor) -> float:
    """Largest difference, over the spread of what it should be."""
    return float((ours - want).abs().max() / want.std())


def test_its_facts_are_true(spec: Spec, net: nn.Module) -> None:
    assert sum(p.numel() for p in net.parameters()) == spec.parameters
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        spec.build().eval()(torch.empty(1, 3, 720, 1280))
    assert counter.get_total_flops() / 2e9 == pytest.approx(spec.gmacs_720p, abs=0.06)
    assert 2016 < spec.year < 2030
    assert all((spec.name, spec.paper, spec.licence, spec.purpose))
    assert spec.half_unsafe is None or len(spec.half_unsafe.split()) > 4  # a reason, not a flag


def test_an_unknown_variant_is_refused(spec: Spec) -> None:
    with pytest.raises(ValueError, match="no such variant|has variants"):
        spec.build("enormous")


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (31, 16), (72, 100)])
def test_the_size_stays(net: nn.Module, size: tuple[int, int]) -> None:
    x = picture(1, *size)
    before = x.clone()
    with torch.inference_mode():
        y = net(x)
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    assert y.isfinite().all()
    assert torch.equal(x, before), "the input was written to"


def test_twice_the_same_is_the_same(net: nn.Module) -> None:
    x = picture(1, 17, 33)
    with torch.inference_mode():
        assert torch.equal(net(x), net(x))


def test_two_at_once_are_two_alone(net: nn.Module, name: str) -> None:
    two = picture(2, 16, 24)
    exact = name in DISCONTINUOUS
    if exact:  # convolutions of one and of two pictures round differently
        two = two.double()
        net.double()
    try:
        with torch.inference_mode():
            together = net(two)
            alone = torch.cat([net(two[:1]), net(two[1:])])
    finally:
        net.float()
    assert difference(together, alone) < (1e-6 if exact else 1e-3)


def test_half_precision_is_finite_or_marked_unsafe(spec: Spec, net: nn.Module, name: str) -> None:
    if spec.half_unsafe:
        pytest.skip(f"marked: {spec.half_unsafe}")
    x = picture(1, 17, 33)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    try:
        with torch.inference_mode():
            full = net(x)
            half = net.bfloat16()(x.bfloat16()).float()
    finally:
        net.float().load_state_dict(state)
    assert half.isfinite().all()
    if name not in DISCONTINUOUS:
        assert difference(half, full) < 0.5


def test_the_gradient_reaches_every_used_parameter(
    net: nn.Module, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a squeeze to two channels may be dead by chance of the weights, which is no fault
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: F.leaky_relu(x, 0.1))
    net.zero_grad(set_to_none=True)
    y = net(picture(1, 16, 24))
    (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    for key, weight in net.named_parameters():
        if any(part in key for part in UNUSED.get(name, ())):
            assert weight.grad is None, f"{key} is used"
        else:
            assert weight.grad is not None, f"{key} is not reached"
            assert weight.grad.isfinite().all(), key
            assert weight.grad.abs().max() > 0, f"{key} gets nothing"


def test_its_own_checkpoint_comes_back(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save({"params": net.state_dict()}, path)
    loaded = models.load(path)
    assert type(loaded) is type(net)
    want = net.state_dict()
    assert all(torch.equal(value, want[key]) for key, value in loaded.state_dict().items())


def test_a_foreign_checkpoint_is_refused(net: nn.Module, name: str) -> None:
    other = RESTORERS["focalnet" if name != "focalnet" else "ramit"].build().state_dict()
    with pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict(other)


def test_a_checkpoint_with_a_key_too_many_is_refused(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"params": {**net.state_dict(), "stranger.weight": torch.zeros(2)}}, path)
    with pytest.raises(WeightsError, match=r"stranger\.weight"):
        models.load(path)
