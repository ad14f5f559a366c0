"""Small engine bundles for tests: good ones, and forged ones that skip every check of `write`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import Bundle, Vector, pack, write
from engines.sign import PrivateKey, keygen, read_private

SHAPE = (1, 4, 6, 3)
GAIN = np.array([1.5, 0.5, 1.0], np.float32)


def tiny_graph(name: str = "tiny") -> onnx.GraphProto:
    """uint8 b h w c in and out: each colour times its own gain."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["light"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["light", "gain"], ["more"]),
        helper.make_node("Clip", ["more", "low", "high"], ["held"]),
        helper.make_node("Cast", ["held"], ["restored"], to=TensorProto.UINT8),
    ]
    constants = {"gain": GAIN, "low": np.float32(0), "high": np.float32(255)}
    return helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, SHAPE)],
        [helper.make_tensor_value_info("restored", TensorProto.UINT8, SHAPE)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )


def tiny_model(opset: int = 20) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(tiny_graph(), opset_imports=opsets, ir_version=10)


def tiny_vector(tolerance: float = 0.0) -> Vector:
    frame = np.random.default_rng(7).integers(0, 256, SHAPE, np.uint8)
    restored = np.clip(frame.astype(np.float32) * GAIN, 0, 255).astype(np.uint8)
    return Vector({"frame": frame}, {"restored": restored}, tolerance)


def tiny_fields(**changes: Any) -> dict[str, Any]:
    port = {"layout": "b h w c", "shape": SHAPE, "dtype": "uint8", "range": (0, 255)}
    return {
        "name": "tiny",
        "version": "1.0.0",
        "kinds": ["smoke"],
        "architecture": "gain",
        "precision": "fp32",
        "opset": 20,
        "model": "model.onnx",
        "inputs": [{"name": "frame", "colour": "rgb", **port}],
        "outputs": [{"name": "restored", "colour": "rgb", **port}],
        "licence": "Apache-2.0",
        "created": "2026-11-21T00:00:00Z",
        "command": "tests/bundles.py",
        **changes,
    }


def tiny_files(model: bytes | None = None) -> dict[str, bytes]:
    return {
        "model.onnx": model if model is not None else tiny_model().SerializeToString(),
        "CARD.md": b"# tiny\nA gain for each colour, for tests.\n",
    }


def tiny_bundle(folder: Path, key: PrivateKey | None = None, **changes: Any) -> Bundle:
    """A good bundle."""
    return write(folder, tiny_fields(**changes), tiny_files(), tiny_vector(), key=key)


def make_key(folder: Path, name: str) -> PrivateKey:
    keygen(folder, name)
    return read_private(folder / f"{name}.key")


def forge(
    folder: Path,
    key: PrivateKey,
    files: Mapping[str, bytes] | None = None,
    entries: Mapping[str, Mapping[str, Any]] | None = None,
    listed_as: Mapping[str, str] | None = None,
    **changes: Any,
) -> None:
    """Writes a bundle as an attacker with a trusted key would: consistent, but with no check.

    entries: changes to the listing of single files; listed_as: other names in the listing.
    """
    contents = {"selftest.npz": pack(tiny_vector()), **tiny_files(), **(files or {})}
    listing = [
        {
            "name": (listed_as or {}).get(name, name),
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            **(entries or {}).get(name, {}),
        }
        for name, data in contents.items()
    ]
    claims = {
        **tiny_fields(),
        "files": listing,
        "selftest": {"file": "selftest.npz", "tolerance": 0.0},
        "key_id": key.public.id,
        **changes,
    }
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    seal(folder, key, json.dumps(claims).encode())


def seal(folder: Path, key: PrivateKey, manifest: bytes) -> None:
    """Puts a manifest and its signature into a folder."""
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "manifest.sig").write_bytes(key.sign(manifest))
