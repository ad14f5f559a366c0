"""What an attack on a bundle is, and what it may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bundles import forge, tiny_model

from engines.errors import BundleRefused, ContentWrong, SignatureWrong
from engines.sign import PrivateKey

FILES = ("manifest.json", "manifest.sig", "model.onnx", "selftest.npz", "CARD.md")


@dataclass(frozen=True)
class Lab:
    """What an attack may use: the folder to attack, a scratch folder, keys and chance."""

    folder: Path
    scratch: Path
    trusted: PrivateKey
    stranger: PrivateKey
    rng: np.random.Generator

    def forge(self, **how: Any) -> None:
        """Replaces the bundle by a forged one that the trusted key signs."""
        shutil.rmtree(self.folder)
        forge(self.folder, self.trusted, **how)

    def add(self, name: str) -> None:
        (self.folder / name).write_bytes(b"x")

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def grow(self, name: str, size: int) -> None:
        os.truncate(self.folder / name, size)

    def model(self, model: onnx.ModelProto | bytes, **how: Any) -> None:
        data = model if isinstance(model, bytes) else model.SerializeToString()
        self.forge(files={"model.onnx": data}, **how)

    def graph(self, change: Callable[[onnx.GraphProto], None]) -> None:
        model = tiny_model()
        change(model.graph)
        self.model(model)


Attack = Callable[[Lab], None]


@dataclass(frozen=True)
class Case:
    name: str
    refusal: type[BundleRefused]
    attack: Attack


def changed(name: str) -> type[BundleRefused]:
    """What any change of a file's bytes is refused as."""
    return SignatureWrong if name.startswith("manifest") else ContentWrong


def forged(**how: Any) -> Attack:
    return lambda lab: lab.forge(**how)


def modelled(model: onnx.ModelProto | bytes) -> Attack:
    return lambda lab: lab.model(model)


def regraphed(change: Callable[[onnx.GraphProto], None]) -> Attack:
    return lambda lab: lab.graph(change)
