"""Ed25519 keys and signatures: who vouches for a bundle.

A private key is a PEM file (PKCS #8, mode 0600). A public key is a JSON file that names its id,
its owner and, where wanted, the day after which it counts no more. Trust is the folder of public
keys that the caller names; nothing inside a bundle can add to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from engines.errors import KeyUnusable, SignatureWrong

SIGNATURE_BYTES = 64
KEY_FILE_BYTES = 16_384  # no key file is larger


def key_id(public: bytes) -> str:
    """16 hexadecimal digits that name a public key (32 raw bytes)."""
    return hashlib.sha256(public).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may vouch for bundles. raw: 32 bytes; not_after: its last day, or None."""

    raw: bytes
    owner: str = ""
    not_after: date | None = None

    @property
    def id(self) -> str:
        return key_id(self.raw)

    def to_json(self) -> str:
        return json.dumps(
            {
                "algorithm": "ed25519",
                "id": self.id,
                "owner": self.owner,
                "not_after": self.not_after.isoformat() if self.not_after else None,
                "public": base64.b64encode(self.raw).decode(),
            },
            indent=1,
        )


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs."""

    secret: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        return self.secret.sign(message)


def keygen(folder: Path, name: str, *, owner: str = "", not_after: date | None = None) -> PublicKey:
    """Makes NAME.key (mode 0600) and NAME.pub. Raises KeyUnusable if either is there."""
    private_path, public_path = folder / f"{name}.key", folder / f"{name}.pub"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (private_path, public_path):
        if path.exists():
            raise KeyUnusable(f"{path} exists", "choose another name; keys are never overwritten")
    secret = Ed25519PrivateKey.generate()
    public = PublicKey(PrivateKey(secret).public.raw, owner, not_after)
    pem = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle = os.open(private_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    public_path.write_text(public.to_json() + "\n")
    return public


def read_private(path: Path) -> PrivateKey:
    """A private key from its file. Raises KeyUnusable, also where others may read the file."""
    try:
        if path.stat().st_mode & 0o077:
            raise KeyUnusable(f"{path} can be read by others", f"chmod 600 {path}")
        secret = load_pem_private_key(path.read_bytes()[:KEY_FILE_BYTES], password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyUnusable(f"{path} is not a private key ({error})", "engines keygen") from error
    if not isinstance(secret, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} is not an Ed25519 key", "make one with engines keygen")
    return PrivateKey(secret)


def read_public(path: Path) -> PublicKey:
    """A public key from its file. Raises KeyUnusable."""
    try:
        text = path.read_bytes()[:KEY_FILE_BYTES]
        fields = json.loads(text)
        raw = base64.b64decode(fields["public"], validate=True)
        last_day = fields["not_after"]
        not_after = None if last_day is None else date.fromisoformat(last_day)
        claimed, owner, algorithm = fields["id"], fields["owner"], fields["algorithm"]
    except (OSError, ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise KeyUnusable(f"{path} is not a public key ({error})", "engines keygen") from error
    key = PublicKey(raw, str(owner), not_after)
    if algorithm != "ed25519" or len(raw) != 32 or claimed != key.id:
        raise KeyUnusable(f"{path} is damaged", "fetch the public key again from its owner")
    return key


def read_trusted(folder: Path) -> tuple[PublicKey, ...]:
    """Every public key (*.pub) of a folder, by file name. Raises KeyUnusable for a bad one."""
    if not folder.is_dir():
        raise KeyUnusable(f"{folder} is not a folder of keys", "name the folder of *.pub files")
    return tuple(read_public(path) for path in sorted(folder.glob("*.pub")))


def signer(
    message: bytes,
    signature: bytes,
    trusted: Sequence[PublicKey],
    today: date | None = None,
) -> PublicKey | None:
    """The trusted key that made this signature of these bytes; None where none did.

    Raises SignatureWrong for a key that has expired.
    """
    for key in trusted:
        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
        except InvalidSignature:
            continue
        if key.not_after is not None and (today or date.today()) > key.not_after:
            raise SignatureWrong(f"key {key.id} expired on {key.not_after}", "have it signed anew")
        return key
    return None
