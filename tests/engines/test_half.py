"""What may run in 16 bits, what must not, and a gate that sees the difference."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from nets import SIZE, small
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.errors import ExportRefused
from engines.export import noise, pattern
from engines.half import (
    BEST_DB,
    CODE,
    FP16_MAX,
    HEADROOM,
    PARITY_DB,
    PROBES,
    Parity,
    Plan,
    _packed,
    floats,
    mixed,
    parity,
    plan,
    probe,
    psnr_db,
    ranges,
    rounded,
    session,
    types,
)

FRAMES = [
    {"frame": frame}
    for frame in (
        pattern(SIZE, 3),
        noise(SIZE, 4),
        np.zeros((1, *SIZE, 3), np.uint8),
        np.full((1, *SIZE, 3), 255, np.uint8),
    )
]


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return onnx.load_from_string(small()[1])


@pytest.fixture(scope="module")
def chosen(graph: onnx.ModelProto) -> Plan:
    return plan(graph, ranges(graph, FRAMES))


def line(*nodes: tuple[str, list[str], str], **constants: Any) -> onnx.ModelProto:
    """A chain of nodes from x to y, float32 of 4 values."""
    made = [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in nodes]
    return helper.make_model(
        helper.make_graph(
            made,
            "line",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))],
            [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def feed(*values: float) -> list[dict[str, NDArray[Any]]]:
    return [{"x": np.array([values], np.float32)}]


def operators(model: onnx.ModelProto, indices: set[int]) -> set[str]:
    return {model.graph.node[i].op_type for i in indices}


def test_ranges_are_what_the_values_reach() -> None:
    model = line(("Mul", ["x", "k"], "a"), ("Exp", ["a"], "y"), k=3.0)
    found = ranges(model, feed(1, -2, 0.5, 0))
    assert found["a"] == 6.0
    assert found["y"] == pytest.approx(np.exp(3.0), rel=1e-6)
    assert ranges(model, feed(40, 0, 0, 0))["y"] == float("inf")


def test_a_value_is_probed_at_once_so_that_none_is_kept() -> None:
    # with the probes at the end, every map of a network is in memory together
    _, model = small()
    graph = onnx.load_from_string(model)
    names = floats(graph)
    assert len(names) > 3
    fresh, probed = set[str](), list[str]()
    for node in probe(graph, names).graph.node:
        if node.input[0] in fresh and node.op_type in PROBES:
            probed.append(node.input[0])
        else:
            fresh = set(node.output)
    assert sorted(probed) == sorted(names * len(PROBES))
    assert session(graph).get_session_options().execution_order.name == "PRIORITY_BASED"


def test_products_are_short_and_fragile_operators_are_not(
    graph: onnx.ModelProto, chosen: Plan
) -> None:
    every = set(range(len(graph.graph.node)))
    short, full = operators(graph, chosen.short), operators(graph, every - chosen.short)
    assert {"Conv", "MatMul", "Gelu"} <= short
    assert {"LayerNormalization", "Softmax", "ReduceL2"} <= full
    assert not {"LayerNormalization", "Softmax", "ReduceL2", "Exp", "Sqrt"} & short


def test_the_typed_graph_is_sound_and_keeps_its_contract(
    graph: onnx.ModelProto, chosen: Plan
) -> None:
    typed = mixed(graph, chosen)
    assert [v.name for v in typed.graph.input] == ["frame"]
    assert typed.graph.output[0].type.tensor_type.elem_type == TensorProto.UINT8
    kinds = types(typed)
    for node in typed.graph.node:
        inputs = {kinds[n] for n in node.input if n} & {TensorProto.FLOAT, TensorProto.FLOAT16}
        if node.op_type == "Conv":
            assert inputs == {TensorProto.FLOAT16}
        if node.op_type in ("LayerNormalization", "Softmax", "ReduceL2"):
            assert inputs == {TensorProto.FLOAT}
    assert len(typed.SerializeToString()) < len(graph.SerializeToString()) * 1.2
    have = session(typed).run(None, FRAMES[0])[0]
    want = session(graph).run(None, FRAMES[0])[0]
    assert psnr_db(have, want) > PARITY_DB


def test_the_gate_passes_a_sound_plan_and_really_rounds(
    graph: onnx.ModelProto, chosen: Plan
) -> None:
    result = parity(graph, chosen, FRAMES)
    assert result.passed
    assert result.psnr_db >= PARITY_DB
    # the rounding is there: 16-bit values differ from FP32 ones before the last rounding
    less, full = rounded(graph, chosen), graph
    name = next(n.output[0] for i, n in enumerate(graph.graph.node) if i in chosen.short)
    values = []
    for model in (less, full):
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        values.append(session(watched).run([name], FRAMES[1])[0])
    np.testing.assert_array_equal(values[0], values[0].astype(np.float16).astype(np.float32))
    assert (values[1] != values[1].astype(np.float16).astype(np.float32)).any()


def test_the_gate_stops_an_overflow() -> None:
    # FP32 carries 300^3 and comes back; FP16 does not
    model = line(
        ("MatMul", ["x", "eye"], "a"), ("Mul", ["a", "k"], "b"), ("Mul", ["b", "k"], "c"),
        ("Mul", ["c", "k"], "d"), ("Div", ["d", "kkk"], "y"),
        eye=np.eye(4), k=300.0, kkk=300.0**3,
    )  # fmt: skip
    frames = feed(1, 2, 3, 4)
    every = Plan(short={0, 1, 2, 3}, kept={"a", "b", "c", "d"})
    result = parity(model, every, frames)
    assert not result.finite
    assert not result.passed
    careful = plan(model, ranges(model, frames))
    assert careful.short == {0, 1}  # 4 * 300 is within the headroom, 4 * 300^2 is not
    assert parity(model, careful, frames).passed
    assert any("reaches" in why for reasons in careful.reasons.values() for why in reasons)


def test_headroom_is_kept() -> None:
    model = line(("MatMul", ["x", "eye"], "a"), ("Exp", ["a"], "y"), eye=np.eye(4))
    near, over = FP16_MAX / HEADROOM * 0.99, FP16_MAX / HEADROOM * 1.01
    assert plan(model, {"a": near, "y": 1.0}).short == {0}
    assert plan(model, {"a": over, "y": 1.0}).short == set()
    assert plan(model, {"a": float("inf"), "y": 1.0}).short == set()
    assert plan(model, {"a": float("nan"), "y": 1.0}).short == set()
    assert plan(model, {"a": 1e9, "y": 1.0}, "bf16").short == {0}  # bf16 reaches as far as fp32


@pytest.mark.parametrize(
    ("constant", "short"),
    [(1.0, True), (1e-12, False), (1e-5, False), (1e6, False), (0.0, True)],
)
def test_an_epsilon_that_fp16_cannot_hold_keeps_its_operator(constant: float, short: bool) -> None:
    model = line(
        ("MatMul", ["x", "eye"], "a"), ("Max", ["a", "eps"], "b"), ("Exp", ["b"], "y"),
        eye=np.eye(4), eps=constant,
    )  # fmt: skip
    found = plan(model, {"a": 1.0, "b": 1.0, "y": 3.0})
    assert (1 in found.short) is short


def test_a_weight_over_the_range_keeps_its_operator() -> None:
    heavy = np.eye(8)[:4] @ np.eye(8, 4) * 1e5
    model = line(("MatMul", ["x", "w"], "a"), ("Exp", ["a"], "y"), w=heavy)
    assert plan(model, {"a": 1.0, "y": 1.0}).short == set()


def test_squares_and_quotients_stay_whole() -> None:
    model = line(
        ("MatMul", ["x", "eye"], "a"), ("Mul", ["a", "a"], "b"), ("Div", ["a", "b"], "c"),
        ("Exp", ["c"], "y"), eye=np.eye(4),
    )  # fmt: skip
    assert plan(model, dict.fromkeys("abcy", 1.0)).short == {0}


def test_a_result_of_the_graph_keeps_its_type() -> None:
    model = line(("MatMul", ["x", "eye"], "y"), eye=np.eye(4))
    chosen = plan(model, {"y": 1.0})
    assert chosen.short == set()
    assert mixed(model, chosen).graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_a_graph_with_wrong_types_is_refused() -> None:
    model = line(("MatMul", ["x", "eye"], "a"), ("Exp", ["a"], "y"), eye=np.eye(4))
    model.graph.node[1].op_type = "And"
    with pytest.raises(ExportRefused):
        mixed(model, Plan(short={0}, kept={"a"}))


def test_bf16_is_rounded_to_nearest_even() -> None:
    values = np.random.default_rng(0).normal(size=4096).astype(np.float32) * 1e3
    want = values.astype(ml_dtypes.bfloat16)
    have = np.frombuffer(_packed(values, CODE["bf16"]), ml_dtypes.bfloat16)
    np.testing.assert_array_equal(have, want)


def test_equal_pictures_are_best_and_one_level_is_known() -> None:
    black, grey = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    assert psnr_db(black, black) == BEST_DB
    assert psnr_db(black, grey) == pytest.approx(48.13, abs=0.01)
    assert psnr_db(black / 1.0, grey / 255.0) == pytest.approx(48.13, abs=0.01)
    assert psnr_db(black / 1.0, np.full((4, 4), np.nan)) == float("-inf")
    assert Parity(PARITY_DB, True).passed
    assert not Parity(PARITY_DB - 0.1, True).passed
    assert not Parity(BEST_DB, False).passed
