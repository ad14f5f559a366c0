"""OpenVINO: the same answers from the verified bytes, or a clear error."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bundles import GAIN, SHAPE, tiny_bundle, tiny_fields, tiny_files, tiny_model, tiny_vector
from onnx import TensorProto

from engines.bundle import Bundle, write
from engines.errors import BackendMissing, FeedsWrong, RunFailed, SelfTestFailed
from engines.vino import OpenVino, load, package

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra `openvino` is not installed"
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "tiny")


@needs_openvino
def test_it_runs_the_verified_bytes(bundle: Bundle) -> None:
    (bundle.folder / "model.onnx").write_bytes(b"swapped after the check")
    engine = load(bundle, threads=1)
    frame = np.random.default_rng(3).integers(0, 256, SHAPE, np.uint8)
    out = engine.run({"frame": frame})["restored"]
    np.testing.assert_array_equal(out, np.clip(frame * GAIN, 0, 255).astype(np.uint8))
    before = out.copy()
    engine.run({"frame": 255 - frame})
    np.testing.assert_array_equal(out, before)  # the caller's to keep
    assert engine.info.provider == "openvino"
    assert engine.info.sha256 == bundle.sha256
    with pytest.raises(FeedsWrong):
        engine.run({"frame": frame[:, :2]})
    engine.close()
    with pytest.raises(RunFailed, match="closed"):
        engine.run({"frame": frame})


@needs_openvino
def test_wrong_answers_are_refused(tmp_path: Path) -> None:
    vector = tiny_vector()
    vector.outputs["restored"][0, 0, 0, 0] ^= 64
    with pytest.raises(SelfTestFailed):
        load(write(tmp_path / "tiny", tiny_fields(), tiny_files(), vector))


@needs_openvino
def test_what_it_cannot_take_is_said(bundle: Bundle, tmp_path: Path) -> None:
    model = tiny_model()
    gain = model.graph.initializer[0]
    gain.ClearField("raw_data")
    gain.data_location = TensorProto.EXTERNAL
    gain.external_data.add(key="location", value="w.bin")
    files = tiny_files(model.SerializeToString()) | {"w.bin": GAIN.tobytes()}
    with pytest.raises(BackendMissing, match="outside its graph"):
        load(write(tmp_path / "outside", tiny_fields(), files, tiny_vector()))
    model = tiny_model()
    model.graph.node[1].op_type = "Mull"
    files = {**bundle.files, "model.onnx": model.SerializeToString()}
    object.__setattr__(bundle, "files", files)
    with pytest.raises(BackendMissing, match="refuses tiny"):
        load(bundle)


def test_a_run_that_breaks_is_told(bundle: Bundle) -> None:
    class Request:
        def infer(self, feeds: Any) -> None:
            raise RuntimeError("out of memory")

    compiled = SimpleNamespace(create_infer_request=Request)
    core = SimpleNamespace(
        read_model=lambda model, weights: model,
        compile_model=lambda model, device, settings: compiled,
    )
    engine = OpenVino(bundle, ov=SimpleNamespace(Core=lambda: core, __version__="1"))
    with pytest.raises(RunFailed, match="out of memory"):
        engine.run({"frame": np.zeros(SHAPE, np.uint8)})


def test_a_missing_package_is_an_error() -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    with pytest.raises(BackendMissing, match="extra `openvino`"):
        package(missing)
