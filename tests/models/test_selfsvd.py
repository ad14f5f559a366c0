"""SelfSVD: the authors' keys and output, causality, and a start as the identity."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from golden import keys, rule, shared
from pwcnet import PwcFlow

from engines.errors import BundleMissing
from engines.zoo import Order, network
from models import RESTORERS
from models.selfsvd import FOREIGN, SelfSVD, load_official
from models.weights import ForeignWeights, recognise

NOISE = 4.9e-6  # of the official code against itself, over the deviation of its output


def facts() -> dict[str, tuple[tuple[int, ...], str]]:
    table = json.loads((shared() / "selfsvd" / "keys.json").read_text())
    return {key: (tuple(shape), dtype) for key, shape, dtype in table["keys"]}


def small() -> SelfSVD:
    torch.manual_seed(4)
    net = SelfSVD(mid_channels=8, num_blocks=2).eval()
    torch.nn.init.normal_(net.zero_conv.weight)
    return net


def clip(t: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return (
        torch.rand(1, t, 3, 32, 48, generator=g),
        torch.rand(1, 3, 32, 48, generator=g),
        torch.zeros(1, t, 1, 8, 12),
    )


def test_its_keys_are_the_authors_but_for_the_flow_net() -> None:
    want = {k: v for k, v in facts().items() if not k.startswith(FOREIGN)}
    net = SelfSVD()
    assert keys(net) == want
    assert sum(p.numel() for p in net.parameters()) == 6_209_039


def test_the_yardstick_flow_is_pwc_net() -> None:
    """Without this the next test would prove less than it says."""
    flow = PwcFlow().eval()
    rule().fill_state_dict(flow.state_dict(), 0.8)
    with np.load(shared() / "pwcnet" / "golden_128.npz") as data, torch.inference_mode():
        source, target = torch.from_numpy(data["source"]), torch.from_numpy(data["target"])
        assert (flow(source, target) - torch.from_numpy(data["flow"])).abs().max() < 1e-3


def test_with_the_authors_flow_it_gives_the_authors_output() -> None:
    flow = PwcFlow().eval()
    net = SelfSVD(flow=lambda a, b: flow(a, b)).eval()
    module, gain = rule(), rule().GAINS["selfsvd"]
    whole = {
        key: torch.from_numpy(module.fill_value(key, shape, gain))
        for key, (shape, _) in facts().items()
    }
    load_official(net, whole)
    prefix = FOREIGN
    flow.load_state_dict(
        {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}
    )
    with np.load(shared() / "selfsvd" / "golden_128.npz") as data, torch.inference_mode():
        lq, ref, mask = (torch.from_numpy(data[k]) for k in ("lq", "lq_ref", "refmask"))
        out, seen = net.with_reference(lq, ref, mask)
        want = torch.from_numpy(data["y"])
        assert (out - want).abs().max() / want.std() < 20 * NOISE
        mean = torch.from_numpy(data["ref_feat_mean"])
        assert (seen.mean((0, 3, 4)) - mean).abs().max() < 1e-6


def test_a_foreign_key_is_not_swallowed() -> None:
    net = small()
    with pytest.raises(RuntimeError, match="Unexpected"):
        load_official(net, {**net.state_dict(), "somebody.weight": torch.ones(1)})
    with pytest.raises(RuntimeError, match="Missing"):
        load_official(net, {k: v for k, v in net.state_dict().items() if "conv_hr" not in k})


def test_it_starts_as_the_identity() -> None:
    frames, reference, mask = clip()
    with torch.inference_mode():
        assert torch.equal(SelfSVD(8, 2).eval()(frames, reference, mask), frames)


def test_no_frame_sees_the_future() -> None:
    frames, reference, mask = clip()
    net = small()
    later = frames.clone()
    later[:, 2] = 0.5
    with torch.inference_mode():
        a, b = net(frames, reference, mask), net(later, reference, mask)
    assert torch.equal(a[:, :2], b[:, :2]) and not torch.equal(a[:, 2], b[:, 2])


def test_a_masked_reference_changes_nothing_and_an_open_one_does() -> None:
    frames, reference, mask = clip()
    net = small()
    other = reference.flip(-1)
    net._flow = lambda source, target: torch.zeros_like(source[:, :2])
    with torch.inference_mode():
        assert torch.equal(net(frames, reference, mask + 1), net(frames, other, mask + 1))
        assert not torch.equal(net(frames, reference, mask), net(frames, other, mask))


def test_no_still_picture_engine_is_made_of_it() -> None:
    with pytest.raises(BundleMissing, match="clip"):
        network(Order(name="selfsvd", size=(64, 64)))


def test_a_foreign_flow_net_beside_another_network_is_not_left_out() -> None:
    """Only SelfSVD's own checkpoints come with one."""
    shapes = {k: tuple(v.shape) for k, v in SelfSVD().state_dict().items()}
    assert recognise({**shapes, "pwcnet.a": (1,)}) == ("selfsvd", "default")
    other = {k: tuple(v.shape) for k, v in RESTORERS["focalnet"].build().state_dict().items()}
    with pytest.raises(ForeignWeights):
        recognise({**other, "pwcnet.a": (1,)})
