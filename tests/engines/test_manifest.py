"""A manifest is the same bytes for the same claims, and nothing malformed becomes one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bundles import tiny_fields
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import ManifestInvalid
from engines.manifest import Gate, Manifest, from_fields, parse, to_json, version_key


def claims(**changes: Any) -> dict[str, Any]:
    entry = {"size": 1, "sha256": "0" * 64}
    return tiny_fields(
        files=[{"name": "model.onnx", **entry}, {"name": "t.npz", **entry}],
        selftest={"file": "t.npz", "tolerance": 1.0},
        **changes,
    )


def test_round_trip() -> None:
    gate = Gate(name="psnr", figure=25.5, bound=25.0, sense="least", unit="dB", data="held-out")
    manifest = from_fields(claims(gates=[gate], temporal_state="maps", kinds=["smoke", "fog"]))
    assert manifest.gates == (gate,)
    assert parse(to_json(manifest)) == manifest
    assert to_json(parse(to_json(manifest))) == to_json(manifest)


def test_an_entry_is_found_by_name() -> None:
    manifest = from_fields(claims())
    assert manifest.entry("t.npz") == manifest.files[1]
    assert manifest.entry("other") is None


@pytest.mark.parametrize(
    ("figure", "sense", "passed"),
    [(5.0, "least", True), (4.9, "least", False), (5.0, "most", True), (5.1, "most", False)],
)
def test_gates(figure: float, sense: Any, passed: bool) -> None:
    assert Gate(name="g", figure=figure, bound=5.0, sense=sense).passed is passed


def test_versions_are_ordered_as_numbers() -> None:
    versions = ["0.9.10", "0.10.0", "1.0.0", "1.0.2", "1.0.10", "10.0.0"]
    assert sorted(versions, key=version_key) == versions
    with pytest.raises(ManifestInvalid):
        version_key("1.0")


def test_the_message_names_the_field() -> None:
    with pytest.raises(ManifestInvalid, match=r"inputs\.0\.dtype"):
        fields = claims()
        fields["inputs"][0]["dtype"] = "object"
        from_fields(fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(field=st.sampled_from(sorted(claims())), value=JSON)
def test_any_value_of_any_field_is_taken_or_refused_and_never_worse(field: str, value: Any) -> None:
    try:
        manifest = parse(json.dumps({**claims(), field: value}).encode())
    except ManifestInvalid:
        return
    assert isinstance(manifest, Manifest)


@given(st.binary(max_size=64))
def test_no_bytes_do_worse_than_be_refused(raw: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse(raw)
