"""What an engine is: arrays in, arrays out, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from numpy.typing import NDArray

Array = NDArray[Any]
# what may run a bundle; engines/choice.py holds one loader for each
Backend = Literal["cpu", "openvino", "cuda", "ort-tensorrt", "tensorrt"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


@dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    """Which engine this is. sha256: of the bundle's manifest, or "" where it has none; provider:
    where it really runs ("cpu", "cuda", "tensorrt", ...); detail: version of the run time."""

    name: str
    version: str
    sha256: str
    provider: str
    detail: str


class Engine(Protocol):
    """A loaded network. Not to be called from two threads at once.

    `run` takes every input by name and returns every output by name; the arrays are the caller's
    to keep. Raises FeedsWrong or RunFailed.
    """

    @property
    def info(self) -> Info: ...
    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]: ...
    def close(self) -> None: ...
