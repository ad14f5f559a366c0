"""Tokens and roles: default deny, revocation, outages, and the console's bypass."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.auth import (
    ALLOWED,
    Action,
    Forbidden,
    Gatekeeper,
    Role,
    Unauthenticated,
    bearer,
    digest_of,
    is_console,
    new_token,
    parse,
)
from server.errors import SettingInvalid


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 2.0  # each look is later than RECHECK_S
        return self.now


@pytest.fixture
def tokens(tmp_path: Path) -> dict[Role, str]:
    made = {role: new_token(role.value, role) for role in Role}
    (tmp_path / "tokens").write_text("# ours\n" + "\n".join(line for _, line in made.values()))
    return {role: token for role, (token, _) in made.items()}


EXPECTED = {
    (Role.SCRAPER, Action.SCRAPE),
    (Role.VIEWER, Action.SEE),
    *((Role.OPERATOR, a) for a in (Action.SEE, Action.SEND, Action.OPERATE, Action.BYPASS_ON)),
    *((Role.ADMIN, a) for a in Action),
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", Action)
def test_the_matrix(tmp_path: Path, tokens: dict[Role, str], role: Role, action: Action) -> None:
    gate = Gatekeeper(tmp_path / "tokens")
    assert (action in ALLOWED[role]) == ((role, action) in EXPECTED)
    if (role, action) in EXPECTED:
        assert gate.admit(tokens[role], action, peer="10.1.1.1").role is role
    else:
        with pytest.raises(Forbidden):
            gate.admit(tokens[role], action, peer="10.1.1.1")


@pytest.mark.parametrize("token", [None, "", "wrong", "sgc_", "\ud800", "x" * 100_000])
@pytest.mark.parametrize("action", Action)
def test_without_a_token_all_is_denied(
    tmp_path: Path, tokens: dict[Role, str], token: str | None, action: Action
) -> None:
    with pytest.raises(Unauthenticated):
        Gatekeeper(tmp_path / "tokens").admit(token, action, peer="10.1.1.1")


def test_a_hash_is_not_a_token(tmp_path: Path, tokens: dict[Role, str]) -> None:
    with pytest.raises(Unauthenticated):
        Gatekeeper(tmp_path / "tokens").who(digest_of(tokens[Role.ADMIN]))
    assert tokens[Role.ADMIN] not in (tmp_path / "tokens").read_text()


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_the_console_may_always_switch_the_bypass_on(
    tmp_path: Path, tokens: dict[Role, str], peer: str, token: str | None
) -> None:
    gate = Gatekeeper(tmp_path / "tokens")
    assert gate.admit(token, Action.BYPASS_ON, peer=peer)
    assert gate.admit(tokens[Role.SCRAPER], Action.BYPASS_ON, peer=peer)
    for action in set(Action) - {Action.BYPASS_ON}:
        with pytest.raises(Unauthenticated):
            gate.admit(token, action, peer=peer)


@pytest.mark.parametrize("peer", [None, "", "10.0.0.1", "localhost", "1", "::2", "::ffff:1.2.3.4"])
def test_others_are_not_the_console(peer: str | None) -> None:
    assert not is_console(peer)


def test_without_a_file_everybody_may_everything() -> None:
    gate = Gatekeeper(None)
    assert gate.open
    for action in Action:
        assert gate.stands(gate.admit(None, action))


def test_a_revoked_token_stops_standing(tmp_path: Path, tokens: dict[Role, str]) -> None:
    gate = Gatekeeper(tmp_path / "tokens", clock=Clock())
    principal = gate.who(tokens[Role.VIEWER])
    assert gate.stands(principal)
    lines = (tmp_path / "tokens").read_text().splitlines()
    (tmp_path / "tokens").write_text("\n".join(ln for ln in lines if not ln.startswith("viewer")))
    assert not gate.stands(principal)
    with pytest.raises(Unauthenticated):
        gate.who(tokens[Role.VIEWER])
    assert gate.who(tokens[Role.ADMIN])


def test_a_changed_role_stops_standing(tmp_path: Path, tokens: dict[Role, str]) -> None:
    gate = Gatekeeper(tmp_path / "tokens", clock=Clock())
    principal = gate.who(tokens[Role.OPERATOR])
    digest = digest_of(tokens[Role.OPERATOR])
    (tmp_path / "tokens").write_text(f"operator viewer {digest}\n")
    assert not gate.stands(principal)


@pytest.mark.parametrize("damage", ["", None, "nonsense"])
def test_an_outage_leaves_the_last_good_file_in_force(
    tmp_path: Path, tokens: dict[Role, str], damage: str | None
) -> None:
    told: list[str] = []
    gate = Gatekeeper(tmp_path / "tokens", clock=Clock(), trouble=told.append)
    principal = gate.who(tokens[Role.VIEWER])
    if damage is None:
        (tmp_path / "tokens").unlink()
    else:
        (tmp_path / "tokens").write_text(damage)
    assert gate.stands(principal) == (damage != "")  # an empty file is a decision: nobody
    assert bool(told) == (damage != "")


@pytest.mark.parametrize(
    "text", ["a b", "a viewer 12", f"a king {'0' * 64}", f"a viewer {'g' * 64}"]
)
def test_a_wrong_file_is_refused_at_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(SettingInvalid) as caught:
        Gatekeeper(tmp_path / "tokens")
    assert "line 1" in str(caught.value)


def test_an_absent_or_empty_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid):
        Gatekeeper(tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(SettingInvalid):
        Gatekeeper(tmp_path / "empty")


def test_a_token_twice_is_refused() -> None:
    with pytest.raises(SettingInvalid):
        parse(f"a viewer {'0' * 64}\nb admin {'0' * 64}")


@pytest.mark.parametrize("name", ["", "a b", "a\nb admin", "x" * 65, "a#b"])
def test_a_token_name_cannot_smuggle(name: str) -> None:
    with pytest.raises(SettingInvalid):
        new_token(name, Role.VIEWER)


def test_the_header() -> None:
    assert bearer("Bearer abc") == "abc" and bearer("bearer  abc ") == "abc"
    assert bearer("Basic abc") is None and bearer(None) is None and bearer("Bearer ") is None
