"""Who may do what: optional tokens with roles, checked against hashes in a file.

With a tokens file nothing is allowed that is not listed here; without one everybody who reaches
the port may do everything. A token comes in the Authorization header or in a socket's first
message, never in a URL (URLs are logged). Switching the bypass ON is never refused to the console
of the machine itself: safety beats access control.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from server.errors import SettingInvalid, UserError


class Role(StrEnum):
    SCRAPER = "scraper"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Action(StrEnum):
    SEE = "see"  # streams, their state and pictures, the engines
    SEND = "send"  # pictures and frames to restore
    OPERATE = "operate"  # start, stop and steer streams; snapshots
    BYPASS_ON = "bypass_on"
    SCRAPE = "scrape"


ALLOWED: dict[Role, frozenset[Action]] = {
    Role.SCRAPER: frozenset({Action.SCRAPE}),
    Role.VIEWER: frozenset({Action.SEE}),
    Role.OPERATOR: frozenset({Action.SEE, Action.SEND, Action.OPERATE, Action.BYPASS_ON}),
    Role.ADMIN: frozenset(Action),
}
RECHECK_S = 1.0  # how often the file is looked at
NAME_MOST = 64
PREFIX = "sgc_"  # so that a leaked token is found by secret scanners


class Unauthenticated(UserError):
    """No token, or one that is not known (401, close code 4401)."""


class Forbidden(UserError):
    """A known token whose role does not allow this (403)."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts. digest: SHA-256 of the token, "" where no tokens are asked for."""

    name: str
    role: Role
    digest: str = ""


ANYONE = Principal("anyone", Role.ADMIN)
CONSOLE = Principal("console", Role.VIEWER)


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_token(name: str, role: Role) -> tuple[str, str]:
    """A fresh token and its line for the tokens file. Raises SettingInvalid for a bad name."""
    if not name.replace("-", "").replace("_", "").isalnum() or len(name) > NAME_MOST:
        raise SettingInvalid(f"{name!r} is no token name", "use letters, digits, - and _")
    token = PREFIX + secrets.token_urlsafe(32)
    return token, f"{name} {role.value} {digest_of(token)}"


def parse(text: str) -> dict[str, Principal]:
    """Principals by digest. Raises SettingInvalid with the line that is wrong."""
    found: dict[str, Principal] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            name, role, digest = words
            if len(digest) != 64 or int(digest, 16) < 0 or digest in found:
                raise ValueError
            found[digest] = Principal(name, Role(role), digest)
        except ValueError:
            raise SettingInvalid(
                f"line {number} of the tokens file is not `name role sha256`",
                "`surgiclear token` makes such lines",
            ) from None
    return found


class Gatekeeper:
    """Answers who may do what. A tokens file that becomes unreadable leaves the last good one in
    force: an outage of access control must not stop a running picture.

    trouble: is told when the file cannot be used. Raises SettingInvalid at the start for a file
    that is absent, wrong or empty.
    """

    def __init__(
        self,
        tokens_file: Path | None,
        *,
        trouble: Callable[[str], None] = lambda what: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = tokens_file
        self._trouble = trouble
        self._clock = clock
        self._known: dict[str, Principal] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._looked_s = float("-inf")
        if tokens_file is not None:
            self._known, self._stamp = self._read(tokens_file)
            self._looked_s = clock()
            if not self._known:
                raise SettingInvalid(
                    f"{tokens_file} lists no token", "`surgiclear token` makes its lines"
                )

    @property
    def open(self) -> bool:
        """Whether no tokens are asked for."""
        return self._file is None

    def who(self, token: str | None) -> Principal:
        """Raises Unauthenticated."""
        if self.open:
            return ANYONE
        self._refresh()
        if token:
            presented = digest_of(token)
            for digest, principal in self._known.items():
                if hmac.compare_digest(digest, presented):
                    return principal
        raise Unauthenticated(
            "a valid token is needed", "send it as `Authorization: Bearer TOKEN` or in the hello"
        )

    def admit(self, token: str | None, action: Action, *, peer: str | None = None) -> Principal:
        """Who acts, if allowed. peer: address of the other side. Raises Unauthenticated or
        Forbidden."""
        if action is Action.BYPASS_ON and is_console(peer):
            try:
                return self.who(token)
            except Unauthenticated:
                return CONSOLE
        principal = self.who(token)
        if action not in ALLOWED[principal.role]:
            raise Forbidden(f"the role {principal.role} does not allow to {action}")
        return principal

    def stands(self, principal: Principal) -> bool:
        """Whether a principal admitted before still is who it was."""
        if self.open or not principal.digest:
            return True
        self._refresh()
        return self._known.get(principal.digest) == principal

    def _read(self, path: Path) -> tuple[dict[str, Principal], tuple[int, int, int]]:
        try:
            status = path.stat()
            known = parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingInvalid(f"cannot read the tokens file {path}", str(error)) from error
        return known, (status.st_mtime_ns, status.st_size, status.st_ino)

    def _refresh(self) -> None:
        now = self._clock()
        if self._file is None or now - self._looked_s < RECHECK_S:
            return
        self._looked_s = now
        try:
            status = self._file.stat()
            if (status.st_mtime_ns, status.st_size, status.st_ino) != self._stamp:
                self._known, self._stamp = self._read(self._file)
        except (OSError, SettingInvalid) as error:
            self._trouble(str(error))


def is_console(peer: str | None) -> bool:
    """Whether the other side is this machine."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
