"""One bundle through several run times in one process, with torch eager beside them if asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

from engines.bench import Row, Sheet, cpu_peak, frames, gpu_peak, machine, measure, sheet
from engines.bundle import Bundle
from engines.choice import BACKENDS
from engines.cuda import Cuda, Device
from engines.engine import Backend, Engine, Info
from engines.errors import BackendMissing, EngineError, FeedsWrong
from engines.onnxrt import fixed_shape
from engines.work import Peak, Work, work_of

ON_GPU: frozenset[Backend] = frozenset({"cuda", "ort-tensorrt", "tensorrt"})
# what torch runs beside the bundle: precision, compiled
Against = Literal["eager", "compile"]
EAGER: dict[Against, tuple[tuple[str, bool], ...]] = {
    "eager": (("fp32", False), ("fp16", False)),
    "compile": (("fp32", True), ("fp16", True)),
}
Progress = Callable[[str], None]


def contest(
    bundle: Bundle,
    providers: Sequence[Backend],
    against: Sequence[Against] = (),
    *,
    size: tuple[int, int] | None = None,
    runs: int = 100,
    seconds: float = 20.0,
    progress: Progress = lambda line: None,
    device: Callable[[], Device] = Cuda,
) -> Sheet:
    """Every row there can be: an engine that does not load says why in its own. size: h w that
    the bundle must be for. against: keys of EAGER, on the GPU where a provider is.

    Raises FeedsWrong for a bundle of another size, BackendMissing where torch is asked and absent.
    """
    manifest = bundle.manifest
    h, w = _sides(bundle)
    if size not in (None, (h, w)):
        raise FeedsWrong(
            f"{manifest.name} takes {w}x{h}", "leave --size out, or export it for that size"
        )
    work, no_work = _work(bundle)
    rows: list[Row] = []
    with ExitStack() as opened:
        gpu: Device | None = None
        if ON_GPU & set(providers):
            try:
                gpu = device()
                opened.callback(gpu.close)
            except BackendMissing as error:
                progress(error.what)
        name = machine() if gpu is None else gpu.gpu.name
        peak: Peak | None = cpu_peak() if gpu is None else gpu_peak(name)
        makers: list[tuple[Info, Callable[[], Engine]]] = [
            (_stand_in(bundle, provider, ""), partial(BACKENDS[provider], bundle))
            for provider in providers
        ]
        where = "cuda" if gpu is not None else "cpu"
        for kind in against:
            for precision, compiled in EAGER[kind]:
                detail = f"torch {precision}{', compiled' if compiled else ''}"
                torch_maker = partial(_eager, bundle, where, precision, compiled)
                makers.append((_stand_in(bundle, where, detail), torch_maker))
        for info, maker in makers:
            progress(f"{info.name} on {info.provider} {info.detail}".strip())
            rows.append(
                measure(
                    maker,
                    info,
                    frames(bundle),
                    runs=runs,
                    seconds=seconds,
                    work=work,
                    peak=peak,
                    used_bytes=None if gpu is None else gpu.used_bytes,
                )  # fmt: skip
            )
    if no_work:
        progress(no_work)
    return sheet((h, w), rows, work, peak, name)


def _sides(bundle: Bundle) -> tuple[int, int]:
    port = bundle.manifest.inputs[0]
    if port.layout not in ("b h w c", "b h w") or port.dtype != "uint8":
        raise FeedsWrong(
            f"{bundle.manifest.name} takes no 8-bit frames", "leave --provider out for veil"
        )
    return fixed_shape(port)[1:3]  # type: ignore[return-value]


def _work(bundle: Bundle) -> tuple[Work | None, str]:
    try:
        return work_of(bundle.model), ""
    except EngineError as error:
        return None, str(error)


def _stand_in(bundle: Bundle, provider: str, detail: str) -> Info:
    manifest = bundle.manifest
    return Info(
        name=manifest.name, version=manifest.version, sha256=bundle.sha256, provider=provider,
        detail=detail,
    )  # fmt: skip


def _eager(bundle: Bundle, device: str, precision: Any, compiled: bool) -> Engine:
    """The bundle's network in torch, with fresh weights: they change no time."""
    try:
        from engines.eager import Eager
        from models import RESTORERS
    except ImportError as error:
        raise BackendMissing(
            f"torch is not there ({error})", "install the extra `train`"
        ) from error
    name, _, variant = bundle.manifest.architecture.partition(" ")
    spec = RESTORERS.get(name)
    if spec is None:
        raise BackendMissing(f"{name} is no network of the zoo, so torch has nothing to run")
    net = spec.build(variant or None)
    return Eager(bundle.manifest.name, net, device=device, precision=precision, compiled=compiled)
