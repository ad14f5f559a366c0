"""manifest.json as a value: everything a bundle claims of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from engines.errors import ManifestInvalid
from engines.restorer import Kind

FORMAT: Literal["surgiclear-bundle/1"] = "surgiclear-bundle/1"
MANIFEST_BYTES = 1 << 20
FILE_BYTES = 1 << 31  # of one file
BUNDLE_BYTES = 1 << 32  # of all files together
FILES = 64
RESERVED = ("manifest.json", "manifest.sig")

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Semver = Annotated[str, Field(pattern=r"^(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){2}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
KeyId = Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")]
Size = Annotated[int, Field(ge=0, le=FILE_BYTES)]
Side = Annotated[int, Field(ge=1, le=1 << 20)]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Dtype = Literal["uint8", "int8", "int32", "int64", "float16", "float32", "bfloat16"]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """One input or output. layout: axes in order, such as "b h w c"; shape: their sizes, a text
    being a size that may vary; range: of the values; colour: "rgb", "bt601 gains", ... or ""."""

    __pydantic_config__ = STRICT
    name: str
    layout: str
    shape: tuple[Side | str, ...]
    dtype: Dtype
    range: tuple[float, float]
    colour: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file of the bundle. size: bytes."""

    __pydantic_config__ = STRICT
    name: FileName
    size: Size
    sha256: Sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """The bundle's own question and answer: an .npz with arrays in.NAME and out.NAME.

    tolerance: largest absolute difference of any output element, in that output's units.
    """

    __pydantic_config__ = STRICT
    file: FileName
    tolerance: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """One evaluation that the engine passed: figure >= bound ("least") or <= bound ("most")."""

    __pydantic_config__ = STRICT
    name: str
    figure: float
    bound: float
    sense: Literal["least", "most"]
    unit: str = ""
    data: str = ""  # what it was measured on

    @property
    def passed(self) -> bool:
        return self.figure >= self.bound if self.sense == "least" else self.figure <= self.bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A bundle's claims. model: the ONNX file's name; parameters: numbers the run time needs
    (a list for more than one); temporal_state: what it remembers between frames, "" for nothing;
    created: ISO 8601, UTC; key_id: who signed, "" for nobody; command: what made it."""

    __pydantic_config__ = STRICT
    name: Name
    version: Semver
    kinds: tuple[Kind, ...]
    architecture: str
    precision: Precision
    opset: Annotated[int, Field(ge=1, le=99)]
    model: FileName
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    files: Annotated[tuple[Entry, ...], Field(max_length=FILES)]
    selftest: SelfTest
    parameters: dict[str, float | list[float]] = field(default_factory=dict)
    temporal_state: str = ""
    gates: tuple[Gate, ...] = ()
    training_data: str = ""
    licence: str
    created: str
    command: str
    key_id: KeyId = ""
    format: Literal["surgiclear-bundle/1"] = FORMAT

    def entry(self, name: str) -> Entry | None:
        """The listing of one file."""
        return next((e for e in self.files if e.name == name), None)

    def numbers(self, name: str) -> tuple[float, ...]:
        """One of `parameters` as a tuple; empty where the bundle has none of that name."""
        value = self.parameters.get(name, [])
        return tuple(value) if isinstance(value, list) else (value,)


_ADAPTER = TypeAdapter(Manifest)


def version_key(version: str) -> tuple[int, ...]:
    """A version in its order. Raises ManifestInvalid for anything but MAJOR.MINOR.PATCH."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}){2}", version):
        raise ManifestInvalid(f"{version!r} is not a version", "use MAJOR.MINOR.PATCH")
    return tuple(int(part) for part in version.split("."))


def to_json(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: the same manifest always gives the same bytes."""
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True, allow_nan=False)
    return text.encode() + b"\n"


def from_fields(fields: Mapping[str, Any]) -> Manifest:
    """The manifest with these fields (values may be dataclasses). Raises ManifestInvalid."""
    return parse(json.dumps(fields, default=asdict, allow_nan=False).encode())


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key appears twice")
    return out


def parse(raw: bytes) -> Manifest:
    """The manifest of these bytes. Raises ManifestInvalid with the first thing that is wrong."""
    if len(raw) > MANIFEST_BYTES:
        raise ManifestInvalid(f"manifest.json has {len(raw)} bytes", "fetch the bundle again")
    try:
        json.loads(raw, object_pairs_hook=_single)
        manifest = _ADAPTER.validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ManifestInvalid(f"manifest.json: {place}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"manifest.json is not sound JSON ({error})") from None
    _consistent(manifest)
    return manifest


def _consistent(manifest: Manifest) -> None:
    names = [entry.name for entry in manifest.files]
    doubled = {n for n in names if sum(n.lower() == m.lower() for m in names) > 1}
    reserved = set(names) & set(RESERVED)
    if doubled or reserved:
        raise ManifestInvalid(f"manifest.json lists {sorted(doubled | reserved)} wrongly")
    for wanted in (manifest.model, manifest.selftest.file):
        if wanted not in names:
            raise ManifestInvalid(f"manifest.json does not list its own {wanted}")
    if sum(entry.size for entry in manifest.files) > BUNDLE_BYTES:
        raise ManifestInvalid(f"manifest.json claims over {BUNDLE_BYTES >> 30} GiB")
    for ports in (manifest.inputs, manifest.outputs):
        if not ports or len({p.name for p in ports}) != len(ports):
            raise ManifestInvalid("manifest.json lists no inputs or outputs, or one twice")
        for port in ports:
            if len(port.layout.split()) != len(port.shape):
                raise ManifestInvalid(f"manifest.json: {port.name}: layout and shape differ")
    failed = [gate.name for gate in manifest.gates if not gate.passed]
    if failed:
        raise ManifestInvalid(f"manifest.json lists the gate {failed[0]!r} that it did not pass")
