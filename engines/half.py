"""Strongly typed mixed precision: which operators of a graph may run in 16 bits, and the proof.

TensorRT 11 takes types from the graph alone, so they are decided here. Convolutions and matrix
products run in 16 bits. Normalisation, softmax, exponentials, roots, divisions, FFTs, scans and
reductions stay in FP32: they overflow or lose their small terms. Everything else follows its
inputs, unless a value measured on real frames comes near what FP16 can hold, or a constant is
too small for it.

ONNX Runtime's CPU kernels compute FP16 graphs in FP32 and drop the casts between them, so running
the typed graph there proves nothing about rounding. The gate therefore runs a third graph: FP32,
with every value that the typed graph stores in 16 bits really rounded to 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.errors import ExportRefused

Short = Literal["fp16", "bf16"]
CODE: dict[Short, int] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
FP16_MAX = 65504.0
HEADROOM = 8.0  # frames will come that were not measured
FP16_NORMAL = 2.0**-14  # below it FP16 loses digits
SMALL = 16  # a constant of so few elements is a parameter, not a weight
PARITY_DB = 50.0
BEST_DB = 99.0  # equal pictures

# compute in 16 bits wherever the range allows
COMPUTE = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"})
# computed in FP32, and bounded by what they do: their result may be kept in 16 bits
SETTLES = frozenset(
    {"Softmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization",
     "BatchNormalization", "GlobalAveragePool", "Sigmoid", "Tanh"}
)  # fmt: skip
# move or choose between values, or one cheap step: they follow their inputs
FOLLOW = frozenset(
    {"Add", "Sub", "Mul", "Max", "Min", "Neg", "Abs", "Relu", "LeakyRelu", "PRelu", "Gelu", "Erf",
     "HardSigmoid", "HardSwish", "Clip", "Concat", "Split", "Slice", "Gather", "Reshape",
     "Transpose", "Squeeze", "Unsqueeze", "Expand", "Flatten", "Tile", "Pad", "Identity", "Where",
     "DepthToSpace", "SpaceToDepth", "MaxPool", "Resize", "Round", "Div"}
)  # fmt: skip
DATA_INPUTS = {"Resize": 1}  # only so many leading inputs carry data; the rest keep their type

Frames = Sequence[Mapping[str, NDArray[Any]]]
Largest = Mapping[str, float]


@dataclass(slots=True)
class Plan:
    """short: nodes (by index) that compute in 16 bits; kept: values stored in 16 bits;
    reasons: why a node that could have been short is not, by operator."""

    short: set[int] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, node: onnx.NodeProto, why: str) -> None:
        self.reasons.setdefault(node.op_type, []).append(f"{node.name or node.output[0]}: {why}")


@dataclass(frozen=True, slots=True)
class Parity:
    """Mixed against full precision. psnr_db: worst frame; finite: nothing overflowed."""

    psnr_db: float
    finite: bool

    @property
    def passed(self) -> bool:
        return self.finite and self.psnr_db >= PARITY_DB


def lifted(model: onnx.ModelProto, short: Short) -> onnx.ModelProto:
    """The graph in an opset whose convolutions take these types."""
    return onnx.version_converter.convert_version(model, 22) if short == "bf16" else model


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    """The graph as it stands, node by node in its own order: a value that is probed at once can
    go at once, where any other order keeps every value of the network until the end."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.log_severity_level = 4  # failures are raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type (TensorProto.DataType) of every value of the graph."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ExportRefused(f"the graph is not sound: {error}") from error
    out = {
        v.name: v.type.tensor_type.elem_type
        for values in (graph.input, graph.output, graph.value_info)
        for v in values
    }
    out.update({t.name: t.data_type for t in graph.initializer})
    return out


PROBES = {"ReduceMax": "most", "ReduceMin": "least", "ReduceSum": "finite"}


