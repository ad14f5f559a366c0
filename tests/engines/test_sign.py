"""Keys are made private, never overwritten, and only the right one fits."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from engines.errors import KeyUnusable, SignatureWrong
from engines.sign import PublicKey, keygen, read_private, read_public, read_trusted, signer


def test_a_pair_of_keys(tmp_path: Path) -> None:
    made = keygen(tmp_path, "lab", owner="The lab", not_after=date(2030, 1, 2))
    assert (tmp_path / "lab.key").stat().st_mode & 0o777 == 0o600
    public = read_public(tmp_path / "lab.pub")
    assert public == made
    assert (public.owner, public.not_after) == ("The lab", date(2030, 1, 2))
    private = read_private(tmp_path / "lab.key")
    assert private.public.raw == public.raw
    assert private.public.id == public.id
    signature = private.sign(b"message")
    assert signer(b"message", signature, [public], date(2030, 1, 2)) == public
    assert signer(b"another", signature, [public]) is None
    assert signer(b"message", signature[:-1], [public]) is None
    assert signer(b"message", signature, []) is None
    with pytest.raises(SignatureWrong, match="expired"):
        signer(b"message", signature, [public], date(2030, 1, 3))


def test_the_right_key_is_found_among_many(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        keygen(tmp_path, name)
    trusted = read_trusted(tmp_path)
    assert len(trusted) == 3
    key = read_private(tmp_path / "b.key")
    assert signer(b"m", key.sign(b"m"), trusted) == read_public(tmp_path / "b.pub")


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    keygen(tmp_path, "lab")
    before = (tmp_path / "lab.key").read_bytes()
    with pytest.raises(KeyUnusable, match="exists"):
        keygen(tmp_path, "lab")
    (tmp_path / "lab.key").unlink()
    with pytest.raises(KeyUnusable, match="exists"):
        keygen(tmp_path, "lab")
    assert not (tmp_path / "lab.key").exists()
    assert before


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keygen(tmp_path, "lab")
    (tmp_path / "lab.key").chmod(0o640)
    with pytest.raises(KeyUnusable, match="read by others"):
        read_private(tmp_path / "lab.key")


def test_what_is_no_private_key(tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    with pytest.raises(KeyUnusable):
        read_private(path)
    path.write_text("nothing")
    path.chmod(0o600)
    with pytest.raises(KeyUnusable, match="not a private key"):
        read_private(path)
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyUnusable, match="Ed25519"):
        read_private(path)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0" * 16}, {"algorithm": "rsa"}, {"public": "AAAA"}, {"public": "!"},
        {"not_after": "soon"}, {"public": None}, {"not_after": 5},
    ],
)  # fmt: skip
def test_a_damaged_public_key_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    fields = json.loads(PublicKey(bytes(range(32))).to_json())
    path = tmp_path / "x.pub"
    path.write_text(json.dumps(fields))
    assert read_public(path).raw == bytes(range(32))
    path.write_text(json.dumps(fields | change))
    with pytest.raises(KeyUnusable):
        read_public(path)
    with pytest.raises(KeyUnusable):
        read_trusted(tmp_path)


def test_no_folder_of_keys_is_not_no_keys(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable):
        read_trusted(tmp_path / "nothing")
