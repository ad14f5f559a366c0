"""An engine bundle: a folder whose every byte is vouched for by its manifest.

`read` opens each file once, by a descriptor under the folder's own descriptor, and returns the
bytes that it verified: nothing is read a second time, so nothing can be swapped in between. Only
`read` makes a Bundle, and run times take nothing else.

Links are refused. Hard links too (a file with two names can be changed under the other one),
except where the caller says the folder was put there by a package installer, several of which
hard-link from their cache; the bytes are verified there all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import (
    BundleMissing,
    ContentWrong,
    ListingWrong,
    ManifestInvalid,
    ModelInvalid,
    SignatureWrong,
    VersionTooOld,
)
from engines.manifest import (
    MANIFEST_BYTES,
    Entry,
    Manifest,
    Port,
    SelfTest,
    from_fields,
    parse,
    to_json,
    version_key,
)
from engines.onnxfile import Facts, inspect
from engines.sign import SIGNATURE_BYTES, PrivateKey, PublicKey, signer

Array = NDArray[Any]
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
SELFTEST_BYTES = 1 << 28  # unpacked


@dataclass(frozen=True, slots=True)
class Vector:
    """A self-test: what goes in, what must come out, and how far off it may be."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    tolerance: float


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle, in memory. sha256: of manifest.json, which pins all the rest;
    signer: the trusted key that signed it, None where nobody trusted did."""

    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)
    facts: Facts = field(repr=False)
    vector: Vector = field(repr=False)
    sha256: str
    signer: PublicKey | None
    folder: Path

    @property
    def model(self) -> bytes:
        """The ONNX file."""
        return self.files[self.manifest.model]


def _open(name: str, folder: int | None = None) -> int:
    # O_NONBLOCK: opening a pipe put in a file's place must not wait
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(name, flags, dir_fd=folder)


def _read(folder: int, name: str, most: int, exact: int | None, links: bool) -> bytes:
    """One regular file, read once. most, exact: its size, checked before and after reading."""
    try:
        handle = _open(name, folder)
    except FileNotFoundError:
        raise ListingWrong(f"{name} is missing", "fetch the bundle again") from None
    except OSError as error:
        raise ListingWrong(f"{name} is a link or cannot be read ({error.strerror})") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise ListingWrong(f"{name} is not a plain file")
    with os.fdopen(handle, "rb") as file:
        if status.st_nlink != 1 and not links:
            raise ListingWrong(f"{name} has a second name (hard link)", "copy the bundle")
        if status.st_size > most or (exact is not None and status.st_size != exact):
            raise ContentWrong(f"{name} has {status.st_size} bytes, not {exact or most}")
        data = file.read(status.st_size + 1)
    if len(data) != status.st_size:
        raise ContentWrong(f"{name} changed while it was read")
    return data


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BundleMissing(f"no bundle at {path}", "see: surgiclear engines list") from None
    except OSError as error:
        raise ListingWrong(f"{path} is not a plain folder ({error.strerror})") from error
    try:
        yield handle
    finally:
        os.close(handle)


def read(
    path: Path | str,
    *,
    require_signature: bool = False,
    trusted_keys: Sequence[PublicKey] = (),
    oldest: Mapping[str, str] | None = None,
    name: str | None = None,
    allow_hard_links: bool = False,
) -> Bundle:
    """The bundle in a folder, verified whole, before any run time sees a byte of it.

    oldest: the oldest version allowed, by bundle name; name: the bundle this must be. Raises
    BundleMissing, or a BundleRefused that says what is wrong.
    """
    path = Path(path)
    with _folder(path) as folder:
        raw = _read(folder, MANIFEST, MANIFEST_BYTES, None, allow_hard_links)
        present = set(os.listdir(folder))
        signature = None
        if SIGNATURE in present:
            exact = SIGNATURE_BYTES
            signature = _read(folder, SIGNATURE, exact, exact, allow_hard_links)
        # the signature first: without a good one, where asked for, nothing is even parsed
        signed_by = signer(raw, signature, trusted_keys) if signature is not None else None
        if require_signature and signed_by is None:
            raise SignatureWrong(
                f"{path} is not signed by a trusted key, or was changed since",
                "fetch it again, or add its maker's .pub to the keys folder",
            )
        manifest = parse(raw)
        _signature(manifest, signature is not None, signed_by, trusted_keys)
        _allowed(manifest, name, oldest or {})
        listed = {entry.name for entry in manifest.files}
        _listing(present, listed)
        files = {e.name: _content(folder, e, allow_hard_links) for e in manifest.files}
    facts = _model(manifest, files)
    vector = _vector(manifest, files[manifest.selftest.file])
    sha256 = hashlib.sha256(raw).hexdigest()
    return Bundle(manifest, files, facts, vector, sha256, signed_by, path)


def _signature(
    manifest: Manifest, present: bool, by: PublicKey | None, trusted: Sequence[PublicKey]
) -> None:
    """Holds the manifest's own word on who signed it to what was found."""
    if present != (manifest.key_id != ""):
        raise SignatureWrong("manifest.json and manifest.sig disagree on whether it is signed")
    if by is None and manifest.key_id in {key.id for key in trusted}:
        raise SignatureWrong(f"manifest.json was changed after {manifest.key_id} signed it")
    if by is not None and by.id != manifest.key_id:
        raise SignatureWrong(f"signed by {by.id}, but manifest.json names {manifest.key_id}")


def _allowed(manifest: Manifest, name: str | None, oldest: Mapping[str, str]) -> None:
    if name is not None and manifest.name != name:
        raise ManifestInvalid(f"this is the bundle {manifest.name!r}, not {name!r}")
    floor = oldest.get(manifest.name)
    if floor is not None and version_key(manifest.version) < version_key(floor):
        raise VersionTooOld(
            f"{manifest.name} {manifest.version} is older than {floor}, which was in use",
            "install that version or a newer one",
        )