def probe(
    model: onnx.ModelProto, names: Iterable[str], kinds: Sequence[str] = tuple(PROBES)
) -> onnx.ModelProto:
    """The graph with more outputs for each value, read as soon as it is there: its largest, its
    least, and a sum that is not finite where any element is not. Scalars: no frame is kept."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph, wanted = out.graph, set(names)
    del graph.node[:]
    for node in model.graph.node:
        graph.node.append(node)
        for name in node.output:
            for kind in kinds if name in wanted else ():
                result = f"{name}.{PROBES[kind]}"
                graph.node.append(helper.make_node(kind, [name], [result], keepdims=0))
                graph.output.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, []))
    return out


def floats(model: onnx.ModelProto) -> list[str]:
    """Names of the FP32 values that nodes make."""
    kinds = types(model)
    return [
        n for node in model.graph.node for n in node.output if kinds.get(n) == TensorProto.FLOAT
    ]


def ranges(model: onnx.ModelProto, frames: Frames) -> dict[str, float]:
    """The largest magnitude of every FP32 value over these frames; infinite where not finite."""
    names = floats(model)
    run = session(probe(model, names))
    out = dict.fromkeys(names, 0.0)
    wanted = [f"{n}.{s}" for n in names for s in PROBES.values()]
    for frame in frames:
        values = iter(run.run(wanted, dict(frame)))
        for name, most, least, total in zip(names, values, values, values, strict=True):
            peak = max(abs(float(most)), abs(float(least)))
            out[name] = max(out[name], peak if np.isfinite(total) else float("inf"))
    return out


def _captured(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that inner graphs take from outside."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
                yield from (name for n in inner.node for name in n.input)
                yield from (value.name for value in inner.output)
                yield from _captured(inner)


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    return {
        t.name: numpy_helper.to_array(t)
        for t in graph.initializer
        if t.data_type == TensorProto.FLOAT
    }


def _unfit(value: NDArray[Any], short: Short) -> bool:
    """Whether a constant would lose its meaning in FP16: too large, or a parameter (an epsilon,
    say; not one of many weights) too small."""
    size = np.abs(value[value != 0])
    if short == "bf16" or not size.size:
        return False
    return bool(size.max() > FP16_MAX or (value.size <= SMALL and size.min() < FP16_NORMAL))


def _data(node: onnx.NodeProto) -> list[str]:
    return [n for n in list(node.input)[: DATA_INPUTS.get(node.op_type)] if n]


def plan(model: onnx.ModelProto, largest: Largest, short: Short = "fp16") -> Plan:
    """Decides, node by node in order. largest: from `ranges`; what is not in it counts as 0."""
    graph, kinds = model.graph, types(model)
    constants, out = _constants(graph), Plan()
    fixed = {value.name for value in graph.output} | set(_captured(graph))
    limit = FP16_MAX / HEADROOM if short == "fp16" else float("inf")
    for index, node in enumerate(graph.node):
        inputs = [n for n in _data(node) if kinds.get(n) == TensorProto.FLOAT]
        moving = [n for n in inputs if n not in constants]
        outputs = [n for n in node.output if kinds.get(n) == TensorProto.FLOAT]
        operator = node.op_type
        if not outputs or operator not in COMPUTE | SETTLES | FOLLOW:
            continue
        if operator in FOLLOW and not any(n in out.kept for n in moving):
            continue
        squares = operator == "Mul" and len(set(moving)) < len(moving)
        quotient = operator == "Div" and node.input[1] not in constants
        if squares or quotient:
            out.refuse(node, "a square or a quotient")
            continue
        if any(n in fixed for n in outputs):
            out.refuse(node, "a result of the graph, or used inside a branch")
            continue
        if operator in SETTLES:
            if all(largest.get(n, 0.0) <= limit for n in outputs):
                out.kept.update(outputs)
            continue
        if any(_unfit(constants[n], short) for n in inputs if n in constants):
            out.refuse(node, "a constant that 16 bits cannot hold")
            continue
        over = [
            largest.get(n, 0.0) for n in [*moving, *outputs] if not largest.get(n, 0.0) <= limit
        ]
        if over:
            out.refuse(node, f"reaches {max(over):.3g}")
            continue
        out.short.add(index)
        out.kept.update(outputs)
    return out


class _Caster:
    """Gives each value in the type that its reader wants, casting once."""

    def __init__(self, kinds: Mapping[str, int], constants: Mapping[str, Any], code: int) -> None:
        self.kinds, self.constants, self.code = kinds, constants, code
        self.stored: dict[str, int] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}
        self.made: set[str] = set()

    def give(self, name: str, code: int) -> str:
        """The name under which a value is to be had in this type."""
        if self.kinds.get(name) != TensorProto.FLOAT or self.stored.get(name, 1) == code:
            return name
        other = f"{name}.{'short' if code == self.code else 'full'}"
        if other in self.made:
            return other
        self.made.add(other)
        if name in self.constants:
            array = helper.make_tensor(
                other,
                code,
                self.constants[name].shape,
                _packed(self.constants[name], code),
                raw=True,
            )
            self.initialisers[other] = array
        else:
            self.nodes.append(helper.make_node("Cast", [name], [other], name=other, to=code))
        return other


def _packed(value: NDArray[Any], code: int) -> bytes:
    if code == TensorProto.FLOAT16:
        half: bytes = value.astype("<f2").tobytes()
        return half
    bits = np.ascontiguousarray(value, "<f4").view("<u4").astype(np.uint64)
    rounded = bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))  # to nearest even
    packed: bytes = (rounded >> np.uint64(16)).astype("<u2").tobytes()
    return packed


def mixed(model: onnx.ModelProto, chosen: Plan, short: Short = "fp16") -> onnx.ModelProto:
    """The strongly typed graph: chosen nodes take and give 16 bits, casts where types meet."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    constants = _constants(model.graph)
    cast = _Caster(types(model), constants, CODE[short])
    for index, node in enumerate(model.graph.node):
        code = CODE[short] if index in chosen.short else TensorProto.FLOAT
        new = onnx.NodeProto()
        new.CopyFrom(node)
        data = len(_data(node)) if node.op_type in DATA_INPUTS else len(node.input)
        for at, name in enumerate(node.input[:data]):
            new.input[at] = cast.give(name, code) if name else ""
        cast.nodes.append(new)
        if index in chosen.short:  # a settled result stays FP32 under its name; readers cast it
            cast.stored.update(dict.fromkeys(node.output, CODE[short]))
    del out.graph.node[:]
    out.graph.node.extend(cast.nodes)
    del out.graph.value_info[:]
    used = {name for node in cast.nodes for name in node.input} | set(_captured(model.graph))
    kept = [t for t in model.graph.initializer if t.name in used]
    del out.graph.initializer[:]
    out.graph.initializer.extend([*kept, *cast.initialisers.values()])
    try:
        onnx.checker.check_model(out, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportRefused(f"the mixed graph is not sound: {error}") from error
    return out


def rounded(model: onnx.ModelProto, chosen: Plan, short: Short = "fp16") -> onnx.ModelProto:
    """The FP32 graph with every 16-bit value and weight of the typed one rounded to 16 bits."""
    typed = mixed(model, chosen, short)
    out = onnx.ModelProto()
    out.CopyFrom(model)
    nodes: list[onnx.NodeProto] = []
    renamed: dict[str, str] = {}

    def shorten(name: str, to: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Cast", [name], [f"{to}.16"], to=CODE[short]),
            helper.make_node("Cast", [f"{to}.16"], [to], to=TensorProto.FLOAT),
        ]

    casts = {node.input[0] for node in typed.graph.node if node.name.endswith(".short")}
    weights = {t.name.removesuffix(".short") for t in typed.graph.initializer
               if t.name.endswith(".short")}  # fmt: skip
    for name in weights | (casts & {v.name for v in model.graph.input}):
        nodes.extend(shorten(name, f"{name}.rounded"))
        renamed[name] = f"{name}.rounded"
    for index, node in enumerate(model.graph.node):
        new = onnx.NodeProto()
        new.CopyFrom(node)
        short_node = index in chosen.short
        for at, name in enumerate(node.input):
            if short_node and name in renamed:
                new.input[at] = renamed[name]
        nodes.append(new)
        for at, name in enumerate(node.output):
            if name in chosen.kept and short_node:
                new.output[at] = f"{name}.exact"
                nodes.extend(shorten(f"{name}.exact", name))
            elif name in casts:
                nodes.extend(shorten(name, f"{name}.rounded"))
                renamed[name] = f"{name}.rounded"
    del out.graph.node[:]
    out.graph.node.extend(nodes)
    del out.graph.value_info[:]
    return out


def psnr_db(have: NDArray[Any], want: NDArray[Any]) -> float:
    """Peak signal to noise ratio; BEST_DB for equal pictures, minus infinity where one has a
    value that is not finite. The peak is 255 for bytes, 1 for floats."""
    peak = 255.0 if want.dtype == np.uint8 else 1.0
    error = float(np.mean((have.astype(np.float64) - want.astype(np.float64)) ** 2))
    if not np.isfinite(error):
        return float("-inf")
    return min(BEST_DB, 10 * float(np.log10(peak**2 / error))) if error > 0 else BEST_DB


def parity(
    model: onnx.ModelProto,
    chosen: Plan,
    frames: Frames,
    short: Short = "fp16",
    progress: Callable[[str], None] | None = None,
) -> Parity:
    """Runs the gate. frames should hold black, white and noise besides real ones."""
    changed = rounded(model, chosen, short)
    watched = [name for name in floats(changed) if name in chosen.kept]
    full, less = session(model), session(probe(changed, watched, ["ReduceSum"]))
    names = [value.name for value in model.graph.output]
    worst, finite = BEST_DB, True
    for number, frame in enumerate(frames):
        if progress:
            progress(f"{short} against fp32, frame {number + 1} of {len(frames)}")
        want = full.run(names, dict(frame))
        values = less.run([*names, *(f"{n}.finite" for n in watched)], dict(frame))
        have, sums = values[: len(names)], values[len(names) :]
        finite = finite and all(np.isfinite(total) for total in sums)
        worst = min(worst, *(psnr_db(a, b) for a, b in zip(have, want, strict=True)))
    return Parity(worst, finite)
