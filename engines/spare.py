"""Which operators go back to FP32 where a plan in 16 bits fails its gate, by measurement.

A plan (engines/half.py) goes by operators and ranges. Where that loses more than the gate allows,
each stretch of the graph is rounded alone and its loss at the output measured; the losses of
stretches add up nearly, since roundings know nothing of each other. Those that lose most for what
they cost go back to FP32 until the gate passes. A product costs more than the steps between, which
is where most of the time goes: a network that would need half of its products back is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.half import (
    CODE,
    COMPUTE,
    DATA_INPUTS,
    PARITY_DB,
    Frames,
    Largest,
    Parity,
    Plan,
    Short,
    parity,
    plan,
    session,
    types,
)

DIAL = "which nodes round"
RUNS = 64  # of the graph, to find what loses most
FEWEST = 4  # nodes of a stretch that is not halved any more
PRODUCT_COST = 8.0  # of a convolution or matrix product, in other nodes
ROUNDS = 4  # plans that are tried
MARGIN_DB = 0.3  # asked beyond what the last plan lacked
MOST_PRODUCTS = 0.5  # that may go back

Frame = Mapping[str, NDArray[Any]]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Nodes next to each other (by index), and the mean square they alone add to the output."""

    nodes: tuple[int, ...]
    loss: float


def passing(
    model: onnx.ModelProto,
    largest: Largest,
    frames: Frames,
    short: Short = "fp16",
    progress: Progress | None = None,
) -> tuple[Plan, Parity]:
    """A plan that passes its gate, and how; or the plain one, with the gate it did not pass."""
    plain = plan(model, largest, short)
    first = parity(model, plain, frames, short, progress)
    if first.passed or not first.finite:
        return plain, first
    if progress:
        progress(f"{first.psnr_db:.1f} dB: looking for what loses most")
    products = {i for i in plain.short if model.graph.node[i].op_type in COMPUTE}
    parts = stretches(model, plain, frames, short)
    wanted_db = PARITY_DB + MARGIN_DB
    for _ in range(ROUNDS):
        back = pick(model, parts, first.psnr_db, wanted_db)
        if len(back & products) > MOST_PRODUCTS * len(products):
            break
        careful = plan(model, largest, short, back)
        result = parity(model, careful, frames, short, progress)
        if result.passed:
            return careful, result
        wanted_db += PARITY_DB - result.psnr_db + MARGIN_DB
    return plain, first


def pick(
    model: onnx.ModelProto, parts: Collection[Stretch], plain_db: float, wanted_db: float
) -> set[int]:
    """The nodes to take back so that a plan of plain_db comes to wanted_db, cheapest first."""

    def cost(part: Stretch) -> float:
        heavy = sum(model.graph.node[i].op_type in COMPUTE for i in part.nodes)
        return len(part.nodes) + (PRODUCT_COST - 1) * heavy

    left = total = sum(part.loss for part in parts)
    allowed = total * 10 ** ((plain_db - wanted_db) / 10)
    back: set[int] = set()
    for part in sorted(parts, key=lambda part: part.loss / cost(part), reverse=True):
        if left <= allowed:
            break
        back.update(part.nodes)
        left -= part.loss
    return back


def stretches(
    model: onnx.ModelProto, chosen: Plan, frames: Frames, short: Short, runs: int = RUNS
) -> list[Stretch]:
    """All short nodes in stretches, products apart from the steps between; whatever loses most is
    halved, as long as `runs` runs of the graph last. Judged on the frame that loses most."""
    numbers = sorted(chosen.short)
    run = Roundings(model, chosen, short)
    frame = max(frames, key=lambda frame: run.loss(numbers, frame))

    def weighed(nodes: list[int]) -> tuple[float, tuple[int, ...]]:
        return -run.loss(nodes, frame), tuple(nodes)  # a heap gives its least

    products = [i for i in numbers if model.graph.node[i].op_type in COMPUTE]
    others = [i for i in numbers if model.graph.node[i].op_type not in COMPUTE]
    heap = [weighed(part) for part in (products, others) if part]
    heapify(heap)
    done: list[tuple[float, tuple[int, ...]]] = []
    while heap and run.count + 2 <= runs:
        part = heappop(heap)
        if len(part[1]) <= FEWEST:
            done.append(part)
            continue
        middle = len(part[1]) // 2
        for half in (part[1][:middle], part[1][middle:]):
            heappush(heap, weighed(list(half)))
    return [Stretch(nodes, -loss) for loss, nodes in [*done, *heap]]


