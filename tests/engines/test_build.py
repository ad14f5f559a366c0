"""Plans are built ahead, found by GPU, and never built while a stream waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bundles import tiny_bundle, tiny_vector
from gpus import FakeDevice

from engines import build as module
from engines.build import build, key_of, load
from engines.bundle import Bundle
from engines.cuda import Gpu
from engines.errors import BackendMissing, BuildFailed, PlanRefused, SelfTestFailed
from engines.plans import PLAN, PlanCache
from engines.trt import Built

TRT = SimpleNamespace(__name__="tensorrt", __version__="11.4")


@dataclass
class Builds:
    """Stands for engines.trt.build_plan and counts."""

    count: int = 0
    capability: str | None = "never"
    timings: list[bytes | None] = field(default_factory=list)

    def __call__(self, bundle: Bundle, capability: str | None, **rest: Any) -> Built:
        self.count += 1
        self.capability = capability
        self.timings.append(rest.get("timings"))
        return Built(b"plan %d" % self.count, ("a clamp constant",), 3, b"timed %d" % self.count)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    counter = Builds()
    monkeypatch.setattr(module, "build_plan", counter)
    return counter


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_plan_is_built_once(bundle: Bundle, cache: PlanCache, builds: Builds) -> None:
    first = build(bundle, "sm89", cache, trt=TRT)
    assert (first.cached, first.warnings, builds.capability) == (
        False,
        ("a clamp constant",),
        "sm89",
    )
    assert build(bundle, "sm89", cache, trt=TRT).cached
    assert builds.count == 1
    assert not build(bundle, "sm89", cache, trt=TRT, again=True).cached
    assert not build(bundle, "sm86", cache, trt=TRT).cached
    assert builds.count == 3


def test_native_asks_the_gpu_what_it_is(bundle: Bundle, cache: PlanCache, builds: Builds) -> None:
    device = FakeDevice(gpu=Gpu("RTX 4090", "sm89", "13020"))
    result = build(bundle, "native", cache, trt=TRT, device=lambda: device)
    assert builds.capability is None
    assert (result.key.gpu, result.key.driver, result.key.capability) == (
        "RTX 4090", "13020", "sm89",
    )  # fmt: skip
    assert device.closed


def test_a_damaged_plan_is_built_anew(bundle: Bundle, cache: PlanCache, builds: Builds) -> None:
    place = build(bundle, "sm89", cache, trt=TRT).path
    (place / PLAN).write_bytes(b"damaged")
    assert not build(bundle, "sm89", cache, trt=TRT).cached
    assert builds.count == 2


@pytest.mark.parametrize("target", ["", "rtx", "sm", "89", "sm89; rm", "SM89"])
def test_a_target_is_named_exactly(bundle: Bundle, cache: PlanCache, target: str) -> None:
    with pytest.raises(BuildFailed, match="no target"):
        build(bundle, target, cache, trt=TRT)


def test_another_model_is_another_plan(bundle: Bundle, tmp_path: Path) -> None:
    other = tiny_bundle(tmp_path / "other", precision="fp16")
    keys = {key_of(b, TRT, gpu=None, capability="sm89").digest for b in (bundle, other)}
    assert len(keys) == 2
    assert key_of(bundle, TRT, gpu=None, capability="sm89").shape == "frame:1x4x6x3"


@dataclass
class FakeEngine:
    """Remembers its plan; gives the right answer to the self-test, or a wrong one."""

    bundle: Bundle
    plan: bytes
    device: FakeDevice
    trt: Any
    kernels_before: bytes | None = None
    wrong: bool = False
    closed: bool = False

    def kernels(self) -> bytes:
        return b"compiled"

    @property
    def info(self) -> Any:
        return SimpleNamespace(name="tiny", provider="tensorrt")

    def run(self, feeds: Any) -> Any:
        out = tiny_vector().outputs["restored"]
        return {"restored": out ^ 1 if self.wrong else out}

    def close(self) -> None:
        self.closed = True


def fake_engine(
    bundle: Bundle, plan: bytes, device: FakeDevice, *, trt: Any, kernels: bytes | None
) -> FakeEngine:
    return FakeEngine(bundle, plan, device, trt, kernels)


def test_what_a_build_measured_helps_the_next_one(
    bundle: Bundle, cache: PlanCache, builds: Builds
) -> None:
    build(bundle, "sm89", cache, trt=TRT)
    build(bundle, "sm89", cache, trt=TRT, again=True)
    build(bundle, "sm86", cache, trt=TRT)  # another GPU's timings are of no use
    assert builds.timings == [None, b"timed 1", None]


def test_what_a_start_compiled_helps_the_next_one(
    bundle: Bundle, cache: PlanCache, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TensorRt", fake_engine)
    build(bundle, "sm89", cache, trt=TRT)
    first: Any = load(bundle, cache, trt=TRT, device=FakeDevice())
    second: Any = load(bundle, cache, trt=TRT, device=FakeDevice())
    assert (first.kernels_before, second.kernels_before) == (None, b"compiled")
    newer = FakeDevice(gpu=Gpu("Simulated GPU", "sm89", "14000"))
    other: Any = load(bundle, cache, trt=TRT, device=newer)  # the driver compiles anew
    assert other.kernels_before is None


def test_load_never_builds(
    bundle: Bundle, cache: PlanCache, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TensorRt", fake_engine)
    device = FakeDevice()
    with pytest.raises(PlanRefused, match="engines build tiny --for native"):
        load(bundle, cache, trt=TRT, device=device)
    assert builds.count == 0
    build(bundle, "sm89", cache, trt=TRT)
    engine: Any = load(bundle, cache, trt=TRT, device=device)
    assert engine.plan == b"plan 1"
    build(bundle, "native", cache, trt=TRT, device=lambda: device)
    engine = load(bundle, cache, trt=TRT, device=device)
    assert engine.plan == b"plan 2"  # this very GPU's comes first
    with pytest.raises(PlanRefused, match="sm120"):
        load(bundle, cache, trt=TRT, device=FakeDevice(gpu=Gpu("RTX 5090", "sm120", "13020")))
    with pytest.raises(PlanRefused):  # another version of TensorRT
        newer = SimpleNamespace(__name__="tensorrt", __version__="11.5")
        load(bundle, cache, trt=newer, device=device)


def test_a_plan_with_wrong_answers_is_not_used(
    bundle: Bundle, cache: PlanCache, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FakeEngine] = []

    def wrong(
        bundle: Bundle, plan: bytes, device: FakeDevice, *, trt: Any, kernels: bytes | None
    ) -> FakeEngine:
        made.append(FakeEngine(bundle, plan, device, trt, wrong=True))
        return made[0]

    monkeypatch.setattr(module, "TensorRt", wrong)
    build(bundle, "sm89", cache, trt=TRT)
    with pytest.raises(SelfTestFailed):
        load(bundle, cache, trt=TRT, device=FakeDevice())
    assert made[0].closed


def test_no_gpu_is_said_before_anything_is_built(
    bundle: Bundle, cache: PlanCache, builds: Builds
) -> None:
    def missing() -> Any:
        raise BackendMissing("no NVIDIA GPU can be used")

    with pytest.raises(BackendMissing):
        build(bundle, "native", cache, trt=TRT, device=missing)
    assert builds.count == 0
