"""The CUDA calls are made as the bindings want them; a failed one is an error, not a silence."""

from __future__ import annotations

import ctypes
import importlib.util
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines.cuda import Cuda, Rows
from engines.errors import BackendMissing, RunFailed

needs_bindings = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None, reason="the extra `tensorrt` is not installed"
)


class FakeRuntime:
    """Answers as cuda.bindings.runtime does: a tuple whose first item is the status."""

    def __init__(self) -> None:
        self.cudaMemcpyKind = SimpleNamespace(
            cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDefault=4
        )
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
        self.calls: list[tuple[Any, ...]] = []
        self.failing: set[str] = set()
        self.handle = 100
        self.host: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            if name in self.failing:
                return (719, None)
            if name == "cudaGetDeviceProperties":
                return (0, SimpleNamespace(name=b"RTX 4090", major=8, minor=9))
            if name == "cudaDriverGetVersion":
                return (0, 13020)
            if name == "cudaHostAlloc":
                self.host.append((ctypes.c_uint8 * arguments[0])())
                return (0, ctypes.addressof(self.host[-1]))
            if name == "cudaEventElapsedTime":
                return (0, 1.25)
            if name == "cudaMemGetInfo":
                return (0, 3 << 30, 24 << 30)
            if any(word in name for word in ("Malloc", "Create", "EndCapture", "Instantiate")):
                self.handle += 1
                return (0, self.handle)
            return (0,)

        return call


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    fake = FakeRuntime()
    bindings = SimpleNamespace(runtime=fake)
    monkeypatch.setitem(__import__("sys").modules, "cuda", SimpleNamespace(bindings=bindings))
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", bindings)
    return fake


def test_it_names_the_gpu(runtime: FakeRuntime) -> None:
    device = Cuda(1)
    assert (device.gpu.name, device.gpu.capability, device.gpu.driver) == (
        "RTX 4090", "sm89", "13020",
    )  # fmt: skip
    assert ("cudaSetDevice", 1) in runtime.calls


def test_copies_go_the_right_way(runtime: FakeRuntime) -> None:
    device = Cuda()
    stream, address, host = device.stream(), device.allocate(64), device.pinned(64)
    assert host.shape == (64,)
    host[:] = np.arange(64)
    assert bytes(runtime.host[0]) == bytes(range(64))  # the pinned memory itself
    device.upload(address, host, stream)
    device.download(host, address, stream)
    up, down = runtime.calls[-2:]
    assert up == ("cudaMemcpyAsync", address, host.ctypes.data, 64, 1, stream)
    assert down == ("cudaMemcpyAsync", host.ctypes.data, address, 64, 2, stream)


def test_rows_are_copied_with_both_pitches(runtime: FakeRuntime) -> None:
    device = Cuda()
    stream = device.stream()
    device.copy_rows(Rows(1000, 64, 2000, 80, 60, 10), stream)
    assert runtime.calls[-1] == ("cudaMemcpy2DAsync", 1000, 64, 2000, 80, 60, 10, 4, stream)


def test_a_launch_is_recorded_between_begin_and_end(runtime: FakeRuntime) -> None:
    device = Cuda()
    stream = device.stream()
    graph = device.record(lambda: runtime.calls.append(("launch",)), stream)
    names = [call[0] for call in runtime.calls[-5:]]
    assert names == [
        "cudaStreamBeginCapture", "launch", "cudaStreamEndCapture", "cudaGraphInstantiate",
        "cudaGraphDestroy",
    ]  # fmt: skip
    device.replay(graph, stream)
    assert runtime.calls[-1] == ("cudaGraphLaunch", graph, stream)


def test_a_capture_is_ended_when_the_launch_fails(runtime: FakeRuntime) -> None:
    device = Cuda()

    def fails() -> None:
        raise RunFailed("TensorRT did not start")

    with pytest.raises(RunFailed, match="did not start"):
        device.record(fails, device.stream())
    assert runtime.calls[-1][0] == "cudaStreamEndCapture"


def test_events_are_timed_only_where_asked(runtime: FakeRuntime) -> None:
    device = Cuda()
    plain, start, stop = device.event(), device.event(timed=True), device.event(timed=True)
    made = [call for call in runtime.calls if call[0] == "cudaEventCreateWithFlags"]
    assert [flags for _, flags in made] == [2, 0, 0]
    assert plain != start
    assert device.elapsed_ms(start, stop) == 1.25
    assert runtime.calls[-1] == ("cudaEventElapsedTime", start, stop)
    assert device.used_bytes() == 21 << 30


def test_a_failed_call_is_an_error(runtime: FakeRuntime) -> None:
    device = Cuda()
    runtime.failing = {"cudaMalloc"}
    with pytest.raises(RunFailed, match="cudaMalloc: 719"):
        device.allocate(64)


def test_everything_is_freed_even_when_something_fails(runtime: FakeRuntime) -> None:
    device = Cuda()
    device.stream()
    device.event()
    device.allocate(8)
    device.allocate(8)
    device.pinned(8)
    runtime.failing = {"cudaEventDestroy"}
    with pytest.raises(RunFailed, match="cudaEventDestroy"):
        device.close()
    freed = [call[0] for call in runtime.calls]
    assert freed.count("cudaFree") == 2
    assert freed.count("cudaFreeHost") == freed.count("cudaStreamDestroy") == 1


def test_no_gpu_is_said_plainly(runtime: FakeRuntime) -> None:
    runtime.failing = {"cudaSetDevice"}
    with pytest.raises(BackendMissing, match="no NVIDIA GPU"):
        Cuda()


@needs_bindings
def test_the_real_bindings_have_every_call_made_here() -> None:
    from cuda.bindings import runtime as real

    fake = FakeRuntime()
    device = Cuda.__new__(Cuda)
    for name in ("_memory", "_host", "_streams", "_events", "_graphs"):
        setattr(device, name, [])
    device._rt = fake
    stream, event, host = device.stream(), device.event(), device.pinned(4)
    address = device.allocate(4)
    device.upload(address, host, stream)
    device.download(host, address, stream)
    device.mark(event, stream)
    device.after(event, stream)
    device.wait(event)
    device.replay(device.record(lambda: None, stream), stream)
    device.synchronise()
    device.close()
    made = {call[0] for call in fake.calls}
    assert len(made) >= 18
    for name in sorted(made | {"cudaSetDevice", "cudaGetDeviceProperties", "cudaDriverGetVersion"}):
        assert callable(getattr(real, name)), name
    assert int(real.cudaMemcpyKind.cudaMemcpyHostToDevice) == 1
    assert int(real.cudaMemcpyKind.cudaMemcpyDeviceToHost) == 2
