"""The catalogue: what is offered, what is refused, and that a refused engine never runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.store import PACKAGE_FOLDER
from server.catalog import discover, store_of
from server.config import EnginesSection
from server.errors import EngineUnavailable, SettingInvalid, SurgiclearError

SHIPPED = PACKAGE_FOLDER / "veil"
needs_veil = pytest.mark.skipif(not SHIPPED.is_dir(), reason="no bundle ships with this checkout")


def section(folder: Path, **more: object) -> EnginesSection:
    return EnginesSection.model_validate({"folder": str(folder), **more})


def changed(folder: Path, name: str = "mine") -> Path:
    """A copy of the shipped bundle with one bit of its network flipped."""
    bundle = folder / name
    shutil.copytree(SHIPPED, bundle)
    model = next(bundle.glob("*.onnx"))
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.chmod(0o644)
    model.write_bytes(data)
    return bundle


@needs_veil
def test_the_shipped_engine_is_offered_with_its_facts(tmp_path: Path) -> None:
    catalog = discover(section(tmp_path))
    (veil,) = [offer for offer in catalog.offers if offer.name == "veil"]
    assert veil.state == "available" and veil.default and len(veil.sha256) == 64
    assert veil.architecture == "veil" and set(veil.kinds) <= {"smoke", "fog", "splash"}
    facts = catalog.factories["veil"].facts()
    assert (facts.name, facts.version, facts.sha256) == ("veil", veil.version, veil.sha256)
    assert facts.verified
    restorer = catalog.factories["veil"]()
    restorer.close()


@needs_veil
def test_a_changed_engine_is_listed_and_refuses(tmp_path: Path) -> None:
    changed(tmp_path)
    catalog = discover(section(tmp_path))
    (mine,) = [offer for offer in catalog.offers if offer.name == "mine"]
    assert mine.state == "refused" and mine.why and not mine.sha256
    with pytest.raises(EngineUnavailable):
        catalog.factories["mine"].facts()
    with pytest.raises(SurgiclearError):
        catalog.factories["mine"]()


@needs_veil
def test_an_engine_changed_after_the_start_refuses(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "veil")
    catalog = discover(section(tmp_path))
    assert catalog.factories["veil"].facts().verified
    shutil.rmtree(tmp_path / "veil")
    changed(tmp_path, "veil")
    with pytest.raises(EngineUnavailable):
        catalog.factories["veil"].facts()


def test_a_default_that_is_not_there_refuses_but_the_service_has_it(tmp_path: Path) -> None:
    catalog = discover(section(tmp_path, default="gone"))
    (gone,) = [offer for offer in catalog.offers if offer.default]
    assert gone.name == "gone" and gone.state == "refused" and "no such" in gone.why
    with pytest.raises(EngineUnavailable):
        catalog.factories["gone"].facts()


@needs_veil
def test_an_unsigned_engine_is_refused_where_a_signature_is_asked_for(tmp_path: Path) -> None:
    catalog = discover(section(tmp_path, require_signature=True))
    veil = next(offer for offer in catalog.offers if offer.name == "veil")
    assert (veil.state == "refused") == (veil.signed_by == "")


def test_a_key_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.pub").write_text("no key")
    for name in ("bad.pub", "none.pub"):
        with pytest.raises(SettingInvalid, match="trusted_keys"):
            store_of(section(tmp_path, trusted_keys=[tmp_path / name]))


@needs_veil
def test_an_engine_that_does_not_pass_the_sites_gates_refuses(tmp_path: Path) -> None:
    gates = tmp_path / "gates.toml"
    name = "clear frames falsely restored"
    gates.write_text(f'["{name}"]\nat_most = 99.0\nunit = "%"\n')
    held = section(tmp_path, gates=gates)
    catalog = discover(held)
    assert [o.state for o in catalog.offers if o.default] == ["available"]
    catalog.factories["veil"]().close()
    # the file is read whenever an engine is chosen, so a stricter one binds from then on
    gates.write_text(f'["{name}"]\nat_most = 0.0\nunit = "%"\n')
    with pytest.raises(EngineUnavailable, match="asked at most 0"):
        catalog.factories["veil"].facts()
    for factories in (catalog.factories, catalog.live):
        with pytest.raises(EngineUnavailable, match="asked at most 0"):
            factories["veil"]()
    (veil,) = [offer for offer in discover(held).offers if offer.default]
    assert veil.state == "refused" and name in veil.why and not veil.sha256


def test_a_gate_file_that_is_none_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[psnr]\n")
    for name in ("bad.toml", "none.toml"):
        with pytest.raises(SettingInvalid, match="engines.gates"):
            discover(section(tmp_path / "engines", gates=tmp_path / name))
