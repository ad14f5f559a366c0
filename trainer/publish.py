"""From a trained net to a bundle: ONNX, self-test vector, card."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines import bundle as bundles
from engines.manifest import Gate, Port
from engines.restorer import KINDS
from engines.tidy import unmarked
from models.prior import MOST, Steadied
from models.veil import MAP_INPUT, MAP_STRIDE, T_MIN

NARROW_FROM = 256  # numbers; smaller tensors are not worth a node
OUTPUTS = (
    "transmission",
    "withheld",
    "veil",
    "exposure",
    "presence",
    "coverage",
    "splash_type",
)


class Exported(nn.Module):
    """The net with the outputs that the run time uses, in the order of OUTPUTS."""

    def __init__(self, net: Steadied) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, reference: Tensor, known: Tensor) -> tuple[Tensor, ...]:
        maps = self.net(image, reference, known)
        return tuple(getattr(maps, name) for name in OUTPUTS)


def veil_onnx(net: Steadied) -> bytes:
    """The net as ONNX: image, reference 1 3 144 256 and known 1 1 144 256 in, OUTPUTS out."""
    h, w = MAP_INPUT
    example = torch.rand(1, 3, h, w), torch.rand(1, 3, h, w), torch.ones(1, 1, h, w)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            Exported(net.eval()),
            example,
            input_names=["image", "reference", "known"],
            output_names=list(OUTPUTS),
            dynamo=True,
            verbose=False,
            opset_version=20,
        )
    assert program is not None
    unmarked(program.model)
    return narrowed(program.model_proto)


def narrowed(model: Any) -> bytes:
    """The graph (an onnx ModelProto) with its weights kept in 16 bits, and widened when it is
    loaded: half the file. Of 102 restored pictures no pixel moved by more than one grey level, and
    by 0.003 on average."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.size >= NARROW_FROM:
            name = weights.name
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    data: bytes = model.SerializeToString()
    return data


def selftest(net: Steadied, tolerance: float = 5e-3) -> bundles.Vector:
    """A question and the net's own answer in torch: a ramp, a checker and a texture."""
    h, w = MAP_INPUT
    rng = np.random.default_rng(20)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    ramp = np.stack((xs / w, ys / h, 0.5 * np.ones_like(xs)))
    checker = ((xs // 16 + ys // 16) % 2)[None] * 0.3
    image = np.clip(0.6 * ramp + checker + rng.normal(0, 0.02, ramp.shape), 0, 1)
    image = np.round(256 * image) / 256  # few digits: the file is small
    feeds = {
        "image": image[None].astype(np.float32),
        "reference": image[None, :, ::-1].astype(np.float32).copy(),
        "known": np.ones((1, 1, h, w), np.float32),
    }
    with torch.no_grad():
        answer = Exported(net.eval())(*(torch.from_numpy(feeds[n]) for n in feeds))
    outputs = {n: a.numpy() for n, a in zip(OUTPUTS, answer, strict=True)}
    return bundles.Vector(inputs=feeds, outputs=outputs, tolerance=tolerance)


def ports() -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The contract of a veil bundle: inputs, outputs."""
    h, w = MAP_INPUT
    mh, mw = h // MAP_STRIDE, w // MAP_STRIDE

    def port(name: str, layout: str, *shape: int, most: float = 1.0, least: float = 0.0) -> Port:
        return Port(
            name=name, layout=layout, shape=shape, dtype="float32", range=(least, most),
            colour="rgb" if shape[1:2] == (3,) and len(shape) == 4 else "",
        )  # fmt: skip

    inputs = (
        port("image", "b c h w", 1, 3, h, w),
        port("reference", "b c h w", 1, 3, h, w),
        port("known", "b c h w", 1, 1, h, w),
    )
    outputs = (
        port("transmission", "b c h w", 1, 1, mh, mw, least=T_MIN),
        port("withheld", "b c h w", 1, 1, mh, mw),
        port("veil", "b c h w", 1, 3, mh // 4, mw // 4),
        port("exposure", "b n", 1, 5, least=-0.25 * MOST, most=2.1 * MOST),
        port("presence", "b n", 1, 3, least=-60, most=60),
        port("coverage", "b n", 1, 3),
        port("splash_type", "b n", 1, 4, least=-60, most=60),
    )
    return inputs, outputs


def publish_veil(
    net: Steadied,
    folder: Path,
    *,
    version: str,
    presence_offset: Sequence[float],
    presence_offset_beside: Sequence[float],
    share_beside: float,
    card: str,
    command: str,
    training_data: str,
    gates: Sequence[Gate] = (),
    extra: Mapping[str, bytes] | None = None,
) -> bundles.Bundle:
    """Writes the bundle of a trained `veil`, replacing one that is there."""
    inputs, outputs = ports()
    fields = {
        "name": folder.name,
        "version": version,
        "kinds": KINDS,
        "architecture": "veil",
        "precision": "fp32",
        "model": "veil.onnx",
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {
            "presence_offset": [float(x) for x in presence_offset],
            "presence_offset_beside": [float(x) for x in presence_offset_beside],
            "share": net.share,
            "share_beside": share_beside,
            "t_min": T_MIN,
        },
        "temporal_state": "maps and the last clear frame at the net's input size",
        "gates": tuple(gates),
        "training_data": training_data,
        "licence": "Apache-2.0; trained on data without a stated licence: research use",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command,
    }
    files = {"veil.onnx": veil_onnx(net), "card.md": card.encode(), **(extra or {})}
    return bundles.write(folder, fields, files, selftest(net), overwrite=True)
