"""How much work a graph is: multiply-adds, bytes moved, and the time that a machine needs at least.

Counted as in the roofline of Williams, Waterman and Patterson (CACM 2009): FLOP of convolutions
and matrix products (element-wise work, sorting and scans are not counted), and bytes between
operators. `fused` is what an ideal compiler moves: inputs, weights and outputs of convolutions
and products alone; `unfused` is what one kernel an operator moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from engines.errors import BackendMissing, ModelInvalid
from engines.onnxfile import ITEM_BYTES

VIEWS = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Constant"}
)  # no byte moves
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """Of one run. flop: two for each multiply-add; *_bytes: moved."""

    flop: float
    fused_bytes: float
    unfused_bytes: float


@dataclass(frozen=True, slots=True)
class Peak:
    """What a machine can do at most. flops: in the precision of the products; bytes_s: of memory.
    source: where the figures are from."""

    flops: float
    bytes_s: float
    source: str

    def least_ms(self, work: Work) -> float:
        """No run can be quicker: the slower of computing and of moving the fused bytes."""
        return max(work.flop / self.flops, work.fused_bytes / self.bytes_s) * 1e3

    def bound(self, work: Work) -> str:
        computing = work.flop / self.flops >= work.fused_bytes / self.bytes_s
        return "computing" if computing else "memory"


# FP16 on tensor cores, dense; from the makers' data sheets
GPUS = {
    "NVIDIA GeForce RTX 4090": Peak(165e12, 1.008e12, "data sheet, FP16 with FP32 sums"),
    "NVIDIA H200": Peak(989e12, 4.8e12, "data sheet, FP16 dense"),
    "NVIDIA H100 80GB HBM3": Peak(989e12, 3.35e12, "data sheet, FP16 dense"),
}


def work_of(model: bytes) -> Work:
    """The work of a graph. Raises BackendMissing where onnx is not installed, ModelInvalid for a
    graph whose sizes are open."""
    try:
        import onnx
    except ImportError as error:
        raise BackendMissing(
            f"a roofline needs onnx ({error})", "install the extra `train`"
        ) from error
    loaded = onnx.load_from_string(model)
    graph = onnx.shape_inference.infer_shapes(loaded, data_prop=True).graph
    shapes: dict[str, tuple[Shape, int]] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        sides = tuple(dim.dim_value for dim in tensor.shape.dim)
        shapes[value.name] = sides, ITEM_BYTES.get(tensor.elem_type, 4)
    for constant in graph.initializer:
        shapes[constant.name] = tuple(constant.dims), ITEM_BYTES.get(constant.data_type, 4)
    flop = fused = unfused = 0.0
    for node in graph.node:
        names = [name for name in (*node.input, *node.output) if name in shapes]
        moved = sum(prod(shapes[name][0]) * shapes[name][1] for name in names)
        multiplied = _multiply_adds(node, shapes)
        flop += 2 * multiplied
        fused += moved if multiplied else 0
        unfused += 0 if node.op_type in VIEWS else moved
    return Work(flop, fused, unfused)


def _multiply_adds(node: Any, shapes: dict[str, tuple[Shape, int]]) -> float:
    def shape(name: str) -> Shape:
        if not all(shapes.get(name, ((0,), 0))[0]):
            raise ModelInvalid(f"the size of {name!r} is not fixed, so its work is not known")
        return shapes[name][0]

    kind = node.op_type
    if kind == "Conv":  # weights: out in/groups kh kw
        return float(prod(shape(node.output[0])) * prod(shape(node.input[1])[1:]))
    if kind == "ConvTranspose":  # weights: in out/groups kh kw
        return float(prod(shape(node.input[0])) * prod(shape(node.input[1])[1:]))
    if kind == "MatMul":
        return float(prod(shape(node.output[0])) * shape(node.input[0])[-1])
    if kind == "Gemm":
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return float(prod(shape(node.output[0])) * shape(node.input[0])[0 if turned else -1])
    if kind == "Einsum":
        (equation,) = (a.s.decode() for a in node.attribute if a.name == "equation")
        letters: dict[str, int] = {}
        for term, name in zip(equation.split("->")[0].split(","), node.input, strict=True):
            letters |= dict(zip(term.strip(), shape(name), strict=True))
        return float(prod(letters.values()))
    return 0.0