def _listing(present: Collection[str], listed: Collection[str]) -> None:
    extra = sorted(set(present) - set(listed) - {MANIFEST, SIGNATURE})
    if extra:
        raise ListingWrong(f"{extra[0]!r} is not in the manifest", "fetch the bundle again")


def _content(folder: int, entry: Entry, links: bool) -> bytes:
    data = _read(folder, entry.name, entry.size, entry.size, links)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ContentWrong(f"{entry.name} was changed", "fetch the bundle again")
    return data


def _model(manifest: Manifest, files: Mapping[str, bytes]) -> Facts:
    """Holds the ONNX file to the manifest."""
    facts = inspect(files[manifest.model])
    if facts.opset != manifest.opset:
        raise ModelInvalid(f"the model is opset {facts.opset}, the manifest says {manifest.opset}")
    for claimed, true in ((manifest.inputs, facts.inputs), (manifest.outputs, facts.outputs)):
        if {port.name for port in claimed} != set(true):
            raise ModelInvalid(f"the model has {true}, the manifest says otherwise")
    for part in facts.external:
        data = files.get(part.location)
        if data is None or part.location == manifest.model:
            raise ModelInvalid(f"tensor {part.name!r} lies in {part.location!r}, not in the bundle")
        if part.offset + part.length > len(data):
            raise ModelInvalid(f"tensor {part.name!r} lies beyond the end of {part.location}")
    return facts


def _vector(manifest: Manifest, data: bytes) -> Vector:
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > SELFTEST_BYTES:
                raise ManifestInvalid("the self-test unpacks to too much")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (zipfile.BadZipFile, ValueError, OSError, KeyError, EOFError, MemoryError) as error:
        raise ManifestInvalid(f"the self-test cannot be read ({error})") from error
    inputs = {p.name: _fits(p, arrays.pop(f"in.{p.name}", None)) for p in manifest.inputs}
    outputs = {p.name: _fits(p, arrays.pop(f"out.{p.name}", None)) for p in manifest.outputs}
    if arrays:
        raise ManifestInvalid(f"the self-test has {sorted(arrays)} that nothing takes")
    return Vector(inputs, outputs, manifest.selftest.tolerance)


def _fits(port: Port, value: Array | None) -> Array:
    if value is None:
        raise ManifestInvalid(f"the self-test lacks {port.name}")
    sizes = len(value.shape) == len(port.shape) and all(
        isinstance(want, str) or want == have
        for want, have in zip(port.shape, value.shape, strict=True)
    )
    if not sizes or value.dtype.name != port.dtype:
        raise ManifestInvalid(
            f"the self-test's {port.name} is {value.dtype} {value.shape}, not {port.shape}"
        )
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise ManifestInvalid(f"the self-test's {port.name} is not finite")
    return value


def pack(vector: Vector) -> bytes:
    """A self-test as .npz bytes."""
    buffer = io.BytesIO()
    inputs = {f"in.{name}": value for name, value in vector.inputs.items()}
    outputs = {f"out.{name}": value for name, value in vector.outputs.items()}
    np.savez_compressed(buffer, **inputs, **outputs)  # type: ignore[arg-type]
    return buffer.getvalue()


def write(
    folder: Path,
    fields: Mapping[str, Any],
    files: Mapping[str, bytes],
    selftest: Vector,
    *,
    key: PrivateKey | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Makes a bundle, whole or not at all, and returns it as `read` sees it.

    fields: of Manifest, without files, selftest and key_id; `opset` may be left out, then it is
    the model's. files: the ONNX file under the name that `fields["model"]` gives, and any other
    (card, external data). Raises BundleRefused where `read` would.
    """
    vector_name = "selftest.npz"
    contents = {**files, vector_name: pack(selftest)}
    entries = tuple(
        Entry(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in sorted(contents.items())
    )
    claims = {
        "opset": inspect(contents[fields["model"]]).opset,
        **fields,
        "files": entries,
        "selftest": SelfTest(file=vector_name, tolerance=selftest.tolerance),
        "key_id": key.public.id if key else "",
    }
    return _place(folder, from_fields(claims), contents, key, overwrite)


def sign(bundle: Bundle, key: PrivateKey) -> Bundle:
    """The same bundle signed by a key, in its place; an older signature is replaced."""
    manifest = replace(bundle.manifest, key_id=key.public.id)
    return _place(bundle.folder, manifest, bundle.files, key, True)


def _place(
    folder: Path,
    manifest: Manifest,
    contents: Mapping[str, bytes],
    key: PrivateKey | None,
    overwrite: bool,
) -> Bundle:
    if folder.exists() and not overwrite:
        raise ListingWrong(f"{folder} exists", "remove it, or write elsewhere")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # beside its place, so that the last step is a rename
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    trusted = (key.public,) if key else ()
    try:
        raw = to_json(manifest)
        for name, data in {**contents, MANIFEST: raw}.items():
            (beside / name).write_bytes(data)
        if key:
            (beside / SIGNATURE).write_bytes(key.sign(raw))
        beside.chmod(0o755)
        bundle = read(beside, require_signature=key is not None, trusted_keys=trusted)
        _swap(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return replace(bundle, folder=folder)


def _swap(beside: Path, folder: Path) -> None:
    """`beside` takes the place of `folder`; what was there is put back if that fails."""
    if not folder.exists():
        beside.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent)) / "bundle"
    folder.rename(old)
    try:
        beside.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    finally:
        shutil.rmtree(old.parent)
