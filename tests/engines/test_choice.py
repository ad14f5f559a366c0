"""Each bundle gets its own kind of restorer, and each backend is had or is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest
from bundles import tiny_bundle

from engines import choice
from engines.choice import BACKENDS, restorer_of
from engines.errors import BackendMissing, BundleMissing, EngineError
from engines.fullframe import FullFrame
from engines.store import PACKAGE_FOLDER, Store
from engines.veil import VeilRestorer

needs_veil = pytest.mark.skipif(
    not (PACKAGE_FOLDER / "veil").is_dir(), reason="the package has no veil bundle"
)


@needs_veil
def test_each_architecture_has_its_restorer(tmp_path: Path) -> None:
    store = Store(user=tmp_path / "user")
    veil = restorer_of(store.find("veil"), store)
    assert isinstance(veil, VeilRestorer)
    veil.close()
    full = restorer_of(tiny_bundle(tmp_path / "tiny"), store)
    assert isinstance(full, FullFrame)
    full.close()


def test_a_full_frame_network_needs_its_detector(tmp_path: Path) -> None:
    store = Store(user=tmp_path / "user", package=tmp_path / "package")
    with pytest.raises(BundleMissing, match="veil"):
        restorer_of(tiny_bundle(tmp_path / "tiny"), store)


@pytest.mark.parametrize("backend", ["cuda", "ort-tensorrt", "tensorrt"])
def test_a_gpu_that_is_not_there_is_an_error(tmp_path: Path, backend: choice.Backend) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this machine has CUDA")
    with pytest.raises(EngineError) as caught:
        BACKENDS[backend](tiny_bundle(tmp_path / "tiny"))
    assert isinstance(caught.value, BackendMissing)


def test_the_cpu_runs(tmp_path: Path) -> None:
    assert BACKENDS["cpu"](tiny_bundle(tmp_path / "tiny")).info.provider == "cpu"


def test_the_run_time_needs_no_torch_and_no_onnx() -> None:
    code = (
        "import sys, engines.choice, engines.verbs, engines.build, server.choose;"
        "print([m for m in ('torch', 'onnx', 'tensorrt', 'tensorrt_rtx') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
