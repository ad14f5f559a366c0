"""A verified bundle to the engine and the restorer that run it: two literal tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from engines import onnxrt, veil
from engines.bundle import Bundle
from engines.contract import LUMA
from engines.cuda import Device
from engines.engine import Backend, Engine
from engines.errors import FeedsWrong
from engines.fullframe import FullFrame, repainter
from engines.ongpu import Frames
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


def restorer_on_gpu(
    bundle: Bundle, store: Store, device: Device | None = None
) -> tuple[FullFrame, Frames]:
    """The restorer of a bundle of the nv12 contract for pictures that stay on the GPU, and the
    memory they live in. Raises as restorer_of."""
    port = bundle.manifest.inputs[0]
    if port.name != LUMA:
        raise FeedsWrong(
            f"{bundle.manifest.name} does not take planes", "export it with --contract nv12"
        )
    from engines.build import load
    from engines.cuda import Cuda

    _, height, width = onnxrt.fixed_shape(port)
    with ExitStack() as opened:
        detector = veil.from_bundle(store.find("veil"))
        opened.callback(detector.close)
        device = device or Cuda()
        engine = load(bundle, device=device)
        opened.callback(engine.close)
        frames = Frames(device, width, height)
        restorer = FullFrame(engine, bundle.manifest, detector, frames)
        opened.pop_all()
    return restorer, frames


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
            if label == "full":
                networks.append((label, repainter(engine, found.manifest)))
            else:
                networks.append((label, HalfRepaint(Repaint(engine, found.manifest))))
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
