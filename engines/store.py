"""Where bundles live: found by name or path, listed, and never exchanged for older ones.

A name is looked up in the user's folder first, then among those that came with the package
(engines/bundles/). The oldest version allowed, by name, is kept in a small file that only ever
rises: that is the anti-rollback. A store that is given a site's gates (engines/gates.py) refuses
every bundle whose figures do not pass them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines.bundle import Bundle, read
from engines.errors import BundleMissing, BundleRefused, ManifestInvalid, VersionTooOld
from engines.gates import Required, check
from engines.manifest import MANIFEST_BYTES, version_key
from engines.sign import PublicKey

PACKAGE_FOLDER = Path(__file__).parent / "bundles"
USER_FOLDER = Path.home() / ".local" / "share" / "surgiclear" / "engines"
FLOORS = "oldest.json"


@dataclass(frozen=True, slots=True)
class Found:
    """One bundle of a store: read, or the reason why it is refused."""

    folder: Path
    bundle: Bundle | None
    refusal: BundleRefused | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Folders of bundles, and what is asked of a bundle from them."""

    user: Path = USER_FOLDER
    package: Path = PACKAGE_FOLDER
    require_signature: bool = False
    trusted_keys: Sequence[PublicKey] = field(default=())
    gates: Mapping[str, Required] = field(default_factory=dict)

    def find(self, name_or_path: str | Path) -> Bundle:
        """The bundle of this name, or at this path (a Path, or a text with a separator).

        A plain word that is no bundle's name may be a folder of the working directory.
        Raises BundleMissing or BundleRefused.
        """
        text = str(name_or_path)
        if isinstance(name_or_path, Path) or os.sep in text:
            return self._read(Path(name_or_path), None)
        for root in (self.user, self.package):
            if text not in ("", ".", "..") and (root / text).is_dir():
                return self._read(root / text, text)
        if text and (Path(text) / "manifest.json").exists():
            return self._read(Path(text), None)
        known = ", ".join(sorted(folder.name for folder in self._folders())) or "none"
        raise BundleMissing(f"no engine is named {text!r}", f"there are: {known}")

    def all(self) -> list[Found]:
        """Every bundle, the user's first; refused ones with their reason."""
        out = []
        for folder in self._folders():
            try:
                out.append(Found(folder, self._read(folder, folder.name), None))
            except BundleRefused as error:
                out.append(Found(folder, None, error))
        return out

    def activate(self, bundle: Bundle) -> None:
        """Notes that this version is in use: older ones of the same name are refused from now."""
        floors = dict(self.floors())
        name, version = bundle.manifest.name, bundle.manifest.version
        floor = floors.get(name)
        if floor is not None and version_key(version) < version_key(floor):
            raise VersionTooOld(f"{name} {version} is older than {floor}, which was in use")
        if floor == version:
            return
        floors[name] = version
        self.user.mkdir(parents=True, exist_ok=True)
        beside = self.user / f".{FLOORS}.{os.getpid()}"
        beside.write_text(json.dumps(floors, indent=1, sort_keys=True) + "\n")
        beside.replace(self.user / FLOORS)

    def floors(self) -> Mapping[str, str]:
        """The oldest version allowed, by name. Raises ManifestInvalid where the file is damaged."""
        path = self.user / FLOORS
        try:
            with path.open("rb") as file:
                values = json.loads(file.read(MANIFEST_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise ManifestInvalid(f"{path} is damaged ({error})", "restore or remove it") from error
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise ManifestInvalid(f"{path} is damaged", "restore or remove it")
        for version in values.values():
            version_key(version)
        return values

    def _folders(self) -> list[Path]:
        roots = [root for root in (self.user, self.package) if root.is_dir()]
        return [
            folder
            for root in roots
            for folder in sorted(root.iterdir())
            if folder.is_dir() and not folder.name.startswith((".", "_"))
        ]

    def _read(self, folder: Path, name: str | None) -> Bundle:
        bundle = read(
            folder,
            require_signature=self.require_signature,
            trusted_keys=self.trusted_keys,
            oldest=self.floors(),
            name=name,
            # package installers hard-link from their cache; see engines/bundle.py
            allow_hard_links=folder.parent.resolve() == self.package.resolve(),
        )
        check(bundle.manifest, self.gates)
        return bundle
