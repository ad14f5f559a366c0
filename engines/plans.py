"""Built plans, kept by everything they depend on.

A plan is machine code for one GPU: it is looked up by a key that names the graph, the GPU, the
versions and the shape, and it is checked against a hash before it is used. The cache must belong
to the user who runs the engine and be writable by nobody else, since a hash that lies beside its
file guards against damage and mix-ups, not against an intruder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from engines.errors import PlanRefused

CACHE = Path.home() / ".cache" / "surgiclear" / "plans"
PLAN, NOTE = "plan.bin", "plan.json"
PLAN_BYTES = 1 << 32
MARK = 32  # bytes of a SHA-256


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanKey:
    """Everything a built plan depends on; another value of any of these is another plan.

    gpu: device name, "any" for a plan built for a compute capability without its GPU;
    capability: such as "sm89"; runtime: package and version; driver: version, "" for a plan that
    does not depend on it; shape: the sizes it was built for.
    """

    onnx_sha256: str
    gpu: str
    capability: str
    runtime: str
    driver: str
    precision: str
    shape: str

    @property
    def digest(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PlanCache:
    """Plans in a folder, one sub-folder for each key."""

    folder: Path = CACHE

    def path(self, key: PlanKey) -> Path:
        return self.folder / key.digest

    def get(self, key: PlanKey) -> bytes | None:
        """The plan of this very key, None where there is none.

        Raises PlanRefused where there is one that must not be used.
        """
        place = self.path(key)
        if not place.exists():
            return None
        self._private()
        try:
            note = json.loads((place / NOTE).read_bytes())
            with (place / PLAN).open("rb") as file:
                plan = file.read(PLAN_BYTES)
        except (OSError, ValueError, RecursionError) as error:
            raise PlanRefused(f"{place} is damaged ({error})", "engines build again") from error
        whole = isinstance(note, dict) and note.get("key") == asdict(key)
        if not whole or note.get("sha256") != hashlib.sha256(plan).hexdigest():
            raise PlanRefused(f"{place} is not the plan that was built", "engines build again")
        return plan

    def put(self, key: PlanKey, plan: bytes) -> Path:
        """Keeps a plan, whole or not at all; one of the same key is replaced. Its folder."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._private()
        beside = Path(tempfile.mkdtemp(prefix=".plan-", dir=self.folder))
        try:
            (beside / PLAN).write_bytes(plan)
            note = {"key": asdict(key), "sha256": hashlib.sha256(plan).hexdigest()}
            (beside / NOTE).write_text(json.dumps(note, indent=1) + "\n")
            place = self.path(key)
            shutil.rmtree(place, ignore_errors=True)
            beside.rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return place

    def aid(self, name: str) -> bytes | None:
        """What a run time once learned (kernel timings, compiled kernels) under this name; None
        where there is nothing, or nothing whole: it only saves time."""
        path = self.folder / f"{name}.aid"
        if not path.exists():
            return None
        self._private()
        with path.open("rb") as file:
            data = file.read(PLAN_BYTES)
        mark, content = data[:MARK], data[MARK:]
        return content if hashlib.sha256(content).digest() == mark else None

    def keep_aid(self, name: str, content: bytes) -> None:
        """Keeps it, whole or not at all, in the place of what was there."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._private()
        beside = Path(tempfile.mkstemp(prefix=".aid-", dir=self.folder)[1])
        try:
            beside.write_bytes(hashlib.sha256(content).digest() + content)
            beside.replace(self.folder / f"{name}.aid")
        finally:
            beside.unlink(missing_ok=True)

    def _private(self) -> None:
        status = self.folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PlanRefused(
                f"others can write to {self.folder}", f"chmod 700 {self.folder}, and own it"
            )
