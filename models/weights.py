"""Reads a checkpoint, finds out whose it is from its keys and shapes, and loads it strictly.

WeightsError
├── UnreadableWeights   no file, no checkpoint, no tensors, or values that are not finite
└── ForeignWeights      tensors of no network in the table, or of another than they seem
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from models import RESTORERS
from models.spec import Spec

Shapes = dict[str, tuple[int, ...]]
Value = TypeVar("Value")

# where training programs keep the table of tensors, in the order in which it is looked for
TABLES = ("params", "params_ema", "state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")  # put before every key by DataParallel, by torch.compile
# of SelfSVD's checkpoints: a flow net with terms of its own, which ours does without
FOREIGN, BESIDE = "pwcnet.", "ref_feat_extract.0.weight"
STEER = "steer."  # of a branch beside FocalNet (models/steered.py), which it does without
SHOWN = 4  # keys of a kind named in a message


class WeightsError(ValueError):
    """A checkpoint cannot be used."""


class UnreadableWeights(WeightsError):
    """`path` holds no table of finite tensors; `why` says what it holds."""

    def __init__(self, path: str | Path, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What keeps a table of tensors from being those of one variant of a network.

    reshaped: key -> (shape that it has, shape that the network wants); wanted: how many keys
    the network has.
    """

    name: str
    variant: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    wanted: int

    @property
    def distance(self) -> float:
        """0 where all is right, 1 where no key is shared; a wrong shape is half a wrong key."""
        wrong = len(self.missing) + len(self.unexpected) + len(self.reshaped) / 2
        return wrong / (self.wanted + len(self.unexpected))

    def __str__(self) -> str:
        shapes = tuple(f"{k} is {has}, not {want}" for k, (has, want) in self.reshaped.items())
        kinds = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", shapes),
        )
        parts = [
            f"{len(keys)} {kind} ({', '.join(keys[:SHOWN])}{', ...' * (len(keys) > SHOWN)})"
            for kind, keys in kinds
            if keys
        ]
        return f"{self.name} ({self.variant}): {'; '.join(parts)}"


class ForeignWeights(WeightsError):
    """The tensors in `path` are of no network in the table; `nearest` says how far off."""

    def __init__(self, path: str | Path, nearest: Mismatch) -> None:
        super().__init__(path, nearest)
        self.path, self.nearest = path, nearest

    def __str__(self) -> str:
        return f"{self.path}: keys of no known network; nearest is {self.nearest}"


@cache
def _shapes(spec: Spec, variant: str) -> Shapes:
    """Key -> shape of one variant, without giving its tensors memory."""
    with torch.device("meta"):
        net = spec.build(variant)
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def _mismatch(name: str, variant: str, has: Shapes, wants: Shapes) -> Mismatch:
    both = [key for key in wants if key in has]
    return Mismatch(
        name=name,
        variant=variant,
        missing=tuple(key for key in wants if key not in has),
        unexpected=tuple(key for key in has if key not in wants),
        reshaped={key: (has[key], wants[key]) for key in both if has[key] != wants[key]},
        wanted=len(wants),
    )


def _own(table: Mapping[str, Value]) -> dict[str, Value]:
    """Without the keys of a net that came along."""
    along = BESIDE in table
    return {key: value for key, value in table.items() if not (along and key.startswith(FOREIGN))}


def steers(table: Iterable[str]) -> bool:
    """Whether some of these keys are of a steering branch."""
    return any(key.startswith(STEER) for key in table)


def plain(table: Mapping[str, Value]) -> dict[str, Value]:
    """Without a steering branch: what the network beside it takes."""
    return {key: value for key, value in table.items() if not key.startswith(STEER)}


def recognise(shapes: Shapes, path: str | Path = "these tensors") -> tuple[str, str]:
    """Name and variant of the network that has exactly these keys and shapes.

    path: for the message. Raises ForeignWeights.
    """
    shapes = _own(shapes)
    nearest: Mismatch | None = None
    for name, spec in RESTORERS.items():
        for variant in spec.variants:
            found = _mismatch(name, variant, shapes, _shapes(spec, variant))
            if not found.distance:
                return name, variant
            if nearest is None or found.distance < nearest.distance:
                nearest = found
    assert nearest is not None  # the table is not empty
    raise ForeignWeights(path, nearest)


def _opened(path: Path) -> Any:
    """Whatever the file holds; only tensors and plain values are ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip, safetensors and torch each raise their own
        first = (str(error).splitlines() or [""])[0]
        why = f"not a checkpoint of tensors ({type(error).__name__}: {first})"
        raise UnreadableWeights(path, why) from error


def read(path: str | Path, *, ema: bool = False) -> dict[str, torch.Tensor]:
    """The table of tensors in a checkpoint, under the network's own keys.

    ema: prefer the averaged weights to the raw ones where a file has both. Raises
    UnreadableWeights.
    """
    path = Path(path)
    held = _opened(path)
    order = sorted(TABLES, key=lambda key: key != "params_ema") if ema else TABLES
    table = next(
        (held[key] for key in order if isinstance(held, dict) and isinstance(held.get(key), dict)),
        held,
    )
    if not isinstance(table, dict) or not table:
        raise UnreadableWeights(path, "holds no table of tensors")
    for key, value in table.items():
        if not isinstance(value, torch.Tensor):
            raise UnreadableWeights(path, f"holds no table of tensors: {key} is {type(value)}")
        if not value.isfinite().all():
            raise UnreadableWeights(path, f"{key} holds NaN or infinity")
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in table):
            table = {key.removeprefix(prefix): value for key, value in table.items()}
    return table


def load(path_or_name: str | Path, *, ema: bool = False, steered: bool = False) -> nn.Module:
    """The network that a checkpoint is for, with its weights, in eval mode and float32.

    path_or_name: a file; or a network's name, or `name:variant`, for one with fresh weights.
    steered: with the branch that takes a reference, where a file has one; else it is left out.
    Raises UnreadableWeights, ForeignWeights; ValueError for a variant that a network has not.
    """
    path = Path(path_or_name)
    if not path.is_file():
        name, _, variant = str(path_or_name).partition(":")
        if name in RESTORERS:
            return RESTORERS[name].build(variant or None).eval()
        names = ", ".join(RESTORERS)
        raise UnreadableWeights(path, f"neither a file nor a network's name ({names})")
    table = _own(read(path, ema=ema))
    if not steered:
        table = plain(table)
    shapes = {key: tuple(value.shape) for key, value in table.items()}
    name, variant = recognise(shapes, path)
    net = RESTORERS[name].build(variant)
    net.load_state_dict(table, strict=True)
    return net.eval()
