"""Settings: the reference file is complete and true, slips are errors, the environment wins."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from server.config import Config, StartSection, WebhookSection, load
from server.errors import SettingInvalid

REFERENCE = Path(__file__).parent.parent.parent / "docker" / "surgiclear.toml"
LISTS: dict[str, type[BaseModel]] = {"streams": StartSection, "webhooks": WebhookSection}


def uncommented() -> dict[str, Any]:
    """The reference with the settings behind "# " switched on."""
    text = re.sub(r"^# (?=\[\[\w+\]\]|\w+ = )", "", REFERENCE.read_text(), flags=re.MULTILINE)
    return tomllib.loads(text)


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    return {name: field.default for name, field in model.model_fields.items()}


def as_toml(value: Any) -> Any:
    """A default as TOML would hold it."""
    return json.loads(json.dumps(list(value) if isinstance(value, tuple) else value, default=str))


def keys_and_defaults() -> list[tuple[str, str, Any]]:
    out = []
    for section, field in Config.model_fields.items():
        if section not in LISTS:
            out += [(section, key, value) for key, value in defaults(type(field.default)).items()]
    return out


@pytest.mark.parametrize(("section", "key", "value"), keys_and_defaults())
def test_the_reference_lists_every_key_with_its_default(section: str, key: str, value: Any) -> None:
    assert key in uncommented()[section]
    plain = tomllib.loads(REFERENCE.read_text())[section]
    if value is None:
        assert key not in plain
    else:
        assert plain[key] == as_toml(value)


@pytest.mark.parametrize("name", LISTS)
def test_the_reference_shows_every_key_of_a_list(name: str) -> None:
    (shown,) = uncommented()[name]
    assert set(shown) == set(LISTS[name].model_fields)
    for key, value in defaults(LISTS[name]).items():
        if isinstance(value, int | float | tuple):
            assert shown[key] == as_toml(value)


def test_the_reference_is_read_and_is_the_defaults() -> None:
    assert load(REFERENCE) == Config()


def test_all_of_the_reference_switched_on_is_valid(tmp_path: Path) -> None:
    assert set(uncommented()) == set(Config.model_fields)
    config = Config(**uncommented())
    assert config.metrics.port == 9464 and config.streams[0].source == "phantom:"


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nprot = 1",
        "[sever]\nport = 1",
        "port = 1",
        "[server]\nport = 70000",
        "[server]\nport = 'x'",
        "[live]\nstrength = 1.1",
        "[live]\nstrength = nan",
        "[live]\nkinds = ['blood']",
        "[live]\ncredits = 9",
        "[limits]\nmax_pixels = 8847361",
        "[[webhooks]]\nurl = 'ftp://x'",
        "[[streams]]\nsource = 'push'",
        "[[streams]]",
        "[server",
    ],
)
def test_a_slip_in_the_file_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "surgiclear.toml"
    path.write_text(text)
    with pytest.raises(SettingInvalid) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid):
        load(tmp_path / "none.toml")


def environment_of(key: str, value: Any) -> str:
    if isinstance(value, tuple):
        return json.dumps(["x"] if key != "kinds" else ["fog"])
    if isinstance(value, bool):
        return str(not value).lower()
    if value is None or isinstance(value, str):
        words = {"level": "error", "mode": "lossless", "port": "77", "provider": "cuda"}
        return words.get(key, "x")
    return "0.5" if key == "strength" else str(type(value)(7 if value != 7 else 8))


@pytest.mark.parametrize(("section", "key", "value"), keys_and_defaults())
def test_every_key_can_be_set_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, section: str, key: str, value: Any
) -> None:
    text = environment_of(key, value)
    if key == "max_bytes":
        text = "2048"
    monkeypatch.setenv(f"SURGICLEAR_{section}__{key}".upper(), text)
    changed = getattr(getattr(load(REFERENCE), section), key)
    assert changed != value


def test_lists_of_sections_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGICLEAR_STREAMS", '[{"source":"phantom:"}]')
    monkeypatch.setenv("SURGICLEAR_WEBHOOKS", '[{"url":"http://a/b","tries":2}]')
    config = load()
    assert config.streams[0].source == "phantom:" and config.webhooks[0].tries == 2


@pytest.mark.parametrize("name", ["SURGICLEAR_SERVER__PROT", "SURGICLEAR_SEVER__PORT"])
def test_a_slip_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingInvalid):
        load()


def test_other_programs_names_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGICLEAR_SHARED", "anywhere")
    assert load() == Config()


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "surgiclear.toml"
    path.write_text("[server]\nport = 1\nhost = '10.0.0.1'\npage = false")
    monkeypatch.setenv("SURGICLEAR_SERVER__PORT", "2")
    monkeypatch.setenv("SURGICLEAR_SERVER__HOST", "10.0.0.2")
    server = load(path, port=3, host=None).server
    assert (server.port, server.host, server.page) == (3, "10.0.0.2", False)


def test_a_wrong_command_line_is_an_error() -> None:
    with pytest.raises(SettingInvalid):
        load(None, port=70_000)


def test_the_tree_is_frozen() -> None:
    config = load()
    with pytest.raises(ValidationError):
        config.server.port = 1
    with pytest.raises(ValidationError):
        config.server = config.server
