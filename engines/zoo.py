"""A network of the zoo to a bundle: exported, proven, made half precision, gated, written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from engines.bundle import Bundle, Vector, write
from engines.contract import Contract, feeds, ports
from engines.engine import Array
from engines.errors import BundleMissing, ExportRefused
from engines.export import Proof, answers, export, noise, pattern, weigh
from engines.half import Parity, Plan, lifted, mixed, parity, plan, ranges
from engines.manifest import Gate
from engines.sign import PrivateKey
from models import RESTORERS

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["fp32", "fp16", "bf16"]
Progress = Callable[[str], None]
# largest difference of the self-test, in grey levels: rounding, and on a GPU other arithmetic
TOLERANCE: dict[Precision, float] = {"fp32": 2.0, "fp16": 4.0, "bf16": 8.0}
CLIPS = frozenset({"selfsvd"})  # of the zoo, but no still-picture networks
UNTRAINED = "untrained: random weights, for timing only"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to make. size: h w; weights: checkpoint, None for random ones; frames: pictures
    (h w 3, uint8) to measure ranges and parity on, besides black, white and noise."""

    name: str
    size: tuple[int, int]
    precision: Precision = "fp32"
    variant: str | None = None
    weights: Path | None = None
    training_data: str = ""
    kinds: tuple[str, ...] = ("smoke",)
    version: str = "0.1.0"
    contract: Contract = "rgb"
    frames: Sequence[np.ndarray[Any, np.dtype[np.uint8]]] = ()

    @property
    def bundle_name(self) -> str:
        h, w = self.size
        contract = "" if self.contract == "rgb" else f"-{self.contract}"
        return f"{self.name}-{w}x{h}-{self.precision}{contract}"


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle, with what its making showed."""

    bundle: Bundle
    proofs: tuple[Proof, ...]
    chosen: Plan | None
    parity: Parity | None


def network(order: Order) -> nn.Module:
    """The network with its weights. Raises BundleMissing, ExportRefused."""
    spec = RESTORERS.get(order.name)
    if order.name in CLIPS:
        what = "it takes a clip and its past: use it by models.load"
        raise BundleMissing(f"no still-picture engine can be made of {order.name!r}", what)
    if spec is None:
        what = "made by: surgiclear publish" if order.name == "veil" else ", ".join(RESTORERS)
        raise BundleMissing(f"no network to export is named {order.name!r}", what)
    net = spec.build(order.variant).eval()
    return weigh(net, order.weights) if order.weights else net


def fitted(
    picture: np.ndarray[Any, np.dtype[np.uint8]], size: tuple[int, int]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of any size as a frame, 1 h w 3: cut to the shape, then resized."""
    import cv2

    h, w = size
    ph, pw = picture.shape[:2]
    scale = min(ph / h, pw / w)
    ch, cw = max(1, int(h * scale)), max(1, int(w * scale))
    top, left = (ph - ch) // 2, (pw - cw) // 2
    cut = picture[top : top + ch, left : left + cw]
    resized: np.ndarray[Any, np.dtype[np.uint8]] = cv2.resize(
        cut, (w, h), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    )
    return resized[None]


def probes(order: Order) -> list[dict[str, Array]]:
    """What ranges and parity are measured on: the frames given, a pattern, black, white, noise."""
    h, w = order.size
    frames = [fitted(frame, order.size) for frame in order.frames]
    frames += [pattern(order.size, 3), noise(order.size, 5)]
    frames += [np.full((1, h, w, 3), level, np.uint8) for level in (0, 255)]
    return [feeds(order.contract, frame) for frame in frames]


def make(
    order: Order,
    folder: Path,
    *,
    key: PrivateKey | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> Made:
    """The bundle, in `folder` under its own name.

    Raises ExportRefused where the graph is not the network's or a gate is not passed; then
    nothing is written.
    """
    inputs, outputs = ports(order.contract, order.size)
    if order.contract == "float" and order.precision != "fp32":
        raise ExportRefused("the float contract is for fp32", "leave --precision out")
    net = network(order)
    spec = RESTORERS[order.name]
    other: dict[str, Any] = {} if order.contract == "rgb" else {"contract": order.contract}
    model, proofs = export(net, order.size, progress=progress, **other)
    largest = max(proof.largest for proof in proofs)
    gates = [
        Gate(name="difference_to_torch", figure=largest, bound=1.0, sense="most",
             unit="grey levels", data="pattern and noise at the exported size")
    ]  # fmt: skip
    chosen = result = None
    if order.precision != "fp32":
        model, chosen, result = _short(order, model, progress)
        real = f"{len(order.frames)} frames, " if order.frames else ""
        gates.append(
            Gate(name=f"{order.precision}_against_fp32", figure=result.psnr_db, bound=50.0,
                 sense="least", unit="dB", data=f"{real}pattern, noise, black and white")
        )  # fmt: skip
    frame = pattern(order.size, 17)
    tolerance = TOLERANCE[order.precision] / (255 if order.contract == "float" else 1)
    vector = Vector(feeds(order.contract, frame), answers(net, frame, order.contract), tolerance)
    trained = order.training_data or "not said" if order.weights else UNTRAINED
    fields = {
        "name": order.bundle_name,
        "version": order.version,
        "kinds": order.kinds,
        "architecture": order.name if order.variant is None else f"{order.name} {order.variant}",
        "precision": order.precision,
        "model": "model.onnx",
        "inputs": inputs,
        "outputs": outputs,
        "gates": gates,
        "training_data": trained,
        "licence": f"network: {spec.licence}; weights: as their maker says",
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command": command,
    }
    files = {"model.onnx": model, "CARD.md": _card(order, spec.paper, trained, gates).encode()}
    place = folder / order.bundle_name
    bundle = write(place, fields, files, vector, key=key, overwrite=overwrite)
    return Made(bundle, tuple(proofs), chosen, result)


def _short(order: Order, model: bytes, progress: Progress | None) -> tuple[bytes, Plan, Parity]:
    """The graph in mixed precision, once it has passed its gate."""
    assert order.precision != "fp32"
    frames = probes(order)
    if progress:
        progress(f"measuring ranges on {len(frames)} frames")
    graph = lifted(onnx.load_from_string(model), order.precision)
    chosen = plan(graph, ranges(graph, frames), order.precision)
    result = parity(graph, chosen, frames, order.precision, progress)
    if not result.passed:
        why = f"{result.psnr_db:.1f} dB" if result.finite else "a value that is not finite"
        raise ExportRefused(
            f"{order.name} in {order.precision} is too far from fp32: {why}, asked 50 dB",
            "export it as fp32",
        )
    typed: bytes = mixed(graph, chosen, order.precision).SerializeToString()
    return typed, chosen, result


def _card(order: Order, paper: str, trained: str, gates: Sequence[Gate]) -> str:
    h, w = order.size
    lines = [
        f"# {order.bundle_name} {order.version}",
        "",
        f"{order.name} for {w}x{h}, {order.precision}, {order.contract} in and out",
        "(see engines/contract.py), with scaling, padding and rounding inside.",
        "Research software, not a medical device.",
        "",
        f"- Paper: {paper}",
        f"- Weights: {order.weights.name if order.weights else 'random'}; trained on: {trained}",
        *(
            f"- {g.name}: {g.figure:.4g} {g.unit} (at {g.sense} {g.bound:g}), on {g.data}"
            for g in gates
        ),
        "",
    ]
    return "\n".join(lines)
