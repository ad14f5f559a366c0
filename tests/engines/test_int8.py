"""Eight bits beside thirty-two: what is measured, and when it would be worth it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.engine import Array
from engines.int8 import Outcome, compare, quantised


def convolution(amount: float) -> bytes:
    """x + amount * conv(x), 1 3 8 8; eight bits round the convolution."""
    weight = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["c", "a"], ["m"]),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    values = [numpy_helper.from_array(weight, "w"),
              numpy_helper.from_array(np.float32(amount), "a")]  # fmt: skip
    shape = (1, 3, 8, 8)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)], values,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def feeds(count: int) -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.random((1, 3, 8, 8), np.float32)} for _ in range(count)]


def test_the_convolutions_are_quantised() -> None:
    graph = onnx.load_from_string(quantised(convolution(1.0), feeds(4))).graph
    kinds = {node.op_type for node in graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


def test_the_difference_is_that_of_the_rounding() -> None:
    many = feeds(8)
    coarse = compare(convolution(1.0), many[:4], many[4:], 1e-2)
    fine = compare(convolution(1e-4), many[:4], many[4:], 1e-2)
    assert 1e-2 < coarse.worst["y"] < 0.5
    assert not coarse.lossless
    assert fine.worst["y"] < coarse.worst["y"] / 10
    assert fine.lossless
    assert coarse.fp32_ms > 0
    assert coarse.int8_ms > 0


@pytest.mark.parametrize(
    ("int8_ms", "worst", "word"),
    [(4.0, 0.001, "worth it"), (4.0, 0.1, ": no"), (9.0, 0.001, ": no")],
)
def test_it_is_worth_it_only_if_quicker_and_lossless(
    int8_ms: float, worst: float, word: str
) -> None:
    outcome = Outcome(fp32_ms=8.0, int8_ms=int8_ms, worst={"a": 0.0, "b": worst}, tolerance=0.002)
    assert word in outcome.line()
    assert "in b" in outcome.line()
