"""Each bundle gets its own kind of restorer, and each backend is had or is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from bundles import GAIN, tiny_bundle, tiny_fields, tiny_files, tiny_model
from planes import plane_bundle

from engines.bundle import Bundle, Vector, write
from engines.choice import BACKENDS, half_of, ladder_of, restorer_of, restorer_on_gpu
from engines.engine import Backend
from engines.errors import BackendMissing, BundleMissing, EngineError, FeedsWrong
from engines.fullframe import FullFrame
from engines.picture import Rgb, Yuv420
from engines.rungs import Rungs
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


def port(height: int, width: int) -> list[dict[str, object]]:
    shape = (1, height, width, 3)
    return [
        {"name": "frame", "colour": "rgb", "layout": "b h w c", "shape": shape, "dtype": "uint8",
         "range": (0, 255)}
    ]  # fmt: skip


def gain_bundle(folder: Path, height: int, width: int, **changes: object) -> Bundle:
    """A bundle of the same network for a size of its own."""
    (frame,) = port(height, width)
    model = tiny_model()
    for value in (*model.graph.input, *model.graph.output):
        for dim, side in zip(value.type.tensor_type.shape.dim, (1, height, width, 3), strict=True):
            dim.dim_value = side
    picture = np.random.default_rng(7).integers(0, 256, (1, height, width, 3), np.uint8)
    answer = np.clip(picture * GAIN, 0, 255).astype(np.uint8)
    fields = tiny_fields(
        name=folder.name, inputs=[frame], outputs=[{**frame, "name": "restored"}], **changes
    )
    vector = Vector({"frame": picture}, {"restored": answer}, 0.0)
    return write(folder, fields, tiny_files(model.SerializeToString()), vector)


@needs_veil
def test_a_live_engine_has_every_rung(tmp_path: Path) -> None:
    store = Store(user=tmp_path)
    full = gain_bundle(tmp_path / "full", 63, 96)
    alone = ladder_of(full, store)
    assert isinstance(alone, Rungs)
    assert alone.labels == ("full", "veil", "raw")
    alone.close()
    gain_bundle(tmp_path / "a-half-16", 32, 48, precision="fp16")
    same = gain_bundle(tmp_path / "half", 32, 48)
    gain_bundle(tmp_path / "of-another", 32, 48, architecture="other")
    gain_bundle(tmp_path / "quarter", 16, 24)
    found = half_of(full, store)
    assert found is not None
    assert found.sha256 == same.sha256  # the same precision comes first
    rungs = ladder_of(full, store)
    assert isinstance(rungs, Rungs)
    rungs.warm(96, 63)
    assert rungs.labels == ("full", "half", "veil", "raw")
    picture = Rgb(np.full((63, 96, 3), 60, np.uint8))
    analysis = rungs.analyse(picture)
    for rung, want in ((0, 60 * GAIN), (1, 60 * GAIN)):
        rungs.step_to(rung)
        out = rungs.apply(picture, analysis)
        assert isinstance(out, Rgb)
        np.testing.assert_allclose(out.pixels[30, 40], want)
    rungs.close()
    assert isinstance(ladder_of(store.find("veil"), store), VeilRestorer)


@needs_veil
def test_planes_stay_on_the_gpu_only_where_there_is_one(tmp_path: Path) -> None:
    store = Store(user=tmp_path)
    with pytest.raises(FeedsWrong, match="--contract nv12"):
        restorer_on_gpu(tiny_bundle(tmp_path / "tiny"), store)
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this machine has CUDA")
    with pytest.raises(BackendMissing):
        restorer_on_gpu(plane_bundle(tmp_path / "planes"), store)


@needs_veil
def test_a_network_over_planes_is_chosen_by_its_contract(tmp_path: Path) -> None:
    store = Store(user=tmp_path)
    bundle = plane_bundle(tmp_path / "planes")
    restorer = restorer_of(bundle, store)
    restorer.warm(40, 24)
    half = np.full((12, 20), 128, np.uint8)
    out = restorer.apply(
        planes := Yuv420(np.full((24, 40), 90, np.uint8), half, half), restorer.analyse(planes)
    )
    assert restorer.name == bundle.manifest.name
    assert isinstance(out, Yuv420) and out.y.shape == (24, 40)
    restorer.close()


@pytest.mark.parametrize("backend", ["cuda", "ort-tensorrt", "tensorrt"])
def test_a_gpu_that_is_not_there_is_an_error(tmp_path: Path, backend: Backend) -> None:
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
