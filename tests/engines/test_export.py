"""A graph is written only when it does what torch does, at every size it claims."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_fields
from nets import SIZE, BakesItsSize, Convolutions, small, steered
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.bundle import Vector, write
from engines.colour import to_yuv420
from engines.contract import COLOUR, KNOWN, REFERENCE, REFERENCE_SIZE, feeds
from engines.errors import ExportRefused
from engines.export import (
    Deployed,
    Tolerance,
    check_sizes,
    compare,
    export,
    half_and_half,
    noise,
    pattern,
    prove,
    run_torch,
    session,
    trace,
    unsettled,
    weigh,
)
from engines.onnxfile import inspect
from engines.onnxrt import load
from engines.picture import Rgb
from models.focalnet import FocalNet
from models.steered import VIEW, Steered

long = pytest.mark.skipif(
    os.environ.get("SURGICLEAR_LONG") != "1", reason="minutes of tracing: SURGICLEAR_LONG=1"
)


def old_dynamic_export(net: nn.Module, size: tuple[int, int], folder: Path) -> bytes:
    """By tracing, with height and width declared open: what people used to do."""
    path = folder / "old.onnx"
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Deployed(net),
            (torch.from_numpy(noise(size, 1)),),
            path,
            input_names=["frame"],
            output_names=["restored"],
            dynamic_axes={name: {1: "h", 2: "w"} for name in ("frame", "restored")},
            dynamo=False,
            opset_version=17,
        )
    return path.read_bytes()


def test_bytes_in_and_bytes_out_as_torch_does(tmp_path: Path) -> None:
    net, model = small()
    facts = inspect(model)
    assert (facts.opset, facts.inputs, facts.outputs) == (20, ("frame",), ("restored",))
    frame = pattern(SIZE, 9)
    want = run_torch(net, frame)
    assert want.dtype == np.uint8
    assert want.shape == frame.shape == (1, *SIZE, 3)
    port = {"layout": "b h w c", "shape": frame.shape, "dtype": "uint8", "range": (0, 255)}
    fields = tiny_fields(
        inputs=[{"name": "frame", **port}], outputs=[{"name": "restored", **port}], opset=20
    )
    vector = Vector({"frame": frame}, {"restored": want}, 1.0)
    bundle = write(tmp_path / "b", fields, {"model.onnx": model}, vector)
    engine = load(bundle)  # the self-test holds it to torch's answer
    assert engine.info.provider == "cpu"


def test_a_graph_that_is_not_this_network_is_refused() -> None:
    _, model = small()
    with pytest.raises(ExportRefused, match="differs from torch at 40x24"):
        prove(model, Convolutions().eval(), [SIZE])


def test_a_dynamic_graph_is_proven_at_other_sizes() -> None:
    sizes = check_sizes(SIZE)
    assert len(sizes) >= 5
    model, proofs = export(Convolutions().eval(), SIZE, dynamic=True)
    assert [proof.size for proof in proofs] == sizes
    assert all(proof.largest <= 1 for proof in proofs)
    assert inspect(model).nodes > 0


def test_a_graph_that_is_silently_wrong_at_other_sizes_is_refused(tmp_path: Path) -> None:
    net = BakesItsSize().eval()
    model = old_dynamic_export(net, SIZE, tmp_path)
    assert prove(model, net, [SIZE])  # right where it was traced
    assert prove(model, net, [(SIZE[1], SIZE[0])])  # and where the count is the same
    with pytest.raises(ExportRefused, match="differs from torch"):
        prove(model, net, check_sizes(SIZE))


def test_the_old_dynamic_export_of_ramit_is_refused(tmp_path: Path) -> None:
    ramit = pytest.importorskip("models.ramit")
    torch.manual_seed(0)
    net = ramit.RAMiT(dim=16, depths=(1, 1, 1, 1)).eval()
    size = (64, 96)
    model = old_dynamic_export(net, size, tmp_path)
    assert prove(model, net, [size])
    with pytest.raises(ExportRefused):
        prove(model, net, check_sizes(size))


def test_a_fixed_graph_is_refused_at_another_size() -> None:
    net, model = small()
    with pytest.raises(ExportRefused, match="fails at 48x24"):
        prove(model, net, [(24, 48)])


def test_what_torch_cannot_export_is_refused_in_one_line() -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.mean() > 0.5 else x

    with pytest.raises(ExportRefused, match="cannot export") as caught:
        trace(Branches(), SIZE)
    assert "\n" not in str(caught.value)


def test_the_operator_that_stops_an_export_is_named() -> None:
    class Sorts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = x.sort(dim=-1, stable=True).values
            return out

    with pytest.raises(ExportRefused, match=r"aten\.sort.*stable") as caught:
        trace(Sorts(), SIZE)
    assert "\n" not in caught.value.what


def test_a_network_that_rounding_decides_is_told_from_one_that_is_settled() -> None:
    class Decided(nn.Module):  # far below a float32's last digit
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x.sum() * 1e6) * 0.5 + 0.5 + 0 * x

    frame = half_and_half(SIZE, 0)
    assert unsettled(Decided(), frame) > 10
    net = Convolutions()
    assert unsettled(net, frame) < 0.01
    assert next(net.parameters()).dtype == torch.float32  # as it was


def test_the_proof_uses_pictures_the_tracer_has_not_seen() -> None:
    class Remembers(nn.Module):  # right for the frame it was traced with, whatever comes in
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = torch.from_numpy(noise(SIZE, 1)).permute(0, 3, 1, 2) / 255
            return seen + 0 * x

    class Identity(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 1.0

    model = trace(Remembers(), SIZE)
    with pytest.raises(ExportRefused, match="differs"):
        prove(model, Identity(), [SIZE])


def test_a_comparison_sees_one_level_and_a_wrong_shape() -> None:
    frame = half_and_half(SIZE, 0)
    off = frame ^ np.uint8(1)
    same = compare(frame, frame, SIZE)
    assert (same.largest, same.mean) == (0.0, 0.0)
    assert compare(off, frame, SIZE).largest == 1.0
    assert compare(frame[:, 1:], frame, SIZE).largest == float("inf")
    other: Any = frame.astype(np.float32)
    assert compare(other, frame, SIZE).largest == float("inf")
    # every pixel off by one is an error, not a rounding
    assert compare(off, frame, SIZE).mean > Tolerance().mean


def test_decoder_planes_in_and_out_are_proven(tmp_path: Path) -> None:
    net = Convolutions().eval()
    model, proofs = export(net, SIZE, contract="nv12")
    facts = inspect(model)
    assert facts.inputs == ("luma", "chroma", "strength")
    assert facts.outputs == ("restored_luma", "restored_chroma")
    assert proofs[0].largest <= 1
    graph = session(model)
    planes = feeds("nv12", pattern(SIZE, 4))
    names = list(facts.outputs)
    luma, chroma = graph.run(names, planes)
    want = to_yuv420(Rgb(run_torch(net, pattern(SIZE, 4))[0]), COLOUR)
    assert np.abs(luma[0].astype(int) - want.y)[2:-2, 2:-2].mean() < 2.0  # chroma was halved
    assert np.abs(chroma[0, ..., 0].astype(int) - want.u).mean() < 2.0
    nothing = graph.run(names, {**planes, "strength": np.zeros(1, np.float32)})
    np.testing.assert_array_equal(nothing[0], planes["luma"])  # byte for byte
    np.testing.assert_array_equal(nothing[1], planes["chroma"])
    half = graph.run(names, {**planes, "strength": np.full(1, 0.5, np.float32)})[0]
    middle = (luma.astype(int) + planes["luma"]) / 2
    assert np.abs(half - middle).max() <= 1


def test_a_graph_beside_a_reference_is_proven() -> None:
    """What the reference changes is torch's own change; known 0 is the answer without."""
    assert REFERENCE_SIZE == VIEW
    net = steered()
    model, proofs = export(net, (46, 64), contract="referred")
    assert proofs[0].largest <= 1
    graph, frame = session(model), half_and_half((46, 64), 3)
    inputs = feeds("referred", frame)
    (beside,) = graph.run(None, inputs)
    (alone,) = graph.run(None, {**inputs, KNOWN: np.zeros(1, np.float32)})
    other = np.zeros_like(inputs[REFERENCE])
    (dark,) = graph.run(None, {**inputs, REFERENCE: other})
    assert compare(alone, run_torch(net, frame), (46, 64)).largest <= 1
    for changed in (beside, dark):
        assert compare(changed, alone, (46, 64)).mean > 1
    assert compare(dark, beside, (46, 64)).mean > 0.5
    with pytest.raises(ExportRefused, match="takes no reference"):
        trace(Convolutions(), SIZE, contract="referred")
    with pytest.raises(ExportRefused, match="one size"):
        trace(net, SIZE, dynamic=True, contract="referred")


