"""The official networks' keys and outputs, where the shared folder holds them."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

# largest deviation of the official code from itself, over the standard deviation of its output;
# a re-implementation may be off by 20 times as much
NOISE = {
    "ramit": 2.3e-5,
    "focalnet": 1.9e-6,
    "convir": 1.5e-5,
    "fourmer": 1.2e-5,
    "sfhformer": 4.2e-6,
    "ast": 4.7e-5,
    "restormer": 1.5e-5,
    "mambair": 7.4e-6,
    "mambair_default": 9.5e-5,
    "mambair_testyml": 1.0e-4,
    "mambairv2": 5.3e-6,
    "amir": 1.3e-5,
    "xrestormer": 3.9e-5,
    "xrestormer_default": 2.7e-5,
}
EXACT = 1e-5  # float64 against float64


@dataclass(frozen=True, slots=True)
class Golden:
    """What the official network looks like, and what it makes of one picture.

    keys: name -> (shape, dtype); picture, answer, answer64: 1 3 side side; answer64 is None
    where the official network does not run in float64.
    """

    keys: dict[str, tuple[tuple[int, ...], str]]
    parameters: int
    picture: torch.Tensor
    answer: torch.Tensor
    answer64: torch.Tensor | None


def shared() -> Path:
    """The folder of reference outputs; skips the test where there is none."""
    given = os.environ.get("SURGICLEAR_SHARED")
    root = Path(given) if given else Path(__file__).parent.parent.parent / "shared"
    folder = root / "golden"
    if not folder.is_dir():
        pytest.skip(f"no reference outputs at {folder} (set SURGICLEAR_SHARED)")
    return folder


def rule() -> Any:
    """The shared fill rule: `fill_state_dict`, `make_input`, `GAINS`."""
    spec = importlib.util.spec_from_file_location("golden_fill", shared() / "fill.py")
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden(name: str) -> Golden:
    folder = shared() / name
    facts = json.loads((folder / "keys.json").read_text())
    (answers,) = folder.glob("golden_*.npz")
    with np.load(answers) as data:
        picture = rule().make_input(tuple(data["x_shape"]), int(data["seed"]))
        answer, answer64 = data["y"], data.get("y64")
    return Golden(
        keys={key: (tuple(shape), dtype) for key, shape, dtype in facts["keys"]},
        parameters=facts["params"],
        picture=torch.from_numpy(picture),
        answer=torch.from_numpy(answer),
        answer64=None if answer64 is None else torch.from_numpy(answer64),
    )


def keys(net: nn.Module) -> dict[str, tuple[tuple[int, ...], str]]:
    """name -> (shape, dtype) of everything that a checkpoint of this network holds."""
    return {
        key: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in net.state_dict().items()
    }


def filled(net: nn.Module, name: str) -> nn.Module:
    """The network in eval mode with the weights of the reference outputs."""
    module = rule()
    module.fill_state_dict(net.state_dict(), module.GAINS.get(name, 0.8))
    return net.eval()


def deviation(net: nn.Module, picture: torch.Tensor, answer: torch.Tensor) -> float:
    """Largest difference from the reference, over its standard deviation."""
    with torch.inference_mode():
        ours = net(picture)
    assert ours.shape == answer.shape
    return float((ours - answer).abs().max() / answer.std())


def assert_official(name: str, net: nn.Module, *, single: bool = True, double: bool = True) -> None:
    """Same keys, shapes and parameter count as the official network, and the same answer, in
    float32 within its own noise and in float64 to rounding of the stored reference.

    single: compare in float32; not for a network that sorts or chooses, where one processor's
    rounding may choose otherwise than another's. double: compare in float64, with the float32
    reference within its noise where there is no other; off where it costs many times as long.
    """
    assert single or double
    want = golden(name)
    assert keys(net) == want.keys
    assert sum(p.numel() for p in net.parameters()) == want.parameters
    filled(net, name)
    if single:
        assert deviation(net, want.picture, want.answer) <= 20 * NOISE[name]
    if double:
        exact = want.answer64 is not None
        reference, limit = (want.answer64, EXACT) if exact else (want.answer, 20 * NOISE[name])
        assert reference is not None
        assert deviation(net.double(), want.picture.double(), reference.double()) <= limit
