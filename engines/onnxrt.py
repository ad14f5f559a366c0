"""ONNX Runtime: the default backend, on the CPU or through CUDA and TensorRT.

The session is made from a Bundle's verified bytes and from nothing on disk. A GPU provider that
does not really load is an error: ONNX Runtime alone would fall back to the CPU without a word.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort

from engines.bundle import Bundle
from engines.engine import Array, Info
from engines.errors import BackendMissing, FeedsWrong, RunFailed
from engines.manifest import Port
from engines.onnxfile import External
from engines.verify import selftest

Provider = Literal["cpu", "cuda", "tensorrt"]
PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# TensorProto.DataType of external initialisers
DTYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to run. threads: within one operator (CPU); device: index of the GPU; spinning: waiting
    threads burn their core (a little faster alone, far worse beside other work); arena: keep freed
    memory for the next frame; cuda_graph: record the launches once (fixed shapes only);
    plans: folder of TensorRT's own plan cache, None for none."""

    provider: Provider = "cpu"
    threads: int = 1
    device: int = 0
    spinning: bool = False
    arena: bool = True
    cuda_graph: bool = False
    plans: str | None = None


CPU = Options()


def _session_options(options: Options) -> ort.SessionOptions:
    out = ort.SessionOptions()
    out.intra_op_num_threads = options.threads
    out.inter_op_num_threads = 1
    out.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    out.log_severity_level = 3  # errors only; providers are checked below
    out.enable_cpu_mem_arena = options.arena
    spin = "1" if options.spinning else "0"
    out.add_session_config_entry("session.intra_op.allow_spinning", spin)
    out.add_session_config_entry("session.inter_op.allow_spinning", spin)
    return out


def _providers(options: Options) -> list[tuple[str, dict[str, str]]]:
    """The provider asked for and those it needs beneath it, with their options."""
    cuda = {
        "device_id": str(options.device),
        "enable_cuda_graph": "1" if options.cuda_graph else "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "arena_extend_strategy": "kSameAsRequested",
    }
    tensorrt = {
        "device_id": str(options.device),
        "trt_cuda_graph_enable": "1" if options.cuda_graph else "0",
        "trt_engine_cache_enable": "1" if options.plans else "0",
        **({"trt_engine_cache_path": options.plans} if options.plans else {}),
    }
    chain: dict[Provider, list[tuple[str, dict[str, str]]]] = {
        "cpu": [],
        "cuda": [(PROVIDERS["cuda"], cuda)],
        "tensorrt": [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], cuda)],
    }
    return [*chain[options.provider], (PROVIDERS["cpu"], {})]


def _external(bundle: Bundle, part: External) -> ort.OrtValue:
    data = bundle.files[part.location][part.offset : part.offset + part.length]
    array: Array = np.frombuffer(data, DTYPES[part.dtype]).reshape(part.shape)
    return ort.OrtValue.ortvalue_from_numpy(array.copy())


def fixed_shape(port: Port) -> tuple[int, ...]:
    """A port's sizes. Raises FeedsWrong for one that may vary: a GPU engine has one shape."""
    sizes = tuple(side for side in port.shape if isinstance(side, int))
    if len(sizes) != len(port.shape):
        raise FeedsWrong(f"{port.name} has no fixed shape", "export one graph for each size")
    return sizes


def check_feeds(ports: tuple[Port, ...], feeds: Mapping[str, Array]) -> None:
    """Holds inputs to the manifest. Raises FeedsWrong."""
    if set(feeds) != {port.name for port in ports}:
        raise FeedsWrong(f"inputs {sorted(feeds)}", f"give {sorted(p.name for p in ports)}")
    for port in ports:
        value = feeds[port.name]
        fits = value.ndim == len(port.shape) and all(
            isinstance(want, str) or want == have
            for want, have in zip(port.shape, value.shape, strict=True)
        )
        if not fits or value.dtype.name != port.dtype:
            raise FeedsWrong(
                f"input {port.name} is {value.dtype} {value.shape}",
                f"give {port.dtype} {port.shape}",
            )


