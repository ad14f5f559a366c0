"""OpenVINO: an optional CPU backend, quicker than ONNX Runtime on dense networks.

The model is read from a Bundle's verified bytes and from nothing on disk. Everything is computed
in FP32: on processors with 16-bit units OpenVINO would otherwise choose those by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from engines.bundle import Bundle
from engines.engine import Array, Info
from engines.errors import BackendMissing, RunFailed
from engines.onnxrt import check_feeds
from engines.verify import selftest


def package(importing: Callable[[str], Any] = import_module) -> Any:
    """OpenVINO, which must not call home. Raises BackendMissing."""
    os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
    try:
        return importing("openvino")
    except ImportError as error:
        raise BackendMissing(
            f"OpenVINO is not installed ({error})", "install the extra `openvino`"
        ) from error


class OpenVino:
    """A bundle's network in OpenVINO on the CPU. threads: 0 for all cores.

    Raises BackendMissing where it cannot be made.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 0, ov: Any = None) -> None:
        ov = ov or package()
        name = bundle.manifest.name
        if bundle.facts.external:
            raise BackendMissing(f"{name} keeps weights outside its graph", "use --provider cpu")
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": "1",
            **({"INFERENCE_NUM_THREADS": str(threads)} if threads else {}),
        }
        try:
            core = ov.Core()
            compiled = core.compile_model(core.read_model(bundle.model, b""), "CPU", settings)
            self._request: Any = compiled.create_infer_request()
        except Exception as error:  # OpenVINO raises RuntimeErrors of its own making
            first = (str(error).strip().splitlines() or [""])[-1]
            raise BackendMissing(
                f"OpenVINO refuses {name}: {first}", "use --provider cpu"
            ) from error
        self._ports = bundle.manifest.inputs
        self._outputs = [port.name for port in bundle.manifest.outputs]
        self.info = Info(
            name=name,
            version=bundle.manifest.version,
            sha256=bundle.sha256,
            provider="openvino",
            detail=f"openvino {ov.__version__}",
        )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every output by name. Raises FeedsWrong, RunFailed."""
        if self._request is None:
            raise RunFailed(f"{self.info.name} is closed")
        check_feeds(self._ports, feeds)
        try:
            self._request.infer(dict(feeds))
            return {name: self._request.get_tensor(name).data.copy() for name in self._outputs}
        except Exception as error:  # as above
            raise RunFailed(f"{self.info.name} failed: {error}") from error

    def close(self) -> None:
        """Frees the network."""
        self._request = None


def load(bundle: Bundle, *, threads: int = 0) -> OpenVino:
    """The engine of a bundle, proven by its self-test. Raises BackendMissing, SelfTestFailed."""
    engine = OpenVino(bundle, threads=threads)
    try:
        selftest(engine, bundle.vector)
    except BaseException:
        engine.close()
        raise
    return engine
