"""ONNX Runtime runs verified bytes, says where, and never falls back without a word."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from bundles import GAIN, SHAPE, tiny_bundle, tiny_fields, tiny_files, tiny_model, tiny_vector
from onnx import TensorProto

from engines.bundle import Bundle, Vector, write
from engines.errors import BackendMissing, FeedsWrong, RunFailed, SelfTestFailed
from engines.onnxrt import OnnxRuntime, Options, load

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "tiny")


def test_it_runs(bundle: Bundle) -> None:
    engine = load(bundle, Options(threads=2, arena=False))
    frame = np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8)
    first = engine.run({"frame": frame})["restored"]
    want = np.clip(frame.astype(np.float32) * GAIN, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(first, want)
    engine.run({"frame": np.zeros(SHAPE, np.uint8)})
    np.testing.assert_array_equal(first, want)  # the caller's to keep
    assert (engine.info.name, engine.info.provider) == ("tiny", "cpu")
    assert engine.info.sha256 == bundle.sha256


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"image": np.zeros(SHAPE, np.uint8)},
        {"frame": np.zeros(SHAPE, np.float32)},
        {"frame": np.zeros((1, 4, 5, 3), np.uint8)},
        {"frame": np.zeros(SHAPE[1:], np.uint8)},
        {"frame": np.zeros(SHAPE, np.uint8), "more": np.zeros(1)},
    ],
)
def test_wrong_feeds_are_refused(bundle: Bundle, feeds: dict[str, Any]) -> None:
    with pytest.raises(FeedsWrong):
        load(bundle).run(feeds)


def test_a_closed_engine_says_so(bundle: Bundle) -> None:
    engine = load(bundle)
    engine.close()
    with pytest.raises(RunFailed, match="closed"):
        engine.run(tiny_vector().inputs)


def test_external_data_comes_from_the_verified_bytes(tmp_path: Path) -> None:
    model = tiny_model()
    gain = model.graph.initializer[0]
    gain.ClearField("raw_data")
    gain.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": "4", "length": "12"}.items():
        gain.external_data.add(key=key, value=value)
    files = tiny_files(model.SerializeToString())
    files["weights.bin"] = b"\xff" * 4 + GAIN.tobytes()
    bundle = write(tmp_path / "tiny", tiny_fields(), files, tiny_vector())
    (tmp_path / "tiny" / "weights.bin").unlink()
    engine = load(bundle)  # runs the self-test, which needs the right gains
    assert engine.info.name == "tiny"


def test_a_wrong_answer_stops_the_engine(tmp_path: Path) -> None:
    good = tiny_vector()
    off = {"restored": good.outputs["restored"] ^ 1}
    bundle = write(tmp_path / "t", tiny_fields(), tiny_files(), Vector(good.inputs, off, 0.5))
    with pytest.raises(SelfTestFailed, match="off by 1"):
        load(bundle)
    near = write(tmp_path / "u", tiny_fields(), tiny_files(), Vector(good.inputs, off, 1.0))
    assert load(near)


@dataclass
class FakeSession:
    """Records how it is made and run; `providers` is what it claims to have loaded."""

    providers: list[str]
    made: dict[str, Any] = field(default_factory=dict)
    bound: list[tuple[Any, ...]] = field(default_factory=list)
    fallback: bool = True
    error: Exception | None = None

    def __call__(self, model: bytes, **settings: Any) -> FakeSession:
        self.made = settings
        return self

    def get_providers(self) -> list[str]:
        return self.providers

    def disable_fallback(self) -> None:
        self.fallback = False

    def io_binding(self) -> FakeSession:
        return self

    def bind_ortvalue_input(self, name: str, value: Placed) -> None:
        self.bound.append(("in", name, value))

    def bind_ortvalue_output(self, name: str, value: Placed) -> None:
        self.bound.append(("out", name, value))

    def run_with_iobinding(self, binding: FakeSession) -> None:
        if self.error:
            raise self.error
        frame = next(v for kind, _, v in self.bound if kind == "in").held
        restored = next(v for kind, _, v in self.bound if kind == "out")
        restored.held = np.clip(frame.astype(np.float32) * GAIN, 0, 255).astype(np.uint8)


@dataclass
class Placed:
    """A value on a GPU: what it holds can only be copied in and out."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: str
    index: int

    def __post_init__(self) -> None:
        self.held = np.zeros(self.shape, self.dtype)

    def update_inplace(self, value: np.ndarray[Any, Any]) -> None:
        assert (value.shape, value.dtype) == (self.shape, self.dtype)
        self.held = value.copy()

    def numpy(self) -> np.ndarray[Any, Any]:
        return self.held.copy()


def test_a_provider_that_is_not_there(bundle: Bundle) -> None:
    with pytest.raises(BackendMissing, match="extra `gpu`"):
        OnnxRuntime(bundle, Options(provider="cuda"), available=lambda: [ALL[2]])


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_did_not_load_is_an_error(bundle: Bundle, provider: Any) -> None:
    session = FakeSession(ALL[2:])
    with pytest.raises(BackendMissing, match="did not load"):
        OnnxRuntime(bundle, Options(provider=provider), make=session, available=lambda: ALL)


def test_tensorrt_that_fell_back_to_cuda_is_an_error(bundle: Bundle) -> None:
    session = FakeSession(ALL[1:])
    with pytest.raises(BackendMissing, match="did not load"):
        OnnxRuntime(bundle, Options(provider="tensorrt"), make=session, available=lambda: ALL)


def test_the_gpu_path_binds_and_never_falls_back(bundle: Bundle) -> None:
    session = FakeSession(ALL[1:])
    options = Options(provider="cuda", device=2, cuda_graph=True)
    engine = OnnxRuntime(bundle, options, make=session, available=lambda: ALL, value=Placed)
    assert session.fallback is False
    name, settings = session.made["providers"][0]
    assert name == "CUDAExecutionProvider"
    assert (settings["device_id"], settings["enable_cuda_graph"]) == ("2", "1")
    vector = tiny_vector()
    for _ in range(3):
        out = engine.run(vector.inputs)
        np.testing.assert_array_equal(out["restored"], vector.outputs["restored"])
    # bound once, on the right GPU: a recorded launch keeps its addresses
    assert [(kind, name) for kind, name, _ in session.bound] == [
        ("in", "frame"), ("out", "restored"),
    ]  # fmt: skip
    assert all((v.device, v.index) == ("cuda", 2) for *_, v in session.bound)
    session.error = RuntimeError("CUDA failure 700")
    with pytest.raises(RunFailed, match="CUDA failure 700"):
        engine.run(vector.inputs)


def test_a_session_that_cannot_be_made(bundle: Bundle) -> None:
    def broken(model: bytes, **settings: Any) -> Any:
        raise RuntimeError("no such kernel")

    with pytest.raises(BackendMissing, match="no such kernel"):
        OnnxRuntime(bundle, make=broken)


def test_waiting_threads_do_not_spin_unless_told(bundle: Bundle) -> None:
    for spinning, want in ((False, "0"), (True, "1")):
        session = FakeSession(ALL[2:])
        OnnxRuntime(bundle, Options(spinning=spinning, threads=3), make=session)
        settings: ort.SessionOptions = session.made["sess_options"]
        assert settings.get_session_config_entry("session.intra_op.allow_spinning") == want
        assert settings.intra_op_num_threads == 3
