"""A network becomes a bundle with its proofs and gates, or nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import make_key
from nets import SIZE, Convolutions, Small, small, spec, steered

from engines import zoo
from engines.contract import Contract
from engines.errors import BundleMissing, ExportRefused
from engines.export import Proof, export
from engines.half import Parity
from engines.onnxrt import load
from engines.zoo import UNTRAINED, Order, fitted, make, probes


@pytest.fixture(autouse=True)
def one_small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "RESTORERS", {"small": spec(Small)})
    # traced once for all tests; tests/engines/test_export.py holds `export` itself
    monkeypatch.setattr(
        zoo, "export", lambda net, size, progress: (small()[1], [Proof(SIZE, 1.0, 0.0)])
    )


ORDER = Order(name="small", size=SIZE)


def test_fp32(tmp_path: Path) -> None:
    made = make(ORDER, tmp_path, command="surgiclear engines export small")
    manifest = made.bundle.manifest
    assert made.bundle.folder == tmp_path / "small-40x24-fp32"
    assert (manifest.architecture, manifest.precision, manifest.opset) == ("small", "fp32", 20)
    assert manifest.inputs[0].shape == (1, 24, 40, 3)
    assert manifest.training_data == UNTRAINED
    assert [gate.name for gate in manifest.gates] == ["difference_to_torch"]
    assert manifest.command == "surgiclear engines export small"
    assert b"random" in made.bundle.files["CARD.md"]
    assert load(made.bundle).info.name == "small-40x24-fp32"


def test_fp16_passes_its_gate_and_is_signed(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys", "lab")
    frame = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    order = Order(name="small", size=SIZE, precision="fp16", frames=[frame])
    told: list[str] = []
    made = make(order, tmp_path, key=key, progress=told.append)
    gate = made.bundle.manifest.gates[1]
    assert (gate.name, gate.sense, gate.bound) == ("fp16_against_fp32", "least", 50.0)
    assert gate.figure >= 50
    assert gate.data.startswith("1 frames, pattern")
    assert made.bundle.signer == key.public
    assert made.chosen is not None
    assert made.chosen.short
    assert any("ranges on 5 frames" in line for line in told)
    assert len(made.bundle.model) < len(small()[1]) * 1.2


@pytest.mark.parametrize("contract", ["nv12", "float"])
def test_other_contracts_have_bundles_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contract: Contract
) -> None:
    monkeypatch.setattr(zoo, "export", export)
    monkeypatch.setitem(zoo.RESTORERS, "small", spec(Convolutions))
    made = make(Order(name="small", size=SIZE, contract=contract), tmp_path)
    manifest = made.bundle.manifest
    assert manifest.name == f"small-40x24-fp32-{contract}"
    names = [port.name for port in manifest.inputs]
    assert names == (["luma", "chroma", "strength"] if contract == "nv12" else ["frame"])
    assert load(made.bundle).info.name == manifest.name


def test_a_network_beside_a_reference_has_a_bundle_in_fp16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "export", export)
    monkeypatch.setitem(zoo.RESTORERS, "small", spec(steered))
    order = Order(name="small", size=(48, 64), contract="referred", precision="fp16")
    made = make(order, tmp_path)
    manifest = made.bundle.manifest
    assert manifest.name == "small-64x48-fp16-referred"
    ports = [(port.name, port.shape, port.dtype) for port in manifest.inputs]
    assert ports == [
        ("frame", (1, 48, 64, 3), "uint8"),
        ("reference", (1, 144, 256, 3), "uint8"),
        ("known", (1,), "float32"),
    ]
    assert [gate.name for gate in manifest.gates] == ["difference_to_torch", "fp16_against_fp32"]
    assert load(made.bundle).info.name == manifest.name


def test_a_contract_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match="even sides"):
        make(Order(name="small", size=(25, 40), contract="nv12"), tmp_path)
    with pytest.raises(ExportRefused, match="for fp32"):
        make(Order(name="small", size=SIZE, contract="float", precision="fp16"), tmp_path)


@pytest.mark.parametrize("result", [Parity(49.9, True), Parity(99.0, False)])
def test_a_failed_gate_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Parity
) -> None:
    monkeypatch.setattr(zoo, "parity", lambda *a, **k: result)
    with pytest.raises(ExportRefused, match="too far from fp32"):
        make(Order(name="small", size=SIZE, precision="fp16"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_are_loaded_or_refused(tmp_path: Path) -> None:
    net = Small()
    with torch.no_grad():
        net.leave.weight.fill_(0.25)
    path = tmp_path / "small.pt"
    torch.save({"params": net.state_dict()}, path)
    loaded = zoo.network(Order(name="small", size=SIZE, weights=path))
    assert torch.equal(loaded.state_dict()["leave.weight"], net.state_dict()["leave.weight"])
    for bad in (b"", b"nothing"):
        path.write_bytes(bad)
        with pytest.raises(ExportRefused, match="checkpoint"):
            zoo.network(Order(name="small", size=SIZE, weights=path))
    torch.save({"other.weight": torch.ones(1)}, path)
    with pytest.raises(ExportRefused, match="checkpoint"):
        zoo.network(Order(name="small", size=SIZE, weights=path))


def test_an_unknown_network_is_a_users_mistake() -> None:
    with pytest.raises(BundleMissing, match="small"):
        zoo.network(Order(name="large", size=SIZE))
    with pytest.raises(BundleMissing, match="surgiclear publish"):
        zoo.network(Order(name="veil", size=SIZE))


@pytest.mark.parametrize("shape", [(24, 40), (100, 40), (30, 400), (7, 9), (480, 800)])
def test_pictures_of_any_size_become_frames(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), (10, 20, 30), np.uint8)
    frame = fitted(picture, SIZE)
    assert frame.shape == (1, *SIZE, 3)
    assert (frame == (10, 20, 30)).all()


def test_black_white_and_noise_are_always_measured() -> None:
    frames = [probe["frame"] for probe in probes(ORDER)]
    assert any((frame == 0).all() for frame in frames)
    assert any((frame == 255).all() for frame in frames)
    assert any(frame.std() > 60 and 100 < frame.mean() < 150 for frame in frames)
