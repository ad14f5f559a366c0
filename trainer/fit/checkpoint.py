"""What a run leaves in its folder, and how it is picked up again.

    last.safetensors   the averaged weights under the net's own keys, the whole recipe inside
    best.safetensors   the same, of the best judgement so far
    last.state.pt      all that is needed to go on: every net, optimisers, step, scaler, alarm
    board/             TensorBoard

`models.load` takes the safetensors files. Each file appears whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.fit.plan import difference

STATE, LAST, BEST = "last.state.pt", "last.safetensors", "best.safetensors"


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Writes beside and renames: a run cut off in the middle leaves the older file."""
    fresh = path.with_name(path.name + ".new")
    write(fresh)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)


def save_weights(path: Path, net: nn.Module, about: Mapping[str, Any]) -> None:
    """The net's weights with `about` (plain JSON values) as metadata under `surgiclear`."""
    weights = {
        key: value.detach().cpu().contiguous().clone() for key, value in net.state_dict().items()
    }
    metadata = {"format": "pt", "surgiclear": json.dumps(about)}
    _whole(path, lambda fresh: save_file(weights, fresh, metadata=metadata))


def halve(path: Path, out: Path) -> None:
    """Weights with what is said of them, in 16 bits: half the file; tables of whole numbers in the
    fewest bits that hold them. `models.load` widens both. Made to be given away, it names files
    without the folders where they lay."""
    weights = {key: _narrow(value) for key, value in load_file(path).items()}
    metadata = {"format": "pt", "surgiclear": json.dumps(_placeless(read_about(path)))}
    _whole(out, lambda fresh: save_file(weights, fresh, metadata=metadata))


def _narrow(value: Tensor) -> Tensor:
    if value.is_floating_point():
        return value.half()
    for kind in (torch.uint8, torch.int16, torch.int32):
        if torch.equal(value.to(kind).to(value.dtype), value):
            return value.to(kind)
    return value


def _placeless(about: Any) -> Any:
    """The same with every absolute path cut down to its file's name."""
    if isinstance(about, Mapping):
        return {key: _placeless(value) for key, value in about.items()}
    if isinstance(about, list):
        return [_placeless(value) for value in about]
    return Path(about).name if isinstance(about, str) and Path(about).is_absolute() else about


def read_about(path: Path) -> dict[str, Any]:
    """What `save_weights` wrote beside the weights. Raises ValueError where it did not."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if "surgiclear" not in metadata:
        raise ValueError(f"{path} holds no recipe: it is not a checkpoint of this trainer")
    about: dict[str, Any] = json.loads(metadata["surgiclear"])
    return about


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Everything that is needed to go on."""
    _whole(folder / STATE, lambda fresh: torch.save(dict(state), fresh))


def load_state(folder: Path, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `save_state` wrote, None where nothing is. Raises ValueError where it is the state of
    another recipe: going on would be neither the one nor the other."""
    path = folder / STATE
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    found = difference(json.loads(state["recipe"]), dict(recipe))
    if found:
        raise ValueError(f"{folder} holds a run of another recipe ({found}): take another --out")
    return state
