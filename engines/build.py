"""A bundle to a plan in the cache, and the engine that runs it. Nothing is built while a stream
is live: `load` takes what `build` left, or says what to run."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.bundle import Bundle
from engines.cuda import Cuda, Device, Gpu
from engines.errors import BuildFailed, PlanRefused
from engines.onnxrt import fixed_shape
from engines.plans import PlanCache, PlanKey
from engines.trt import Progress, TensorRt, build_plan, package, runtime_name
from engines.verify import selftest

NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Result:
    """What `build` left. size: of the plan in bytes; cached: it was there already."""

    path: Path
    key: PlanKey
    size: int
    seconds: float
    warnings: tuple[str, ...]
    cached: bool


def key_of(bundle: Bundle, trt: Any, *, gpu: Gpu | None, capability: str) -> PlanKey:
    """The key of a bundle's plan. gpu None: built for a capability, without the GPU."""
    shapes = [
        f"{port.name}:{'x'.join(str(side) for side in fixed_shape(port))}"
        for port in bundle.manifest.inputs
    ]
    return PlanKey(
        onnx_sha256=hashlib.sha256(bundle.model).hexdigest(),
        gpu=gpu.name if gpu else "any",
        capability=capability,
        runtime=runtime_name(trt),
        driver=gpu.driver if gpu else "",
        precision=bundle.manifest.precision,
        shape=",".join(shapes),
    )


def build(
    bundle: Bundle,
    target: str,
    cache: PlanCache | None = None,
    *,
    trt: Any = None,
    device: Callable[[], Device] = Cuda,
    progress: Progress | None = None,
    again: bool = False,
) -> Result:
    """Builds the plan for `target` ("sm89", or "native": the GPU at hand) unless the cache has it.

    Raises BuildFailed, BackendMissing.
    """
    if target != NATIVE and not re.fullmatch(r"sm\d{2,3}", target):
        raise BuildFailed(
            f"{target!r} is no target", "say sm89 (RTX 4090), another smNN, or native"
        )
    cache = cache or PlanCache()
    trt = trt or package()
    gpu = None
    if target == NATIVE:
        found = device()
        gpu = found.gpu
        found.close()
    capability = gpu.capability if gpu else target
    key = key_of(bundle, trt, gpu=gpu, capability=capability)
    started = time.monotonic()
    if not again and _has(cache, key):
        plan = cache.get(key)
        assert plan is not None
        return Result(cache.path(key), key, len(plan), time.monotonic() - started, (), True)
    timed = f"timings-{key.runtime}-{key.gpu}-{capability}".replace(" ", "-").replace("/", "-")
    built = build_plan(
        bundle, None if gpu else capability, trt=trt, progress=progress, timings=cache.aid(timed)
    )
    path = cache.put(key, built.plan)
    if built.timings:
        cache.keep_aid(timed, built.timings)
    seconds = time.monotonic() - started
    return Result(path, key, len(built.plan), seconds, built.warnings, False)


def _has(cache: PlanCache, key: PlanKey) -> bool:
    """Whether a sound plan is there; a damaged one is built anew."""
    try:
        return cache.get(key) is not None
    except PlanRefused:
        return False


def load(
    bundle: Bundle,
    cache: PlanCache | None = None,
    *,
    trt: Any = None,
    device: Device | None = None,
) -> TensorRt:
    """The engine of a plan that was built for this GPU, proven by the bundle's self-test.

    A plan built on this very GPU comes before one built for its compute capability. Raises
    PlanRefused where there is none, SelfTestFailed.
    """
    cache = cache or PlanCache()
    trt = trt or package()
    device = device or Cuda()
    native = key_of(bundle, trt, gpu=device.gpu, capability=device.gpu.capability)
    plan = cache.get(native) or cache.get(replace(native, gpu="any", driver=""))
    if plan is None:
        raise PlanRefused(
            f"no plan of {bundle.manifest.name} is built for {device.gpu.name}"
            f" ({device.gpu.capability}, driver {device.gpu.driver}, {runtime_name(trt)})",
            f"surgiclear engines build {bundle.manifest.name} --for {NATIVE}",
        )
    compiled = f"kernels-{native.digest}"
    before = cache.aid(compiled)
    engine = TensorRt(bundle, plan, device, trt=trt, kernels=before)
    try:
        selftest(engine, bundle.vector)
        after = engine.kernels()
        if after and after != before:
            cache.keep_aid(compiled, after)
    except BaseException:
        engine.close()
        raise
    return engine