class Roundings:
    """The FP32 graph in which any set of a plan's nodes rounds its results, and what it reads of
    nodes outside the plan, to 16 bits."""

    def __init__(self, model: onnx.ModelProto, chosen: Plan, short: Short) -> None:
        self.count = 0  # runs so far
        self.place = {node: at for at, node in enumerate(sorted(chosen.short))}
        self.run = session(switched(model, chosen, short))
        self.exact: dict[int, list[NDArray[Any]]] = {}

    def answer(self, nodes: Collection[int], frame: Frame) -> list[NDArray[Any]]:
        dial = np.zeros(len(self.place), np.bool_)
        dial[[self.place[node] for node in nodes]] = True
        self.count += 1
        out: list[NDArray[Any]] = self.run.run(None, {**frame, DIAL: dial})
        return out

    def loss(self, nodes: Collection[int], frame: Frame) -> float:
        """Mean square that these nodes alone add to the worse output; infinite where one
        overflows."""
        if id(frame) not in self.exact:
            self.exact[id(frame)] = self.answer((), frame)
        want, have = self.exact[id(frame)], self.answer(nodes, frame)
        squares = [float(np.mean((a - b) ** 2)) for a, b in zip(have, want, strict=True)]
        return max(square if np.isfinite(square) else float("inf") for square in squares)


def switched(model: onnx.ModelProto, chosen: Plan, short: Short) -> onnx.ModelProto:
    """The graph of `Roundings`. Its outputs are those of the model before they become bytes, on
    which a small loss could not be seen."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph, kinds = out.graph, types(model)
    made = {n for i in chosen.short for n in model.graph.node[i].output}
    nodes: list[onnx.NodeProto] = []
    rounded: set[str] = set()

    def either(name: str, result: str, on: str) -> None:
        if name not in rounded:
            rounded.add(name)
            less = helper.make_node("Cast", [name], [f"{name}.16"], to=CODE[short])
            more = helper.make_node("Cast", [f"{name}.16"], [f"{name}.r"], to=TensorProto.FLOAT)
            nodes.extend([less, more])
        nodes.append(helper.make_node("Where", [on, f"{name}.r", name], [result]))

    for at, index in enumerate(sorted(chosen.short)):
        number = numpy_helper.from_array(np.array(at, np.int64), f"{DIAL} {index} at")
        graph.initializer.append(number)
    for index, node in enumerate(model.graph.node):
        new = onnx.NodeProto()
        new.CopyFrom(node)
        if index not in chosen.short:
            nodes.append(new)
            continue
        on = f"{DIAL} {index}"
        nodes.append(helper.make_node("Gather", [DIAL, f"{on} at"], [on]))
        for at, name in enumerate(node.input[: DATA_INPUTS.get(node.op_type)]):
            if kinds.get(name) == TensorProto.FLOAT and name not in made:
                new.input[at] = f"{name} for {index} {at}"
                either(name, new.input[at], on)
        nodes.append(new)
        for at, name in enumerate(node.output):
            if name in chosen.kept:
                new.output[at] = f"{name}.exact"
                either(new.output[at], name, on)
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info(DIAL, TensorProto.BOOL, [len(chosen.short)]))
    for value in model.graph.output:
        name = before_bytes(model.graph, value.name)
        graph.output.append(helper.make_tensor_value_info(name, kinds[name], None))
    return out


def before_bytes(graph: onnx.GraphProto, name: str) -> str:
    """The value that is rounded to an output; the output itself where none is."""
    makers = {result: node for node in graph.node for result in node.output}
    at: str = name
    while at in makers:
        node = makers[at]
        at = node.input[0]
        if node.op_type == "Round":
            return at
        if node.op_type not in ("Cast", "Clip", "Transpose", "Reshape", "Squeeze"):
            break
    return name
