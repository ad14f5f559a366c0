"""A torch network to an ONNX graph that is proven to do the same.

The graph takes and gives pictures as the service has them (engines/contract.py: usually uint8
RGB, b h w c), with scaling, padding and rounding inside. One fixed shape per video mode is the
rule. A dynamic graph is written only where it is right at sizes it was not traced at: a padding
or a window count that the tracer took for a constant gives a graph that runs at other sizes and
is silently wrong.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.contract import COLOUR, OUTPUTS, RESTORED, Contract, feeds
from engines.engine import Array
from engines.errors import ExportRefused
from engines.onnxfile import inspect
from engines.picture import rgb_matrix
from engines.tidy import tidy
from models.steered import Steered
from models.weights import WeightsError, plain, read, steers

OPSET = 20
SUMMARY = "## Exception summary"  # what the exporter puts above the error that stopped it
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


class DeployedFloat(nn.Module):
    """The network alone, its answer held to 0-1: float32 b 3 h w."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        restored: torch.Tensor = self.net(frame).clamp(0, 1)
        return restored


class DeployedNv12(nn.Module):
    """The network over the planes of a hardware decoder: its change, in their colours, is added
    to them. luma b h w, chroma b h/2 w/2 2, strength 1."""

    to_rgb: torch.Tensor
    to_yuv: torch.Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        matrix = torch.from_numpy(rgb_matrix(COLOUR.matrix))
        self.register_buffer("to_rgb", matrix.float().view(3, 3, 1, 1))
        self.register_buffer("to_yuv", matrix.inverse().float().view(3, 3, 1, 1))

    def forward(
        self, luma: torch.Tensor, chroma: torch.Tensor, strength: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        y = luma.to(torch.float32).unsqueeze(1)  # b 1 h w
        uv = chroma.to(torch.float32).permute(0, 3, 1, 2)  # b 2 h/2 w/2
        wide = F.interpolate(uv, scale_factor=2.0, mode="bilinear", align_corners=False)
        planes = torch.cat([(y - 16) / 219, (wide - 128) / 224], dim=1)
        light = F.conv2d(planes, self.to_rgb).clamp(0, 1)
        change = F.conv2d((self.net(light).clamp(0, 1) - light) * strength, self.to_yuv)
        y = (y + 219 * change[:, :1]).round().clamp(0, 255)
        uv = (uv + 224 * F.avg_pool2d(change[:, 1:], 2)).round().clamp(0, 255)
        return y.squeeze(1).to(torch.uint8), uv.permute(0, 2, 3, 1).to(torch.uint8)


class DeployedReferred(nn.Module):
    """A network that takes a reference: frame b h w 3, reference b h' w' 3, known 1."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, frame: torch.Tensor, reference: torch.Tensor, known: torch.Tensor
    ) -> torch.Tensor:
        light, clear = (x.to(torch.float32).permute(0, 3, 1, 2) / 255 for x in (frame, reference))
        restored: torch.Tensor = self.net(light, clear, known)
        return (restored.clamp(0, 1) * 255).round().permute(0, 2, 3, 1).to(torch.uint8)


DEPLOYED: dict[Contract, type[nn.Module]] = {
    "rgb": Deployed,
    "nv12": DeployedNv12,
    "float": DeployedFloat,
    "referred": DeployedReferred,
}


def draw_from(seed: int) -> None:
    """Random weights made from here on are those of this seed."""
    torch.manual_seed(seed)


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


def trace(
    net: nn.Module, size: Size, *, dynamic: bool = False, contract: Contract = "rgb"
) -> bytes:
    """The graph of the deployed network at one size, or (rgb) with height and width left open.

    Raises ExportRefused where torch cannot export it.
    """
    shapes: Any = None
    if contract == "referred" and not isinstance(net, Steered):
        raise ExportRefused("this network takes no reference", "export focalnet:steered, or rgb")
    inputs = feeds(contract, noise(size, 1))
    if dynamic:
        if contract != "rgb":
            raise ExportRefused(f"the {contract} contract has one size", "leave it fixed")
        shapes = ({1: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC},)
    # plain arithmetic for attention: fused kernels promise strides that their parts do not keep
    with _quietly(), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        try:
            program = torch.onnx.export(
                DEPLOYED[contract](net).eval(),
                tuple(torch.from_numpy(value) for value in inputs.values()),
                input_names=list(inputs),
                output_names=list(OUTPUTS[contract]),
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                optimize=False,
            )
            assert program is not None
            tidy(program.model)
        except Exception as error:  # the exporter wraps anything
            why = reason(error)
            raise ExportRefused(f"torch cannot export this network at {size}: {why}") from error
    model: bytes = program.model_proto.SerializeToString()
    return model


def reason(error: Exception) -> str:
    """One line of what went wrong: what the exporter blames, under its own advice, or the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if SUMMARY in lines[:-1]:
        blamed = lines[lines.index(SUMMARY) + 1]
        return blamed.partition(">: ")[2] or blamed
    return lines[0] if lines else type(error).__name__


def session(model: bytes) -> ort.InferenceSession:
    """The graph in ONNX Runtime, for comparison."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # failures are raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it grows to the sum of what was ever needed
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def answers(net: nn.Module, frame: Frame, contract: Contract = "rgb") -> dict[str, Array]:
    """What torch gives for an RGB frame under a contract."""
    with torch.inference_mode():
        values = (torch.from_numpy(value) for value in feeds(contract, frame).values())
        out = DEPLOYED[contract](net).eval()(*values)
    parts = out if isinstance(out, tuple) else (out,)
    return {name: part.numpy() for name, part in zip(OUTPUTS[contract], parts, strict=True)}


def run_torch(net: nn.Module, frame: Frame) -> Frame:
    """What the service would get from torch."""
    out: Frame = answers(net, frame)[RESTORED]
    return out


def compare(have: Array, want: Array, size: Size) -> Proof:
    """Two answers to the same frame; infinitely apart where shape or type differ."""
    if have.shape != want.shape or have.dtype != want.dtype:
        return Proof(size, float("inf"), float("inf"))
    levels = 255.0 if have.dtype.kind == "f" else 1.0
    off = np.abs(have.astype(np.float32) - want.astype(np.float32)) * levels
    return Proof(size, float(off.max()), float(off.mean()))


def prove(
    model: bytes,
    net: nn.Module,
    sizes: Sequence[Size],
    tolerance: Tolerance = Tolerance(),
    progress: Progress | None = None,
    contract: Contract = "rgb",
) -> list[Proof]:
    """Runs graph and torch side by side on pictures the tracer has not seen, at each size.

    Raises ExportRefused at the first size where the graph fails or differs too much.
    """
    proofs: list[Proof] = []
    frames = [half_and_half(size, number) for number, size in enumerate(sizes)]
    # the run time has gone before torch begins: large networks at 1280x720 fill the memory alone
    given = _graph_answers(model, frames, contract, progress)
    for size, frame, have in zip(sizes, frames, given, strict=True):
        if progress:
            progress(f"comparing with torch at {size[1]}x{size[0]}")
        want = answers(net, frame, contract).values()
        each = [compare(a, b, size) for a, b in zip(have, want, strict=True)]
        proof = Proof(size, max(p.largest for p in each), max(p.mean for p in each))
        if not (proof.largest <= tolerance.largest and proof.mean <= tolerance.mean):
            raise ExportRefused(
                f"the graph differs from torch at {size[1]}x{size[0]} by up to"
                f" {proof.largest:.3g} grey levels, {proof.mean:.3g} on average",
                "export one graph for each size",
            )
        proofs.append(proof)
    return proofs


def _graph_answers(
    model: bytes, frames: Sequence[Frame], contract: Contract, progress: Progress | None
) -> list[list[Array]]:
    """What the graph gives for each RGB frame. Raises ExportRefused where it fails."""
    graph = session(model)
    given: list[list[Array]] = []
    for frame in frames:
        h, w = frame.shape[1:3]
        if progress:
            progress(f"running the graph at {w}x{h}")
        try:
            given.append(graph.run(list(OUTPUTS[contract]), feeds(contract, frame)))
        except Exception as error:  # onnxruntime raises its own classes for each status
            raise ExportRefused(
                f"the graph fails at {w}x{h}: {str(error).splitlines()[0]}",
                "export one graph for each size",
            ) from error
    return given


def unsettled(net: nn.Module, frame: Frame) -> float:
    """How far torch is from itself, in grey levels: float32 against float64. Where that is far, a
    network sorts or chooses by what rounding decides, and no two machines agree on its answer."""
    light = torch.from_numpy(frame).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        single = net.eval()(light).clamp(0, 1).double()
        double = deepcopy(net).double()(light.double()).clamp(0, 1)
    return float((single - double).abs().max()) * 255


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
    contract: Contract = "rgb",
) -> tuple[bytes, list[Proof]]:
    """The proven graph of a network and its proofs.

    Raises ExportRefused where torch cannot export it, the graph is not plain ONNX, or it differs
    from torch at the size traced (dynamic: at any of several others).
    """
    if progress:
        progress(f"tracing at {size[1]}x{size[0]}")
    model = trace(net, size, dynamic=dynamic, contract=contract)
    check(model)
    sizes = check_sizes(size) if dynamic else [size]
    return model, prove(model, net, sizes, tolerance, progress, contract)


def check(model: bytes) -> None:
    """ONNX's own checker, and ours. Raises ExportRefused."""
    try:
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportRefused(f"the graph is not sound ONNX: {error}") from error
    inspect(model)


def weigh(net: nn.Module, path: Path) -> nn.Module:
    """Loads a checkpoint into a network, strictly: every wrapping that models/weights.py knows,
    without a steering branch that this network has not.

    Raises ExportRefused where it is no checkpoint, or not this network's.
    """
    try:
        table = read(path)
        net.load_state_dict(table if steers(net.state_dict()) else plain(table))
    except (WeightsError, RuntimeError) as error:
        lines = [line.strip() for line in str(error).splitlines()] or [""]
        first = " ".join(lines[:2]) if isinstance(error, RuntimeError) else lines[0]
        raise ExportRefused(f"{path} is not this network's checkpoint: {first[:300]}") from error
    return net