def test_a_steering_branch_is_left_out_where_there_is_none(tmp_path: Path) -> None:
    net = steered()
    path = tmp_path / "both.pt"
    torch.save(net.state_dict(), path)
    plain = weigh(FocalNet(width=8, blocks=1), path)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in plain.state_dict().items())
    beside = weigh(Steered(width=8, blocks=1), path)
    assert torch.equal(beside.state_dict()["steer.last.weight"], net.steer.last.weight)
    torch.save(plain.state_dict(), path)
    with pytest.raises(ExportRefused, match="steer"):
        weigh(Steered(width=8, blocks=1), path)


def test_floats_in_and_out_are_proven() -> None:
    net = Convolutions().eval()
    model, proofs = export(net, SIZE, contract="float")
    assert proofs[0].largest < 0.01  # no rounding to bytes
    with pytest.raises(ExportRefused, match="differs from torch"):
        prove(model, BakesItsSize().eval(), [SIZE], contract="float")
    with pytest.raises(ExportRefused, match="one size"):
        trace(net, SIZE, dynamic=True, contract="float")


@long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", ["ramit", "focalnet"])
def test_the_nets_export_at_an_odd_size(name: str) -> None:
    from models import RESTORERS

    torch.manual_seed(0)
    _, proofs = export(RESTORERS[name].build().eval(), (67, 93))
    assert proofs[0].largest <= 1
