"""TensorRT: plans from verified bytes for a GPU that is not here, and frames that never mix."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bundles import GAIN, SHAPE, tiny_bundle, tiny_fields, tiny_files, tiny_model, tiny_vector
from gpus import FakeDevice
from onnx import TensorProto, helper

from engines.bundle import Bundle, write
from engines.errors import BackendMissing, BuildFailed, FeedsWrong, PlanRefused, RunFailed
from engines.trt import TensorRt, build_model, build_plan, package
from engines.verify import selftest

needs_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="the extra `tensorrt` is not installed",
)
long = pytest.mark.skipif(
    os.environ.get("SURGICLEAR_LONG") != "1", reason="minutes of tracing: SURGICLEAR_LONG=1"
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "tiny")


@needs_tensorrt
def test_a_plan_for_another_machine_is_built_from_the_verified_bytes(bundle: Bundle) -> None:
    (bundle.folder / "model.onnx").write_bytes(b"swapped after the check")
    phases: list[str] = []
    built = build_plan(bundle, "sm89", progress=phases.append)
    assert len(built.plan) > 1000
    assert built.layers > 0
    assert "Building engine" in phases


def test_timings_of_one_build_are_taken_by_the_next() -> None:
    """With the `tensorrt` package, which measures kernels as it builds."""
    given: list[bytes] = []
    cache = SimpleNamespace(serialize=lambda: b"timings")

    def create(data: bytes) -> Any:
        given.append(data)
        return cache

    config = SimpleNamespace(
        create_timing_cache=create,
        set_timing_cache=lambda cache, ignore_mismatch: True,
        get_timing_cache=lambda: cache,
    )
    builder = SimpleNamespace(
        create_network=lambda flags: SimpleNamespace(num_layers=3),
        create_builder_config=lambda: config,
        build_serialized_network=lambda network, config: b"plan",
    )

    class Trt(FakeTrt):
        NetworkDefinitionCreationFlag = SimpleNamespace()

        def Builder(self, logger: Any) -> Any:  # noqa: N802
            return builder

        def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
            return SimpleNamespace(parse=lambda model: True)

    trt = Trt(FakeContext(FakeDevice()))
    built = build_model(b"model", "net", None, trt=trt)
    assert (built.plan, built.timings, built.layers) == (b"plan", b"timings", 3)
    build_model(b"model", "net", None, trt=trt, timings=built.timings)
    assert given == [b"", b"timings"]


def test_compiled_kernels_are_given_back_and_kept(bundle: Bundle) -> None:
    class Cache:
        content = b""

        def deserialize(self, data: bytes) -> None:
            self.content = data

        def serialize(self) -> bytes:
            return self.content + b"+"

    @dataclass
    class Rtx(FakeTrt):
        def Runtime(self, logger: Any) -> Any:  # noqa: N802
            runtime = super().Runtime(logger)

            def deserialise(plan: bytes) -> Any:
                engine = runtime.deserialize_cuda_engine(plan)
                config = SimpleNamespace(
                    create_runtime_cache=Cache,
                    set_runtime_cache=lambda cache: None,
                )
                engine.create_runtime_config = lambda: config
                engine.create_execution_context = lambda given: self.context
                return engine

            return SimpleNamespace(deserialize_cuda_engine=deserialise)

    device = FakeDevice()
    engine = TensorRt(bundle, b"plan", device, trt=Rtx(FakeContext(device)), kernels=b"before")
    assert engine.kernels() == b"before+"
    plain, _ = start(bundle)
    assert plain.kernels() == b""


@needs_tensorrt
def test_what_stops_a_plan_is_named(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="sm12345"):
        build_plan(bundle, "sm12345")
    model = tiny_model()
    # bytes go into no operator but Cast, and an FFT into none at all
    model.graph.node.insert(0, helper.make_node("Transpose", ["frame"], ["turned"]))
    files = tiny_files(model.SerializeToString())
    other = write(tmp_path / "turned", tiny_fields(), files, tiny_vector())
    with pytest.raises(BuildFailed, match="Transpose"):
        build_plan(other, "sm89")


@needs_tensorrt
def test_a_plan_needs_one_shape_and_one_file(bundle: Bundle, tmp_path: Path) -> None:
    open_port = {"layout": "b h w c", "shape": (1, "h", 6, 3), "dtype": "uint8", "range": (0, 255)}
    fields = tiny_fields(inputs=[{"name": "frame", **open_port}])
    open_bundle = write(tmp_path / "open", fields, tiny_files(), tiny_vector())
    with pytest.raises(FeedsWrong, match="fixed shape"):
        build_plan(open_bundle, "sm89")
    model = tiny_model()
    gain = model.graph.initializer[0]
    gain.ClearField("raw_data")
    gain.data_location = TensorProto.EXTERNAL
    gain.external_data.add(key="location", value="w.bin")
    files = tiny_files(model.SerializeToString()) | {"w.bin": GAIN.tobytes()}
    outside = write(tmp_path / "outside", tiny_fields(), files, tiny_vector())
    with pytest.raises(BuildFailed, match="outside its graph"):
        build_plan(outside, "sm89")


def test_no_package_is_said_plainly() -> None:
    with pytest.raises(BackendMissing, match="no_such_tensorrt"):
        package(("no_such_tensorrt", "nor_this_one"))


@dataclass
class FakeContext:
    """Runs the tiny network on the simulated GPU, with the addresses that were set."""

    device: FakeDevice
    addresses: dict[str, int] = field(default_factory=dict)
    starts: bool = True
    capturable: bool = True

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def is_stream_capturable(self, stream: int) -> bool:
        return self.capturable

    def execute_async_v3(self, stream: int) -> bool:
        source, target = self.addresses["frame"], self.addresses["restored"]
        memory = self.device.memory

        def compute() -> None:
            frame = memory[source].reshape(SHAPE).astype(np.float32)
            memory[target][:] = np.clip(frame * GAIN, 0, 255).astype(np.uint8).reshape(-1)

        if self.starts:
            self.device.enqueue(compute, stream)
        return self.starts


@dataclass
class FakeTrt:
    """As much of the package as running a plan needs."""

    context: FakeContext
    loads: bool = True
    dtype: type[np.generic] = np.uint8
    __name__ = "tensorrt"
    __version__: str = "11.4"

    class ILogger:
        ERROR, INTERNAL_ERROR, WARNING = range(3)

        def __init__(self) -> None: ...

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        def deserialise(plan: bytes) -> Any:
            if not self.loads:
                logger.log(self.ILogger.ERROR, "built for another GPU")
                return None
            return SimpleNamespace(
                num_io_tensors=2,
                get_tensor_name=lambda n: ("frame", "restored")[n],
                get_tensor_shape=lambda name: SHAPE,
                get_tensor_dtype=lambda name: self.dtype,
                create_execution_context=lambda: self.context,
            )

        return SimpleNamespace(deserialize_cuda_engine=deserialise)

    def nptype(self, dtype: Any) -> Any:
        return dtype


def frames(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(11)
    return [rng.integers(0, 256, SHAPE, np.uint8) for _ in range(count)]


def wanted(frame: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out: np.ndarray[Any, Any] = np.clip(frame.astype(np.float32) * GAIN, 0, 255).astype(np.uint8)
    return out


def start(bundle: Bundle, seed: int = 0, *, cuda_graph: bool = True) -> tuple[TensorRt, FakeDevice]:
    device = FakeDevice(seed=seed)
    engine = TensorRt(
        bundle, b"plan", device, trt=FakeTrt(FakeContext(device)), cuda_graph=cuda_graph
    )
    return engine, device


@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_two_frames_in_flight_never_mix(bundle: Bundle, seed: int, cuda_graph: bool) -> None:
    engine, device = start(bundle, seed, cuda_graph=cuda_graph)
    many = frames(9)
    ticket = engine.submit({"frame": many[0]})
    for before, after in zip(many, many[1:], strict=False):
        following = engine.submit({"frame": after})
        np.testing.assert_array_equal(engine.collect(ticket)["restored"], wanted(before))
        ticket = following
    np.testing.assert_array_equal(engine.collect(ticket)["restored"], wanted(many[-1]))
    assert device.replays == (9 if cuda_graph else 0)


@pytest.mark.parametrize("forgotten", ["upload before compute", "compute before download"])
def test_the_simulated_gpu_shows_a_missing_event(
    bundle: Bundle, forgotten: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = 0
    for seed in range(60):
        engine, device = start(bundle, seed)
        compute, down = engine._streams[1], engine._streams[2]
        ignored = compute if forgotten == "upload before compute" else down
        after = device.after
        monkeypatch.setattr(
            device, "after", lambda e, s, a=after, i=ignored: None if s == i else a(e, s)
        )
        (frame,) = frames(1)
        wrong += not np.array_equal(engine.run({"frame": frame})["restored"], wanted(frame))
    assert wrong > 5


def test_the_self_test_runs_through_it(bundle: Bundle) -> None:
    engine, _ = start(bundle)
    (difference,) = selftest(engine, bundle.vector)
    assert difference.largest == 0
    assert engine.info.provider == "tensorrt"
    assert "11.4 on Simulated GPU" in engine.info.detail


def test_the_device_tells_how_long_it_took(bundle: Bundle) -> None:
    engine, device = start(bundle)
    assert engine.device_ms is None
    engine.run({"frame": frames(1)[0]})
    assert engine.device_ms == 2.5
    assert device.used_bytes() > 0


def test_outputs_are_the_callers_to_keep(bundle: Bundle) -> None:
    engine, _ = start(bundle)
    one, two, three = frames(3)
    first = engine.run({"frame": one})["restored"]
    engine.run({"frame": two})
    engine.run({"frame": three})
    np.testing.assert_array_equal(first, wanted(one))


def test_no_more_than_two_in_flight_and_none_twice(bundle: Bundle) -> None:
    engine, _ = start(bundle)
    (frame,) = frames(1)
    first = engine.submit({"frame": frame})
    engine.submit({"frame": frame})
    with pytest.raises(RunFailed, match="in flight"):
        engine.submit({"frame": frame})
    engine.collect(first)
    with pytest.raises(RunFailed, match="collected already"):
        engine.collect(first)


def test_wrong_feeds_are_refused(bundle: Bundle) -> None:
    engine, _ = start(bundle)
    with pytest.raises(FeedsWrong):
        engine.run({"frame": np.zeros((1, 2, 2, 3), np.uint8)})


def test_the_first_launch_is_not_recorded(bundle: Bundle) -> None:
    _, device = start(bundle)
    assert (device.launches, len(device.graphs)) == (2, 2)  # one to compile, for each slot


def test_what_cannot_be_recorded_is_launched(bundle: Bundle) -> None:
    device = FakeDevice()
    context = FakeContext(device, capturable=False)
    engine = TensorRt(bundle, b"plan", device, trt=FakeTrt(context))
    (frame,) = frames(1)
    np.testing.assert_array_equal(engine.run({"frame": frame})["restored"], wanted(frame))
    assert device.replays == 0


def test_failures_are_said(bundle: Bundle) -> None:
    device = FakeDevice()
    with pytest.raises(PlanRefused, match="another GPU"):
        TensorRt(bundle, b"plan", device, trt=FakeTrt(FakeContext(device), loads=False))
    with pytest.raises(PlanRefused, match="manifest says"):
        TensorRt(bundle, b"plan", device, trt=FakeTrt(FakeContext(device), dtype=np.float32))
    with pytest.raises(RunFailed, match="did not start"):
        TensorRt(bundle, b"plan", device, trt=FakeTrt(FakeContext(device, starts=False)))
    engine, device = start(bundle)
    device.broken = True
    with pytest.raises(RunFailed, match="cudaErrorLaunchFailure"):
        engine.run({"frame": frames(1)[0]})
    engine.close()
    assert device.closed
