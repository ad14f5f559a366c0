"""A torch network to an ONNX graph that is proven to do the same.

The graph takes and gives pictures as the service has them: uint8 RGB, b h w c, with scaling,
padding and rounding inside. One fixed shape per video mode is the rule. A dynamic graph is
written only where it is right at sizes it was not traced at: a padding or a window count that the
tracer took for a constant gives a graph that runs at other sizes and is silently wrong.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.errors import ExportRefused
from engines.onnxfile import inspect

OPSET = 20
FRAME, RESTORED = "frame", "restored"
Frame = NDArray[np.uint8]  # b h w 3
Size = tuple[int, int]  # h w
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a graph may be from torch, in grey levels. Rounding may fall either way, so one
    level is nothing; the mean tells a rounding from an error."""

    largest: float = 1.0
    mean: float = 0.05


@dataclass(frozen=True, slots=True)
class Proof:
    """One comparison of graph and torch. largest, mean: absolute difference in grey levels."""

    size: Size
    largest: float
    mean: float


class Deployed(nn.Module):
    """A network (float32 RGB in [0, 1], b c h w) as the service calls it (uint8 b h w c)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        # bytes are cast first and last: TensorRT takes them in no other operator
        light = frame.to(torch.float32).permute(0, 3, 1, 2) / 255  # b c h w
        restored: torch.Tensor = self.net(light)
        return (restored.clamp(0, 1) * 255).round().permute(0, 2, 3, 1).to(torch.uint8)


def pattern(size: Size, seed: int = 0) -> Frame:
    """A smooth, coloured picture with edges: 1 h w 3. It compresses well, noise does not."""
    h, w = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    phase, pitch = rng.uniform(0, 6.28, (2, 3)), rng.uniform(0.02, 0.15, (2, 3))
    waves = np.sin(y[..., None] * pitch[0] + phase[0]) + np.sin(x[..., None] * pitch[1] + phase[1])
    light = 110 + 45 * waves
    light[h // 4 : h // 2, w // 3 : w // 2] += 60  # an edge on each side
    out: Frame = np.clip(light, 0, 255).astype(np.uint8)[None]
    return out


def noise(size: Size, seed: int = 0) -> Frame:
    """Uniform noise: 1 h w 3."""
    return np.random.default_rng(seed).integers(0, 256, (1, *size, 3), np.uint8)


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter logs and warns of its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def trace(net: nn.Module, size: Size, *, dynamic: bool = False) -> bytes:
    """The graph of Deployed(net) at one size, or with height and width left open.

    Raises ExportRefused where torch cannot export it.
    """
    shapes: Any = None
    if dynamic:
        shapes = ({1: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC},)
    # plain arithmetic for attention: fused kernels promise strides that their parts do not keep
    with _quietly(), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        try:
            program = torch.onnx.export(
                Deployed(net).eval(),
                (torch.from_numpy(noise(size, 1)),),
                input_names=[FRAME],
                output_names=[RESTORED],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
            )
        except Exception as error:  # the exporter wraps anything
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error)
            raise ExportRefused(f"torch cannot export this network at {size}: {first}") from error
    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model


def session(model: bytes) -> ort.InferenceSession:
    """The graph in ONNX Runtime, for comparison."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # failures are raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_torch(net: nn.Module, frame: Frame) -> Frame:
    """What the service would get from torch."""
    with torch.inference_mode():
        out: Frame = Deployed(net).eval()(torch.from_numpy(frame)).numpy()
    return out


def compare(have: Frame, want: Frame, size: Size) -> Proof:
    """Two answers to the same frame; infinitely apart where shape or type differ."""
    if have.shape != want.shape or have.dtype != want.dtype:
        return Proof(size, float("inf"), float("inf"))
    off = np.abs(have.astype(np.int16) - want.astype(np.int16))
    return Proof(size, float(off.max()), float(off.mean()))


def prove(
    model: bytes,
    net: nn.Module,
    sizes: Sequence[Size],
    tolerance: Tolerance = Tolerance(),
    progress: Progress | None = None,
) -> list[Proof]:
    """Runs graph and torch side by side on pictures the tracer has not seen, at each size.

    Raises ExportRefused at the first size where the graph fails or differs too much.
    """
    graph = session(model)
    proofs: list[Proof] = []
    for number, size in enumerate(sizes):
        if progress:
            progress(f"comparing with torch at {size[1]}x{size[0]}")
        frame = half_and_half(size, number)
        try:
            have = graph.run([RESTORED], {FRAME: frame})[0]
        except Exception as error:  # onnxruntime raises its own classes for each status
            raise ExportRefused(
                f"the graph fails at {size[1]}x{size[0]}: {str(error).splitlines()[0]}",
                "export one graph for each size",
            ) from error
        proof = compare(have, run_torch(net, frame), size)
        if not (proof.largest <= tolerance.largest and proof.mean <= tolerance.mean):
            raise ExportRefused(
                f"the graph differs from torch at {size[1]}x{size[0]} by up to"
                f" {proof.largest:.3g} grey levels, {proof.mean:.3g} on average",
                "export one graph for each size",
            )
        proofs.append(proof)
    return proofs


def half_and_half(size: Size, seed: int) -> Frame:
    """A pattern whose right half is noise: 1 h w 3."""
    frame = pattern(size, seed)
    cut = size[1] // 2
    frame[:, :, cut:] = noise(size, 100 + seed)[:, :, cut:]
    return frame


def check_sizes(size: Size) -> list[Size]:
    """The traced size and six others that a baked-in constant would get wrong: both sides
    smaller and larger, by one, by a window, by a half, and turned on their side."""
    h, w = size
    others = [
        (w, h),
        (h // 2, w),
        (h, w + 8),
        (h + 1, w - 1),
        (h + 36, w // 2 + 3),
        (h - 4, w + 60),
    ]
    return [size, *(s for s in dict.fromkeys(others) if s != size and min(s) >= 16)]


def export(
    net: nn.Module,
    size: Size,
    *,
    dynamic: bool = False,
    tolerance: Tolerance = Tolerance(),
    progress: Progress | None = None,
) -> tuple[bytes, list[Proof]]:
    """The proven graph of a network and its proofs.

    Raises ExportRefused where torch cannot export it, the graph is not plain ONNX, or it differs
    from torch at the size traced (dynamic: at any of several others).
    """
    if progress:
        progress(f"tracing at {size[1]}x{size[0]}")
    model = trace(net, size, dynamic=dynamic)
    check(model)
    return model, prove(model, net, check_sizes(size) if dynamic else [size], tolerance, progress)


def check(model: bytes) -> None:
    """ONNX's own checker, and ours. Raises ExportRefused."""
    try:
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportRefused(f"the graph is not sound ONNX: {error}") from error
    inspect(model)


def weigh(net: nn.Module, path: Path) -> nn.Module:
    """Loads a checkpoint (.safetensors, or a torch file of tensors only) into a network.

    Raises ExportRefused where it is no checkpoint, or not this network's.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "params", "model"):
            state = state.get(key, state)
        net.load_state_dict(state)
    except Exception as error:  # pickle, zip, safetensors and torch each raise their own
        first = (str(error).splitlines() or [""])[0]
        raise ExportRefused(f"{path} is not this network's checkpoint: {first}") from error
    return net
