"""A verified bundle to the engine and the restorer that run it: two literal tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from engines import onnxrt, veil
from engines.bundle import Bundle
from engines.engine import Engine
from engines.fullframe import FullFrame
from engines.restorer import Restorer
from engines.store import Store

Backend = Literal["cpu", "cuda", "ort-tensorrt", "tensorrt"]


def _plan(bundle: Bundle) -> Engine:
    from engines.build import load  # imports the CUDA bindings

    return load(bundle)


# Each is proven by the bundle's self-test, and is an error where it cannot really be had.
BACKENDS: dict[Backend, Callable[[Bundle], Engine]] = {
    "cpu": lambda bundle: onnxrt.load(bundle, onnxrt.Options(provider="cpu")),
    "cuda": lambda bundle: onnxrt.load(bundle, onnxrt.Options(provider="cuda", cuda_graph=False)),
    "ort-tensorrt": lambda bundle: onnxrt.load(bundle, onnxrt.Options(provider="tensorrt")),
    "tensorrt": _plan,
}


def restorer_of(bundle: Bundle, store: Store, backend: Backend = "cpu") -> Restorer:
    """The restorer of a bundle: `veil`, or a full-frame network with `veil` as its detector.

    Raises BundleMissing, BundleRefused, BackendMissing, PlanRefused, SelfTestFailed, FeedsWrong.
    """
    if bundle.manifest.architecture == "veil":
        return veil.from_bundle(bundle)
    detector = veil.from_bundle(store.find("veil"))
    try:
        engine = BACKENDS[backend](bundle)
    except BaseException:
        detector.close()
        raise
    try:
        return FullFrame(engine, bundle.manifest, detector)
    except BaseException:
        engine.close()
        detector.close()
        raise
