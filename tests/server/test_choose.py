"""--engine names a bundle, and what cannot be used is the right kind of error."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.store import PACKAGE_FOLDER
from server.choose import choose
from server.errors import EngineUnavailable, SettingInvalid


def test_the_embedded_default_is_chosen_by_name_by_path_and_by_nothing() -> None:
    for wish in (None, "veil", str(PACKAGE_FOLDER / "veil")):
        chosen = choose(wish)
        assert (chosen.info.name, chosen.info.provider) == ("veil", "cpu")
        assert len(chosen.info.sha256) == 64
        assert chosen.restorer.name == "veil"
        chosen.restorer.close()


def test_an_unknown_name_is_the_users_mistake() -> None:
    with pytest.raises(SettingInvalid, match="nobody"):
        choose("nobody")


def test_a_bundle_that_does_not_verify_is_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "veil"
    folder.mkdir()
    for file in (PACKAGE_FOLDER / "veil").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "card.md").write_text("another card")
    with pytest.raises(EngineUnavailable):
        choose(str(folder))
