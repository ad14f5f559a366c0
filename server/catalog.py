"""The engines of this service: which bundles there are, which of them may run, how to make one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engines.errors import EngineError
from engines.gates import read_gates
from engines.restorer import Restorer
from engines.sign import read_public
from engines.store import USER_FOLDER, Store
from server.choose import choose
from server.config import EnginesSection
from server.engine_process import EngineFacts, RestorerFactory
from server.errors import EngineUnavailable, SettingInvalid


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """One engine as GET /v1/engines shows it. state: "refused" when its bundle did not verify
    (why says the reason); signed_by: owner or id of a trusted key, "" for nobody."""

    name: str
    state: Literal["available", "refused"]
    version: str = ""
    sha256: str = ""
    architecture: str = ""
    precision: str = ""
    kinds: tuple[str, ...] = ()
    licence: str = ""
    signed_by: str = ""
    why: str = ""
    default: bool = False


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is offered, and a factory for each. default: a name among them; live: factories for
    streams where they are others than those for pictures."""

    offers: tuple[Offer, ...]
    factories: Mapping[str, RestorerFactory]
    default: str
    live: Mapping[str, RestorerFactory] = field(default_factory=dict)


def store_of(section: EnginesSection) -> Store:
    """Raises SettingInvalid for a key or a gate file that cannot be read."""
    try:
        keys = [read_public(path) for path in section.trusted_keys]
    except EngineError as error:
        raise SettingInvalid(f"engines.trusted_keys: {error}") from error
    try:
        gates = {} if section.gates is None else read_gates(section.gates)
    except EngineError as error:
        raise SettingInvalid(f"engines.gates: {error}") from error
    return Store(
        user=Path(section.folder) if section.folder else USER_FOLDER,
        require_signature=section.require_signature,
        trusted_keys=keys,
        gates=gates,
    )


def make(name: str, section: EnginesSection) -> Restorer:
    """Runs in a picture's process. Raises SurgiclearError."""
    return choose(name, store_of(section), provider=section.provider).restorer


def make_live(name: str, section: EnginesSection) -> Restorer:
    """Runs in an engine's process: with the ladder. Raises SurgiclearError."""
    return choose(name, store_of(section), provider=section.provider, live=True).restorer


def verify(name: str, section: EnginesSection) -> EngineFacts:
    """As `make`. Raises EngineUnavailable for a bundle that does not verify."""
    try:
        bundle = store_of(section).find(name)
    except EngineError as error:
        raise EngineUnavailable(error.what, error.do) from error
    return EngineFacts(name, bundle.manifest.version, bundle.sha256, True)


def discover(section: EnginesSection) -> Catalog:
    """Reads every bundle. A refused or absent one has a factory too, which refuses: a stream that
    asks for it shows the raw picture and says why, where no service would show nothing at all.
    Raises SettingInvalid as store_of."""
    offers: dict[str, Offer] = {}
    for found in store_of(section).all():
        name = found.folder.name
        if name in offers:
            continue  # the user's own comes first
        if found.bundle is None:
            why = "" if found.refusal is None else found.refusal.what
            offers[name] = Offer(
                name=name, state="refused", why=why, default=name == section.default
            )
            continue
        manifest, signer = found.bundle.manifest, found.bundle.signer
        offers[name] = Offer(
            name=name,
            state="available",
            version=manifest.version,
            sha256=found.bundle.sha256,
            architecture=manifest.architecture,
            precision=manifest.precision,
            kinds=tuple(manifest.kinds),
            licence=manifest.licence,
            signed_by="" if signer is None else signer.owner or signer.id,
            default=name == section.default,
        )
    if section.default not in offers:
        offers[section.default] = Offer(
            name=section.default, state="refused", why="there is no such bundle", default=True
        )
    factories, live = (
        {
            name: RestorerFactory(name=name, make=maker, arguments=(name, section), verify=verify)
            for name in offers
        }
        for maker in (make, make_live)
    )
    return Catalog(tuple(offers.values()), factories, section.default, live)
