"""A verified bundle to the engine and the restorer that run it: two literal tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from engines import onnxrt, veil
from engines.bundle import Bundle
from engines.engine import Backend, Engine
from engines.fullframe import FullFrame
from engines.repaint import HalfRepaint, Repaint, Repainter, half
from engines.restorer import Restorer
from engines.rungs import Rungs
from engines.store import Store


def _plan(bundle: Bundle) -> Engine:
    from engines.build import load  # imports the CUDA bindings

    return load(bundle)


def _openvino(bundle: Bundle) -> Engine:
    from engines.vino import load

    return load(bundle)


# Each is proven by the bundle's self-test, and is an error where it cannot really be had.
BACKENDS: dict[Backend, Callable[[Bundle], Engine]] = {
    "cpu": lambda bundle: onnxrt.load(bundle, onnxrt.Options(provider="cpu")),
    "openvino": _openvino,
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
    with ExitStack() as opened:
        detector = veil.from_bundle(store.find("veil"))
        opened.callback(detector.close)
        engine = BACKENDS[backend](bundle)
        opened.callback(engine.close)
        restorer = FullFrame(engine, bundle.manifest, detector)
        opened.pop_all()
    return restorer


def ladder_of(bundle: Bundle, store: Store, backend: Backend = "cpu") -> Restorer:
    """The same for a live stream: a full-frame network with all the rungs below it. The half
    resolution is there where the store has a bundle of the same network for half the sides.

    Raises as restorer_of.
    """
    if bundle.manifest.architecture == "veil":
        return veil.from_bundle(bundle)
    with ExitStack() as opened:
        detector = veil.from_bundle(store.find("veil"))
        opened.callback(detector.close)
        networks: list[tuple[str, Repainter]] = []
        for label, found in (("full", bundle), ("half", half_of(bundle, store))):
            if found is None:
                continue
            engine = BACKENDS[backend](found)
            opened.callback(engine.close)
            network = Repaint(engine, found.manifest)
            networks.append((label, network if label == "full" else HalfRepaint(network)))
        restorer = Rungs(bundle.manifest.name, networks, detector)
        opened.pop_all()
    return restorer


def half_of(bundle: Bundle, store: Store) -> Bundle | None:
    """The bundle of the same network for half the sides, of the same precision if there is one."""
    manifest = bundle.manifest
    shape = manifest.inputs[0].shape
    if len(shape) != 4 or isinstance(shape[1], str) or isinstance(shape[2], str):
        return None
    wanted = (1, half(shape[1]), half(shape[2]), 3)
    fitting = [
        found.bundle
        for found in store.all()
        if found.bundle is not None
        and found.bundle.manifest.architecture == manifest.architecture
        and found.bundle.manifest.inputs[0].shape == wanted
    ]
    same = [b for b in fitting if b.manifest.precision == manifest.precision]
    return next(iter([*same, *fitting]), None)
