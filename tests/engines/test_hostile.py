"""Over three hundred hostile bundles: each is refused, for its own reason, before any run time.

Damage and swaps are done to a bundle that a trusted key signed. Structural attacks are consistent
and signed by the trusted key itself, so that no hash or signature check hides a missing guard.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import claims, damage, structure
from attacks.lab import Case, Lab
from bundles import forge, make_key, tiny_bundle

from engines.bundle import read
from engines.errors import SignatureWrong
from engines.onnxrt import OnnxRuntime
from engines.sign import PrivateKey, PublicKey

CASES = [*damage.cases(), *structure.cases(), *claims.cases()]


@dataclass
class CountingRuntime:
    """Stands where onnxruntime.InferenceSession does, and counts how often it is reached."""

    calls: int = 0

    def __call__(self, model: bytes, **settings: Any) -> CountingRuntime:
        self.calls += 1
        return self

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def disable_fallback(self) -> None: ...


def start(
    folder: Path, trusted: PublicKey, runtime: CountingRuntime, floor: str = "1.0.0"
) -> OnnxRuntime:
    """As the service starts an engine in an operating room: signed, trusted, not older."""
    bundle = read(
        folder,
        require_signature=True,
        trusted_keys=(trusted,),
        oldest={"tiny": floor},
        name="tiny",
    )
    return OnnxRuntime(bundle, make=runtime)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, PrivateKey]:
    folder = tmp_path_factory.mktemp("keys")
    return make_key(folder, "trusted"), make_key(folder, "stranger")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, keys: tuple[PrivateKey, PrivateKey]) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("good") / "tiny", keys[0]).folder


def test_there_are_three_hundred_hostile_bundles() -> None:
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.encode("ascii", "replace"))
def test_hostile(
    case: Case, tmp_path: Path, pristine: Path, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    folder = tmp_path / "tiny"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    shutil.copytree(pristine, folder)
    seed = sum(case.name.encode())
    case.attack(Lab(folder, scratch, *keys, np.random.default_rng(seed)))
    runtime = CountingRuntime()
    with pytest.raises(case.refusal):
        start(folder, keys[0].public, runtime)
    assert runtime.calls == 0


def test_the_unharmed_bundle_reaches_the_run_time(
    tmp_path: Path, pristine: Path, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    runtime = CountingRuntime()
    start(pristine, keys[0].public, runtime)
    assert runtime.calls == 1
    forge(tmp_path / "tiny", keys[0])
    start(tmp_path / "tiny", keys[0].public, runtime)
    assert runtime.calls == 2  # so the forged ones are refused for what was forged


def test_an_expired_key_vouches_for_nothing(
    pristine: Path, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    today = date.today()
    runtime = CountingRuntime()
    with pytest.raises(SignatureWrong, match="expired"):
        start(pristine, PublicKey(keys[0].public.raw, not_after=today - timedelta(days=1)), runtime)
    assert runtime.calls == 0
    start(pristine, PublicKey(keys[0].public.raw, not_after=today), runtime)
    assert runtime.calls == 1
