"""TensorRT: plans built from verified bytes, and run with recorded launches and two buffers.

One backend over two packages of the same API: `tensorrt` where it imports, else `tensorrt_rtx`.
Networks are strongly typed in both: precision is the graph's (engines/half.py). TensorRT-RTX
builds for a named compute capability on a machine with no GPU; `tensorrt` builds for the GPU it
is on. Whatever bytes a plan is made from, they are a Bundle's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.cuda import Bytes, Device, Rows
from engines.dlpack import Plane
from engines.engine import Array, Info
from engines.errors import BackendMissing, BuildFailed, FeedsWrong, PlanRefused, RunFailed
from engines.manifest import Port
from engines.onnxrt import check_feeds, fixed_shape

PACKAGES = ("tensorrt", "tensorrt_rtx")
SLOTS = 2  # one frame is copied while another is computed
Progress = Callable[[str], None]


def package(names: tuple[str, ...] = PACKAGES) -> ModuleType:
    """The first TensorRT package that imports. Raises BackendMissing."""
    why = []
    for name in names:
        try:
            return importlib.import_module(name)
        except Exception as error:  # stubs raise anything when their libraries are missing
            why.append(f"{name}: {error}")
    raise BackendMissing(f"no TensorRT ({'; '.join(why)})", "install the extra `tensorrt`")


def runtime_name(trt: Any) -> str:
    """Which package and version, for plan keys."""
    return f"{trt.__name__} {trt.__version__}"


@dataclass(slots=True)
class Log:
    """What TensorRT said, by severity."""

    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def logger(self, trt: Any) -> Any:
        """A TensorRT logger that writes here."""
        log = self

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    log.errors.append(message)
                elif severity == trt.ILogger.WARNING:
                    log.warnings.append(message)

        return Logger()


@dataclass(frozen=True, slots=True)
class Built:
    """plan: serialised; warnings: what TensorRT minded about the graph; layers: after parsing;
    timings: what the build measured, for the next one."""

    plan: bytes
    warnings: tuple[str, ...]
    layers: int
    timings: bytes = b""


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress(phase_name if parent_phase is None else f"{parent_phase}: {phase_name}")

        def step_complete(self, phase_name: str, step: int) -> bool:
            return True

        def phase_finish(self, phase_name: str) -> None: ...

    return Monitor()


def build_plan(
    bundle: Bundle,
    capability: str | None,
    *,
    trt: Any = None,
    progress: Progress | None = None,
    timings: bytes | None = None,
) -> Built:
    """Builds a bundle's plan, for a named compute capability ("sm89") or the GPU at hand (None).

    Raises BuildFailed with the operator or the limit that stops it.
    """
    name = bundle.manifest.name
    if bundle.facts.external:
        raise BuildFailed(f"{name} keeps weights outside its graph", "export it in one file")
    for port in (*bundle.manifest.inputs, *bundle.manifest.outputs):
        fixed_shape(port)
    return build_model(bundle.model, name, capability, trt=trt, progress=progress, timings=timings)


def build_model(
    model: bytes,
    name: str,
    capability: str | None,
    *,
    trt: Any = None,
    progress: Progress | None = None,
    timings: bytes | None = None,
) -> Built:
    """Builds the plan of a graph that was just made here; bundles go through `build_plan`.
    timings: what earlier builds measured, so that this one need not."""
    trt = trt or package()
    log = Log()
    logger = log.logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        faults = [parser.get_error(n) for n in range(parser.num_errors)]
        told = "; ".join(f"{f.node_operator() or 'graph'}: {f.desc()[:160]}" for f in faults[:3])
        raise BuildFailed(f"{runtime_name(trt)} cannot take {name}: {told}", "see docs/engines.md")
    config = builder.create_builder_config()
    if capability is not None:
        _target(trt, config, capability)
    if progress:
        config.progress_monitor = _monitor(trt, progress)
    timed = trt.__name__ == "tensorrt"  # TensorRT-RTX times nothing when it builds
    if timed:
        cache = config.create_timing_cache(timings or b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        told = log.errors[0][:300] if log.errors else "it does not say why"
        raise BuildFailed(f"{runtime_name(trt)} cannot build {name}: {told}", "surgiclear doctor")
    learnt = bytes(config.get_timing_cache().serialize()) if timed else b""
    return Built(bytes(plan), tuple(log.warnings), int(network.num_layers), learnt)


def _network_flags(trt: Any) -> int:
    """Strongly typed: a flag where there is a choice, the only kind from TensorRT 11 on."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _target(trt: Any, config: Any, capability: str) -> None:
    known = getattr(trt, "ComputeCapability", None)
    choice = getattr(known, capability.upper(), None)
    if choice is None:
        raise BuildFailed(
            f"{runtime_name(trt)} cannot build for {capability} from here",
            "install tensorrt_rtx, or build on that GPU with --for native",
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(choice, 0)


@dataclass(slots=True)
class _Slot:
    """One frame in flight: pinned memory, device memory, events, and its recorded launch."""

    host: dict[str, Bytes]
    memory: dict[str, int]
    uploaded: int
    begun: int
    computed: int
    downloaded: int
    graph: int | None = None
    busy: bool = False


def _dtype(port: Port) -> np.dtype[Any]:
    if port.dtype == "bfloat16":
        raise BackendMissing("numpy has no bfloat16", "export with float32 inputs and outputs")
    return np.dtype(port.dtype)


class TensorRt:
    """A plan on a GPU. Copies in, computing and copies out run on three streams, ordered by
    events, so that two frames overlap; launches are recorded once as a CUDA graph. kernels: what
    an earlier start compiled.

    Raises PlanRefused where the plan does not load or is not this bundle's.
    """

    def __init__(
        self,
        bundle: Bundle,
        plan: bytes,
        device: Device,
        *,
        trt: Any = None,
        cuda_graph: bool = True,
        kernels: bytes | None = None,
    ) -> None:
        trt = trt or package()
        self._inputs, self._outputs = bundle.manifest.inputs, bundle.manifest.outputs
        self._device = device
        self._log = Log()
        self._logger = self._log.logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            told = self._log.errors[0][:300] if self._log.errors else "it does not say why"
            raise PlanRefused(f"the plan does not load on {device.gpu.name}: {told}",
                              "surgiclear engines build --for native")  # fmt: skip
        self._same(trt)
        self._kernels: Any = None  # TensorRT-RTX compiles when it first runs, and can remember
        self._context = self._execution_context(kernels)
        if self._context is None:
            raise BackendMissing(f"{device.gpu.name} has not enough memory for this engine")
        self._streams = [device.stream() for _ in range(3)]
        self._slots = [self._slot() for _ in range(SLOTS)]
        self._next = 0
        self.device_ms: float | None = None  # what the GPU took for the frame collected last
        self.info = Info(
            name=bundle.manifest.name,
            version=bundle.manifest.version,
            sha256=bundle.sha256,
            provider="tensorrt",
            detail=f"{runtime_name(trt)} on {device.gpu.name}",
        )
        if cuda_graph:
            self._record()

    def _execution_context(self, kernels: bytes | None) -> Any:
        if not hasattr(self._engine, "create_runtime_config"):
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        self._kernels = config.create_runtime_cache()
        if kernels:
            self._kernels.deserialize(kernels)  # what does not fit is compiled again
        config.set_runtime_cache(self._kernels)
        return self._engine.create_execution_context(config)

    def kernels(self) -> bytes:
        """What was compiled so far, for the next start; nothing where the run time has no such
        cache."""
        return b"" if self._kernels is None else bytes(self._kernels.serialize())

    def _same(self, trt: Any) -> None:
        """Holds the plan's inputs and outputs to the manifest's."""
        have = {}
        for n in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(n)
            shape = tuple(self._engine.get_tensor_shape(name))
            have[name] = (shape, np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))))
        want = {p.name: (p.shape, _dtype(p)) for p in (*self._inputs, *self._outputs)}
        if have != want:
            raise PlanRefused(f"the plan takes {have}, the manifest says {want}", "build it again")

    def _slot(self) -> _Slot:
        device, ports = self._device, (*self._inputs, *self._outputs)
        sizes = {p.name: prod(fixed_shape(p)) * _dtype(p).itemsize for p in ports}
        return _Slot(
            host={name: device.pinned(size) for name, size in sizes.items()},
            memory={name: device.allocate(size) for name, size in sizes.items()},
            uploaded=device.event(),
            begun=device.event(timed=True),
            computed=device.event(timed=True),
            downloaded=device.event(),
        )

    def _launch(self, slot: _Slot) -> None:
        for name, address in slot.memory.items():
            self._context.set_tensor_address(name, address)
        if not self._context.execute_async_v3(self._streams[1]):
            told = self._log.errors[-1][:300] if self._log.errors else "it does not say why"
            raise RunFailed(f"TensorRT did not start: {told}")

    def _record(self) -> None:
        """Records the launch of each slot, after one that is not recorded: the first compiles."""
        for slot in self._slots:
            self._launch(slot)
            self._device.synchronise()
            capturable = getattr(self._context, "is_stream_capturable", None)
            if capturable is not None and not capturable(self._streams[1]):
                return  # launches stay as they are: slower, not wrong
            slot.graph = self._device.record(partial(self._launch, slot), self._streams[1])

    def submit(self, feeds: Mapping[str, Array]) -> int:
        """Starts a frame and returns at once with its ticket; at most two are in flight.

        Raises FeedsWrong; RunFailed where both slots wait to be collected.
        """
        check_feeds(self._inputs, feeds)
        ticket = self._next
        slot = self._slots[ticket]
        if slot.busy:
            raise RunFailed("two frames are in flight already", "collect one first")
        device, (up, compute, down) = self._device, self._streams
        for name, value in feeds.items():
            slot.host[name][:] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            device.upload(slot.memory[name], slot.host[name], up)
        device.mark(slot.uploaded, up)
        device.after(slot.uploaded, compute)
        device.mark(slot.begun, compute)
        if slot.graph is None:
            self._launch(slot)
        else:
            device.replay(slot.graph, compute)
        device.mark(slot.computed, compute)
        device.after(slot.computed, down)
        for port in self._outputs:
            device.download(slot.host[port.name], slot.memory[port.name], down)
        device.mark(slot.downloaded, down)
        slot.busy = True
        self._next = (ticket + 1) % SLOTS
        return ticket

    def collect(self, ticket: int) -> dict[str, Array]:
        """Waits for a frame; its outputs, which are the caller's to keep."""
        slot = self._slots[ticket]
        if not slot.busy:
            raise RunFailed("this frame was collected already")
        slot.busy = False
        self._device.wait(slot.downloaded)
        self.device_ms = self._device.elapsed_ms(slot.begun, slot.computed)
        return {
            p.name: slot.host[p.name].copy().view(_dtype(p)).reshape(fixed_shape(p))
            for p in self._outputs
        }

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One frame, in and out. Raises FeedsWrong, RunFailed."""
        return self.collect(self.submit(feeds))

    def run_planes(
        self, planes: Mapping[str, Plane], feeds: Mapping[str, Array], outputs: Mapping[str, Plane]
    ) -> None:
        """One frame whose planes are on the GPU, into planes on the GPU; `feeds` are the other
        inputs. Nothing but those crosses the bus. Raises FeedsWrong, RunFailed."""
        self._check_planes(planes, feeds, outputs)
        slot, device, compute = self._slots[self._next], self._device, self._streams[1]
        if slot.busy:
            raise RunFailed("a frame waits to be collected", "collect it first")
        for name, value in feeds.items():
            slot.host[name][:] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            device.upload(slot.memory[name], slot.host[name], compute)
        for name, plane in planes.items():
            device.copy_rows(
                Rows(slot.memory[name], plane.row_bytes, plane.address, plane.pitch,
                     plane.row_bytes, plane.rows),
                compute,
            )  # fmt: skip
        device.mark(slot.begun, compute)
        if slot.graph is None:
            self._launch(slot)
        else:
            device.replay(slot.graph, compute)
        device.mark(slot.computed, compute)
        for name, plane in outputs.items():
            device.copy_rows(
                Rows(plane.address, plane.pitch, slot.memory[name], plane.row_bytes,
                     plane.row_bytes, plane.rows),
                compute,
            )  # fmt: skip
        device.mark(slot.downloaded, compute)
        device.wait(slot.downloaded)
        self.device_ms = device.elapsed_ms(slot.begun, slot.computed)

    def _check_planes(
        self, planes: Mapping[str, Plane], feeds: Mapping[str, Array], outputs: Mapping[str, Plane]
    ) -> None:
        rest = tuple(port for port in self._inputs if port.name not in planes)
        check_feeds(rest, feeds)
        for ports, given in ((self._inputs, planes), (self._outputs, outputs)):
            shapes = {port.name: fixed_shape(port)[1:] for port in ports}
            for name, plane in given.items():
                if shapes.get(name) != plane.shape:
                    raise FeedsWrong(f"{name} is {plane.shape}", f"give {shapes.get(name)}")
        if set(outputs) != {port.name for port in self._outputs}:
            raise FeedsWrong(f"outputs {sorted(outputs)}", "give a plane for each")

    def close(self) -> None:
        """Frees the engine and its memory on the GPU."""
        self._context = self._engine = self._runtime = None
        self._slots = []
        self._device.close()
