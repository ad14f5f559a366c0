"""A plan is used only for the circumstances it was built for, and only as it was built."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from engines.errors import PlanRefused
from engines.plans import NOTE, PLAN, PlanCache, PlanKey

KEY = PlanKey(
    onnx_sha256="0" * 64,
    gpu="RTX 4090",
    capability="sm89",
    runtime="tensorrt 11.4",
    driver="13020",
    precision="fp16",
    shape="1x720x1280x3",
)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_plan_is_kept_by_its_key(cache: PlanCache) -> None:
    assert cache.get(KEY) is None
    cache.put(KEY, b"plan")
    assert cache.get(KEY) == b"plan"
    cache.put(KEY, b"newer")
    assert cache.get(KEY) == b"newer"
    assert [p.name for p in cache.folder.iterdir()] == [KEY.digest]


@pytest.mark.parametrize("name", [f.name for f in fields(PlanKey)])
def test_any_other_circumstance_is_another_plan(cache: PlanCache, name: str) -> None:
    cache.put(KEY, b"plan")
    assert cache.get(replace(KEY, **{name: "other"})) is None


def test_a_changed_plan_is_refused(cache: PlanCache) -> None:
    place = cache.put(KEY, b"plan")
    (place / PLAN).write_bytes(b"plot")
    with pytest.raises(PlanRefused, match="not the plan"):
        cache.get(KEY)


def test_a_plan_in_another_ones_place_is_refused(cache: PlanCache) -> None:
    other = replace(KEY, gpu="H200")
    place = cache.put(other, b"for another GPU")
    place.rename(cache.path(KEY))
    with pytest.raises(PlanRefused, match="not the plan"):
        cache.get(KEY)


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", "[" * 100_000])
def test_a_damaged_note_is_refused(cache: PlanCache, note: str) -> None:
    place = cache.put(KEY, b"plan")
    (place / NOTE).write_text(note)
    with pytest.raises(PlanRefused):
        cache.get(KEY)


@pytest.mark.parametrize("name", [PLAN, NOTE])
def test_a_missing_half_is_refused(cache: PlanCache, name: str) -> None:
    place = cache.put(KEY, b"plan")
    (place / name).unlink()
    with pytest.raises(PlanRefused):
        cache.get(KEY)


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_cache_that_others_can_write_is_refused(cache: PlanCache, mode: int) -> None:
    cache.put(KEY, b"plan")
    cache.folder.chmod(mode)
    with pytest.raises(PlanRefused, match="others can write"):
        cache.get(KEY)
    with pytest.raises(PlanRefused, match="others can write"):
        cache.put(KEY, b"plan")


def test_the_note_says_what_it_was_built_for(cache: PlanCache) -> None:
    place = cache.put(KEY, b"plan")
    assert json.loads((place / NOTE).read_text())["key"]["capability"] == "sm89"


def test_aids_are_kept_whole_or_not_used(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path / "plans")
    assert cache.aid("timings") is None
    cache.keep_aid("timings", b"one")
    cache.keep_aid("timings", b"two")
    assert cache.aid("timings") == b"two"
    path = cache.folder / "timings.aid"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert cache.aid("timings") is None
    assert [p.name for p in cache.folder.iterdir()] == ["timings.aid"]
    cache.folder.chmod(0o777)
    with pytest.raises(PlanRefused, match="others can write"):
        cache.aid("timings")
