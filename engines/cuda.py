"""What the TensorRT backend needs of a GPU: memory, streams, events, recorded launches.

`Device` is the whole contract; `Cuda` fills it through NVIDIA's own bindings (cuda-bindings).
Addresses, streams, events and graphs are plain integers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import BackendMissing, RunFailed

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Gpu:
    """name: of the product; capability: such as "sm89"; driver: its CUDA version, such as 13020."""

    name: str
    capability: str
    driver: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A copy of rows between two addresses, each on the GPU or in pinned memory. pitch: bytes
    from row to row."""

    target: int
    target_pitch: int
    source: int
    source_pitch: int
    row_bytes: int
    rows: int


class Device(Protocol):
    """One GPU. Copies and launches are queued on a stream and return at once. elapsed_ms: between
    two timed events that have passed; used_bytes: of its memory, by everybody."""

    @property
    def gpu(self) -> Gpu: ...
    def allocate(self, size: int) -> int: ...
    def pinned(self, size: int) -> Bytes: ...
    def stream(self) -> int: ...
    def event(self, *, timed: bool = False) -> int: ...
    def elapsed_ms(self, start: int, stop: int) -> float: ...
    def used_bytes(self) -> int: ...
    def upload(self, address: int, host: Bytes, stream: int) -> None: ...
    def download(self, host: Bytes, address: int, stream: int) -> None: ...
    def copy_rows(self, rows: Rows, stream: int) -> None: ...
    def mark(self, event: int, stream: int) -> None: ...
    def after(self, event: int, stream: int) -> None: ...
    def wait(self, event: int) -> None: ...
    def record(self, launch: Callable[[], None], stream: int) -> int: ...
    def replay(self, graph: int, stream: int) -> None: ...
    def synchronise(self) -> None: ...
    def close(self) -> None: ...


class Cuda:
    """A real GPU. Raises BackendMissing where there is none, RunFailed for a failed call."""

    def __init__(self, index: int = 0) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise BackendMissing(
                f"cuda-bindings is not installed ({error})", "install the extra `tensorrt`"
            ) from error
        self._rt: Any = runtime
        try:
            self._call("cudaSetDevice", index)
            properties = self._call("cudaGetDeviceProperties", index)
            driver = self._call("cudaDriverGetVersion")
        except RunFailed as error:
            raise BackendMissing(
                f"no NVIDIA GPU can be used: {error.what}", "check the driver with nvidia-smi"
            ) from error
        name = properties.name
        self.gpu = Gpu(
            name=name.decode() if isinstance(name, bytes) else str(name),
            capability=f"sm{properties.major}{properties.minor}",
            driver=str(driver),
        )
        self._memory: list[int] = []
        self._host: list[int] = []
        self._streams: list[int] = []
        self._events: list[int] = []
        self._graphs: list[int] = []

    def _call(self, name: str, *arguments: Any) -> Any:
        """One call of the CUDA run time; what it gives besides its status."""
        status, *values = getattr(self._rt, name)(*arguments)
        if int(status) != 0:
            raise RunFailed(f"{name}: {getattr(status, 'name', status)}")
        return values[0] if len(values) == 1 else tuple(values) or None

    def allocate(self, size: int) -> int:
        self._memory.append(int(self._call("cudaMalloc", size)))
        return self._memory[-1]

    def pinned(self, size: int) -> Bytes:
        address = int(self._call("cudaHostAlloc", size, 0))
        self._host.append(address)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def stream(self) -> int:
        self._streams.append(int(self._call("cudaStreamCreateWithFlags", 1)))  # non-blocking
        return self._streams[-1]

    def event(self, *, timed: bool = False) -> int:
        flags = 0 if timed else 2  # cudaEventDisableTiming
        self._events.append(int(self._call("cudaEventCreateWithFlags", flags)))
        return self._events[-1]

    def elapsed_ms(self, start: int, stop: int) -> float:
        return float(self._call("cudaEventElapsedTime", start, stop))

    def used_bytes(self) -> int:
        free, total = self._call("cudaMemGetInfo")
        return int(total) - int(free)

    def upload(self, address: int, host: Bytes, stream: int) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, host.ctypes.data, host.nbytes, kind, stream)

    def download(self, host: Bytes, address: int, stream: int) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host.ctypes.data, address, host.nbytes, kind, stream)

    def copy_rows(self, rows: Rows, stream: int) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDefault  # addresses say where they are
        self._call(
            "cudaMemcpy2DAsync", rows.target, rows.target_pitch, rows.source, rows.source_pitch,
            rows.row_bytes, rows.rows, kind, stream,
        )  # fmt: skip

    def mark(self, event: int, stream: int) -> None:
        self._call("cudaEventRecord", event, stream)

    def after(self, event: int, stream: int) -> None:
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def wait(self, event: int) -> None:
        self._call("cudaEventSynchronize", event)

    def record(self, launch: Callable[[], None], stream: int) -> int:
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            launch()
        finally:  # a capture must be ended even when the launch failed
            graph = self._call("cudaStreamEndCapture", stream)
        self._graphs.append(int(self._call("cudaGraphInstantiate", graph, 0)))
        self._call("cudaGraphDestroy", graph)
        return self._graphs[-1]

    def replay(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def synchronise(self) -> None:
        self._call("cudaDeviceSynchronize")

    def close(self) -> None:
        """Frees everything; the device may have failed already, so each is tried alone."""
        failures: list[str] = []
        for name, handles in (
            ("cudaGraphExecDestroy", self._graphs),
            ("cudaEventDestroy", self._events),
            ("cudaStreamDestroy", self._streams),
            ("cudaFree", self._memory),
            ("cudaFreeHost", self._host),
        ):
            while handles:
                try:
                    self._call(name, handles.pop())
                except RunFailed as error:
                    failures.append(error.what)
        if failures:
            raise RunFailed(f"the GPU did not free everything: {failures[0]}", "restart the engine")
