"""The one place that turns --engine into a restorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.engine import Backend, Info
from engines.errors import BundleMissing, EngineError
from engines.restorer import Restorer
from server.errors import EngineUnavailable, SettingInvalid

if TYPE_CHECKING:
    from engines.store import Store as Bundles

DEFAULT = "veil"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A restorer ready to be warmed, and which engine it is."""

    restorer: Restorer
    info: Info


def choose(
    name_or_path: str | None = None,
    store: Bundles | None = None,
    *,
    provider: Backend = "cpu",
    live: bool = False,
) -> Chosen:
    """The restorer of a bundle by name or path, the embedded default for None.
    store: where bundles are looked for, the usual folders for None; provider: what runs a
    full-frame network (`veil` always runs on the CPU); live: with the ladder of a live stream.

    Raises SettingInvalid where there is no such bundle, EngineUnavailable where it does not
    verify or its run time does not load.
    """
    # here, so that commands without an engine start without numba and the run time
    from engines.choice import ladder_of, restorer_of
    from engines.onnxrt import CPU
    from engines.store import Store

    try:
        bundles = store or Store()
        bundle = bundles.find(name_or_path or DEFAULT)
        restorer = (ladder_of if live else restorer_of)(bundle, bundles, provider)
    except BundleMissing as error:
        raise SettingInvalid(error.what, error.do) from error
    except EngineError as error:
        raise EngineUnavailable(error.what, error.do) from error
    manifest = bundle.manifest
    return Chosen(
        restorer,
        Info(
            name=manifest.name,
            version=manifest.version,
            sha256=bundle.sha256,
            provider=CPU.provider if manifest.architecture == "veil" else provider,
            detail=manifest.architecture,
        ),
    )
