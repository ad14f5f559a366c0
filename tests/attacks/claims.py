"""Attacks by what a bundle says of itself: signature, version, manifest, self-test."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
from attacks.lab import Attack, Case, Lab, forged
from bundles import seal, tiny_fields, tiny_vector

from engines.bundle import Vector, pack
from engines.errors import ContentWrong, ManifestInvalid, SignatureWrong, VersionTooOld


def signatures() -> Iterator[Case]:
    def stranger(lab: Lab) -> None:
        lab.forge()
        claims = json.loads((lab.folder / "manifest.json").read_bytes())
        claims["key_id"] = lab.stranger.public.id
        seal(lab.folder, lab.stranger, json.dumps(claims).encode())

    def borrowed_id(lab: Lab) -> None:
        seal(lab.folder, lab.stranger, (lab.folder / "manifest.json").read_bytes())

    def other_id(lab: Lab) -> None:
        lab.forge(key_id=lab.stranger.public.id)

    def no_id(lab: Lab) -> None:
        lab.forge(key_id="")

    def stripped(lab: Lab) -> None:
        (lab.folder / "manifest.sig").unlink()
        claims = json.loads((lab.folder / "manifest.json").read_bytes())
        (lab.folder / "manifest.json").write_text(json.dumps(claims | {"key_id": ""}))

    def stale(lab: Lab) -> None:
        claims = json.loads((lab.folder / "manifest.json").read_bytes())
        (lab.folder / "manifest.json").write_text(json.dumps(claims | {"version": "1.0.1"}))

    def zeros(lab: Lab) -> None:
        (lab.folder / "manifest.sig").write_bytes(bytes(64))

    def another_message(lab: Lab) -> None:
        (lab.folder / "manifest.sig").write_bytes(lab.trusted.sign(b"anything"))

    for attack in (
        stranger, borrowed_id, other_id, no_id, stripped, stale, zeros, another_message,
    ):  # fmt: skip
        yield Case(f"signature-{attack.__name__}", SignatureWrong, attack)


def versions() -> Iterator[Case]:
    for version in ("0.0.0", "0.9.9", "0.9.10", "0.10.99", "0.99.0"):
        yield Case(f"version-{version}", VersionTooOld, forged(version=version))
    for version in ("1", "1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.0\n", "", "9999999999.0.0"):
        yield Case(f"version-{version!r}", ManifestInvalid, forged(version=version))


def manifests() -> Iterator[Case]:
    def raw(change: Callable[[bytes], bytes]) -> Attack:
        def attack(lab: Lab) -> None:
            seal(lab.folder, lab.trusted, change((lab.folder / "manifest.json").read_bytes()))

        return attack

    for name, change in {
        "empty": lambda b: b"",
        "not-json": lambda b: b"{",
        "a-list": lambda b: b"[]",
        "null": lambda b: b"null",
        "deep": lambda b: b"[" * 100_000,
        "not-text": lambda b: b"\xff\xfe" + b,
        "twice-a-key": lambda b: b.replace(b'"name"', b'"name": "other", "name"', 1),
        "nan": lambda b: b.replace(b'"tolerance": 0.0', b'"tolerance": NaN'),
        "infinite": lambda b: b.replace(b'"tolerance": 0.0', b'"tolerance": 1e999'),
        "a-tail": lambda b: b + b"{}",
        "over-a-megabyte": lambda b: b[:-2] + b', "x": "' + bytes([97]) * (1 << 20) + b'"}',
    }.items():
        wrong = ContentWrong if name == "over-a-megabyte" else ManifestInvalid
        yield Case(f"manifest-{name}", wrong, raw(change))

    port = tiny_fields()["inputs"][0]
    gate = {"name": "psnr", "figure": 20.0, "bound": 25.0, "sense": "least"}
    for field, value in {
        "extra": 1,
        "name": "Tiny",
        "format": "surgiclear-bundle/2",
        "precision": "fp8",
        "kinds": ["blur"],
        "model": "CARD.txt",
        "inputs": [],
        "outputs": [port | {"name": "restored"}] * 2,
        "created": 20261121,
        "gates": [gate],
        "parameters": {"t_min": "0.1"},
        "licence": None,
        "key_id": "nonsense",
        "selftest": {"file": "other.npz", "tolerance": 0.0},
    }.items():
        yield Case(f"field-{field}", ManifestInvalid, forged(**{field: value}))
    yield Case(
        "lists-no-files",
        ManifestInvalid,
        raw(lambda b: json.dumps(json.loads(b) | {"files": []}).encode()),
    )
    yield Case("layout-is-not-shape", ManifestInvalid, forged(
        inputs=[port | {"layout": "b h w"}]))  # fmt: skip
    yield Case("another-name", ManifestInvalid, forged(name="other"))
    yield Case("tolerance-below-zero", ManifestInvalid, forged(
        selftest={"file": "selftest.npz", "tolerance": -1.0}))  # fmt: skip
    yield Case("listed-twice", ManifestInvalid, forged(
        files={"card.md": b"x"}))  # fmt: skip


def selftests() -> Iterator[Case]:
    good = tiny_vector()
    frame, restored = good.inputs["frame"], good.outputs["restored"]
    objects = BytesIO()
    np.savez(objects, **{"in.frame": np.array([{}], object), "out.restored": restored})  # type: ignore[arg-type]
    for name, data in {
        "pickled": objects.getvalue(),
        "no-output": pack(Vector({"frame": frame}, {}, 0)),
        "no-input": pack(Vector({}, {"restored": restored}, 0)),
        "one-more": pack(Vector({"frame": frame, "x": frame}, {"restored": restored}, 0)),
        "small": pack(Vector({"frame": frame[:, 1:]}, {"restored": restored}, 0)),
        "float": pack(Vector({"frame": frame / 255}, {"restored": restored}, 0)),
        "flat": pack(Vector({"frame": frame[0]}, {"restored": restored}, 0)),
        "not-npz": b"PK\x03\x04nothing",
        "pickle": pickle.dumps(frame),
    }.items():
        yield Case(
            f"self-test-{name}",
            ManifestInvalid,
            forged(files={"selftest.npz": data}),
        )


def cases() -> list[Case]:
    """Every attack of this file."""
    return [case for family in (signatures, versions, manifests, selftests) for case in family()]
