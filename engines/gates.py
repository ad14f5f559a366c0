"""The gate file: which figures an engine must show before it may be used.

A TOML file of the site, not of the bundle: a bundle lists the figures that its maker measured
(Manifest.gates), this file says which of them are asked for and what they must reach.

    [fp16_against_fp32]        # the gate's name in the manifest
    at_least = 50.0            # or at_most
    unit = "dB"                # must be the manifest's
    unless_precision = "fp32"  # not asked of engines of this precision
    unless_architecture = "veil"  # nor of this architecture: "veil" is every ladder's next rung
    only_architecture = "veil"  # or, the other way about, of this one alone
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from engines.errors import GateFailed, KeyUnusable
from engines.manifest import Manifest, Precision

GATE_FILE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Required:
    """One figure that is asked for."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    unless_precision: Precision | Literal[""] = ""
    unless_architecture: str = ""
    only_architecture: str = ""

    def asked_of(self, manifest: Manifest) -> bool:
        """Whether this figure is asked of an engine at all."""
        return (
            self.unless_precision != manifest.precision
            and self.unless_architecture != manifest.architecture
            and self.only_architecture in ("", manifest.architecture)
        )


_ADAPTER = TypeAdapter(dict[str, Required])


def read_gates(path: Path) -> dict[str, Required]:
    """The gates of a file, by name. Raises KeyUnusable for a file that is not one."""
    try:
        text = path.read_bytes()[:GATE_FILE_BYTES].decode()
        gates = _ADAPTER.validate_python(tomllib.loads(text))
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise KeyUnusable(f"{path} is no gate file ({first})", "see engines/gates.py") from error
    for name, gate in gates.items():
        if (gate.at_least is None) == (gate.at_most is None):
            raise KeyUnusable(f"{path}: {name} needs at_least or at_most, one of them")
    return gates


def check(manifest: Manifest, required: Mapping[str, Required]) -> None:
    """Raises GateFailed for the first figure that is missing or not reached."""
    measured = {gate.name: gate for gate in manifest.gates}
    for name, gate in required.items():
        if not gate.asked_of(manifest):
            continue
        found = measured.get(name)
        if found is None or found.unit != gate.unit:
            raise GateFailed(
                f"{manifest.name} {manifest.version} shows no {name} ({gate.unit or 'no unit'})",
                "evaluate it, or use another engine",
            )
        low = gate.at_least is not None and not found.figure >= gate.at_least
        high = gate.at_most is not None and not found.figure <= gate.at_most
        if low or high:
            bound = f"at least {gate.at_least:g}" if gate.at_least is not None else (
                f"at most {gate.at_most:g}")  # fmt: skip
            raise GateFailed(
                f"{manifest.name} {manifest.version}: {name} is {found.figure:g} {gate.unit},"
                f" asked {bound}",
                "use another engine",
            )