class OnnxRuntime:
    """A bundle's network in ONNX Runtime. Raises BackendMissing where it cannot be made."""

    def __init__(
        self,
        bundle: Bundle,
        options: Options = CPU,
        *,
        make: Callable[..., Any] = ort.InferenceSession,
        available: Callable[[], list[str]] = ort.get_available_providers,
        value: Callable[..., Any] = ort.OrtValue.ortvalue_from_shape_and_type,
    ) -> None:
        self._ports = bundle.manifest.inputs
        self._outputs = [port.name for port in bundle.manifest.outputs]
        self._options = options
        wanted = PROVIDERS[options.provider]
        if wanted not in available():
            raise BackendMissing(
                f"this onnxruntime has no {wanted}",
                "install the extra `gpu` in place of `cpu`, or use --provider cpu",
            )
        settings = _session_options(options)
        # kept alive as long as the session, which does not copy them
        self._parts = [_external(bundle, part) for part in bundle.facts.external]
        if self._parts:
            names = [part.name for part in bundle.facts.external]
            settings.add_external_initializers(names, self._parts)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a provider that fails to load: checked below
                session = make(bundle.model, sess_options=settings, providers=_providers(options))
        except Exception as error:  # onnxruntime raises its own classes for each status
            raise BackendMissing(
                f"onnxruntime refuses {bundle.manifest.name} on {options.provider}: {error}",
                "surgiclear doctor",
            ) from error
        loaded = list(session.get_providers())
        if not loaded or loaded[0] != wanted:
            raise BackendMissing(
                f"{wanted} did not load; onnxruntime would have used {loaded}",
                "check the driver and the CUDA libraries with surgiclear doctor",
            )
        session.disable_fallback()
        self._session: Any = session
        self._binding: Any = None
        self._placed_in: dict[str, Any] = {}
        self._placed_out: dict[str, Any] = {}
        if options.provider != "cpu":
            self._bind(bundle.manifest.outputs, value)
        self.info = Info(
            name=bundle.manifest.name,
            version=bundle.manifest.version,
            sha256=bundle.sha256,
            provider=options.provider,
            detail=f"onnxruntime {ort.__version__}",
        )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every output by name. Raises FeedsWrong, RunFailed."""
        if self._session is None:
            raise RunFailed(f"{self.info.name} is closed")
        check_feeds(self._ports, feeds)
        try:
            if self._options.provider == "cpu":
                values = self._session.run(self._outputs, dict(feeds))
            else:
                values = self._run_bound(feeds)
        except Exception as error:  # as above
            raise RunFailed(f"{self.info.name} failed: {error}") from error
        return dict(zip(self._outputs, values, strict=True))

    def _bind(self, outputs: tuple[Port, ...], value: Callable[..., Any]) -> None:
        """Gives every input and output its place on the GPU, once: a recorded launch needs the
        same addresses each time, and no frame then allocates."""
        self._binding = self._session.io_binding()
        for port, place, bind in (
            *((p, self._placed_in, self._binding.bind_ortvalue_input) for p in self._ports),
            *((p, self._placed_out, self._binding.bind_ortvalue_output) for p in outputs),
        ):
            place[port.name] = value(fixed_shape(port), np.dtype(port.dtype), "cuda",
                                     self._options.device)  # fmt: skip
            bind(port.name, place[port.name])

    def _run_bound(self, feeds: Mapping[str, Array]) -> list[Array]:
        """On a GPU: copied in, run, copied out."""
        for name, value in feeds.items():
            self._placed_in[name].update_inplace(np.ascontiguousarray(value))
        self._session.run_with_iobinding(self._binding)
        return [self._placed_out[name].numpy() for name in self._outputs]

    def close(self) -> None:
        """Frees the session."""
        self._session = self._binding = None
        self._placed_in, self._placed_out = {}, {}
        self._parts = []


def load(bundle: Bundle, options: Options = CPU) -> OnnxRuntime:
    """The engine of a bundle, proven by its self-test. Raises BackendMissing, SelfTestFailed."""
    engine = OnnxRuntime(bundle, options)
    try:
        selftest(engine, bundle.vector)
    except BaseException:
        engine.close()
        raise
    return engine
