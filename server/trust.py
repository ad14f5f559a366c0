"""Whom an encrypted connection believes: the other side's certificate, checked unless told not to.

libav encrypts without looking at certificates unless it is told to; and it knows no authorities of
its own where it was built elsewhere, so that they are named here.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from server.errors import SettingInvalid

SECURE = ("rtsps://", "https://", "tls://")
# where Debian, Red Hat and Alpine keep the authorities that they trust
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def is_secure(address: str) -> bool:
    return address.startswith(SECURE)


@dataclass(frozen=True, slots=True)
class Trust:
    """ca_file: PEM file of the authorities (or of the other side's own certificate), None for the
    system's; verify: off, any certificate will do, and whoever sits between can show a picture of
    his own. Picklable: processes are started with it."""

    ca_file: Path | None = None
    verify: bool = True

    def check(self) -> None:
        """Raises SettingInvalid for a file that holds no certificate."""
        if self.ca_file is None:
            return
        try:
            ssl.create_default_context(cafile=str(self.ca_file))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SettingInvalid(
                f"{self.ca_file} is no file of certificates", "give one in PEM format"
            ) from error

    def options(self, address: str) -> dict[str, str]:
        """What libav is to be told for this address."""
        if not is_secure(address):
            return {}
        if not self.verify:
            return {"tls_verify": "0"}
        authorities = str(self.ca_file) if self.ca_file else _system()
        return {"tls_verify": "1"} | ({"ca_file": authorities} if authorities else {})


def _system() -> str | None:
    """The system's file of authorities; without one nothing is believed."""
    named = ssl.get_default_verify_paths().cafile
    return next((path for path in (named, *BUNDLES) if path and Path(path).is_file()), None)


SYSTEM = Trust()
