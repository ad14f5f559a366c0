"""Every error of the engines room.

EngineError
├── BundleMissing        no bundle has this name or path (exit 2)
├── BundleRefused        the bundle must not be used; nothing of it reached a run time
│   ├── ManifestInvalid  manifest.json is absent, malformed or makes claims out of bounds
│   ├── ListingWrong     unlisted or missing file, a link, a path that leaves the folder
│   ├── ContentWrong     a file's size or hash is not the manifest's
│   ├── ModelInvalid     the model file is not the plain ONNX graph that the manifest describes
│   ├── SignatureWrong   a signature is missing, wrong, or by a key that is not trusted
│   ├── VersionTooOld    older than the oldest version allowed (anti-rollback)
│   └── GateFailed       the evaluation gates do not allow it to be activated
├── KeyUnusable          a key file cannot be read, written or trusted (exit 2)
├── BackendMissing       the run time or provider asked for is not there, or did not load
├── FeedsWrong           inputs that the engine does not take
├── RunFailed            the run time failed on a picture
├── SelfTestFailed       the engine does not give the bundle's own answers
├── ExportRefused        a network cannot be exported truthfully; nothing was written
├── BuildFailed          a plan could not be built
└── PlanRefused          a cached plan is not this engine's, or was changed
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of all; `what` is wrong and what to `do` about it, one line together."""

    exit_code = 1

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__(what, do)
        self.what = what
        self.do = do

    def __str__(self) -> str:
        return f"{self.what}: {self.do}" if self.do else self.what


class BundleMissing(EngineError):
    """No bundle has this name or path."""

    exit_code = 2


class BundleRefused(EngineError):
    """The bundle must not be used; nothing of it reached a run time."""


class ManifestInvalid(BundleRefused):
    """manifest.json is absent, malformed or makes claims out of bounds."""


class ListingWrong(BundleRefused):
    """An unlisted or missing file, a link, a path that leaves the folder."""


class ContentWrong(BundleRefused):
    """A file's size or hash is not the manifest's."""


class ModelInvalid(BundleRefused):
    """The model file is not the plain ONNX graph that the manifest describes."""


class SignatureWrong(BundleRefused):
    """A signature is missing, wrong, or by a key that is not trusted."""


class VersionTooOld(BundleRefused):
    """Older than the oldest version allowed."""


class GateFailed(BundleRefused):
    """The evaluation gates do not allow it to be activated."""


class KeyUnusable(EngineError):
    """A key file cannot be read, written or trusted."""

    exit_code = 2


class BackendMissing(EngineError):
    """The run time or provider asked for is not there, or did not load."""


class FeedsWrong(EngineError):
    """Inputs that the engine does not take."""


class RunFailed(EngineError):
    """The run time failed on a picture."""


class SelfTestFailed(EngineError):
    """The engine does not give the bundle's own answers."""


class ExportRefused(EngineError):
    """A network cannot be exported truthfully; nothing was written."""


class BuildFailed(EngineError):
    """A plan could not be built."""


class PlanRefused(EngineError):
    """A cached plan is not this engine's, or was changed."""
