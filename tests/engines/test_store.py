"""Bundles are found by name or path, refused ones are listed with their reason, none goes back."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import make_key, tiny_bundle

from engines.bundle import sign
from engines.errors import (
    BundleMissing,
    ContentWrong,
    GateFailed,
    ListingWrong,
    ManifestInvalid,
    SignatureWrong,
    VersionTooOld,
)
from engines.gates import Required
from engines.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(user=tmp_path / "user", package=tmp_path / "package")


def test_a_name_is_the_users_first(store: Store) -> None:
    tiny_bundle(store.package / "tiny")
    assert store.find("tiny").manifest.version == "1.0.0"
    tiny_bundle(store.user / "tiny", version="1.1.0")
    assert store.find("tiny").manifest.version == "1.1.0"
    assert store.find(store.package / "tiny").manifest.version == "1.0.0"
    assert store.find(f"{store.package}/tiny").manifest.version == "1.0.0"


def test_a_plain_word_may_be_a_folder_here_but_never_hides_a_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_bundle(tmp_path / "mine", version="3.0.0")
    assert store.find("mine").manifest.version == "3.0.0"
    tiny_bundle(tmp_path / "tiny", version="3.0.0")
    tiny_bundle(store.package / "tiny")
    assert store.find("tiny").manifest.version == "1.0.0"


@pytest.mark.parametrize("name", ["other", "", ".", ".."])
def test_an_unknown_name_lists_the_known(store: Store, name: str) -> None:
    tiny_bundle(store.user / "tiny")
    with pytest.raises(BundleMissing, match="tiny") as caught:
        store.find(name)
    assert caught.value.exit_code == 2


def test_a_bundle_in_another_ones_place_is_refused(store: Store) -> None:
    tiny_bundle(store.user / "veil")
    with pytest.raises(ManifestInvalid, match="'tiny', not 'veil'"):
        store.find("veil")


def test_all_are_listed_the_bad_with_their_reason(store: Store) -> None:
    tiny_bundle(store.package / "tiny")
    tiny_bundle(store.user / "tiny")
    (store.user / "tiny" / "CARD.md").write_text("changed")
    (store.user / ".half-written").mkdir()
    bad, good = store.all()
    assert bad.bundle is None
    assert isinstance(bad.refusal, ContentWrong)
    assert good.bundle is not None
    assert good.refusal is None
    assert Store(user=store.user / "none", package=store.user / "none").all() == []


def test_a_sites_gates_refuse_by_name_by_path_and_in_the_list(store: Store) -> None:
    psnr = {"name": "psnr", "figure": 26.0, "bound": 25.0, "sense": "least", "unit": "dB"}
    tiny_bundle(store.user / "tiny", gates=[psnr])
    lower = replace(store, gates={"psnr": Required(at_least=26.0, unit="dB")})
    assert lower.find("tiny").manifest.name == "tiny"
    higher = replace(store, gates={"psnr": Required(at_least=27.0, unit="dB")})
    for name in ("tiny", store.user / "tiny"):
        with pytest.raises(GateFailed, match="psnr is 26 dB, asked at least 27"):
            higher.find(name)
    (found,) = higher.all()
    assert found.bundle is None
    assert isinstance(found.refusal, GateFailed)


def test_it_asks_for_a_signature_where_told(store: Store, tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys", "lab")
    strict = replace(store, require_signature=True, trusted_keys=(key.public,))
    bundle = tiny_bundle(store.user / "tiny")
    with pytest.raises(SignatureWrong):
        strict.find("tiny")
    sign(bundle, key)
    assert strict.find("tiny").signer == key.public


def test_there_is_no_way_back(store: Store) -> None:
    old = tiny_bundle(store.package / "tiny")
    new = tiny_bundle(store.user / "tiny", version="1.2.0")
    store.activate(old)
    assert store.floors() == {"tiny": "1.0.0"}
    store.activate(new)
    store.activate(new)
    assert store.floors() == {"tiny": "1.2.0"}
    with pytest.raises(VersionTooOld):
        store.activate(old)
    with pytest.raises(VersionTooOld):
        store.find(store.package / "tiny")
    assert store.floors() == {"tiny": "1.2.0"}


@pytest.mark.parametrize("text", ["{", "[]", '{"tiny": 1}', '{"tiny": "1"}', "\ufffd"])
def test_a_damaged_memory_of_versions_is_not_forgotten(store: Store, text: str) -> None:
    tiny_bundle(store.user / "tiny")
    (store.user / "oldest.json").write_text(text)
    with pytest.raises(ManifestInvalid):
        store.find("tiny")


def test_hard_links_are_allowed_in_the_package_only(store: Store, tmp_path: Path) -> None:
    for root in (store.user, store.package):
        tiny_bundle(root / "tiny")
        os.link(root / "tiny" / "model.onnx", tmp_path / root.name / "linked")
    with pytest.raises(ListingWrong):
        store.find("tiny")
    assert store.find(store.package / "tiny").manifest.name == "tiny"
