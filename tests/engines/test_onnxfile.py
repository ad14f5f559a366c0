"""The reader agrees with the onnx package on good models and survives any bytes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from bundles import SHAPE, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engines.errors import ModelInvalid
from engines.onnxfile import External, inspect

TINY = tiny_model().SerializeToString()


def test_it_agrees_with_onnx() -> None:
    facts = inspect(TINY)
    model = onnx.load_from_string(TINY)
    assert facts.opset == model.opset_import[0].version == 20
    assert facts.operators == dict(Counter(node.op_type for node in model.graph.node))
    assert facts.nodes == 4
    assert facts.inputs == ("frame",)
    assert facts.outputs == ("restored",)
    assert facts.external == []


def test_external_data_is_described_not_followed() -> None:
    model = tiny_model()
    gain = model.graph.initializer[0]
    gain.ClearField("raw_data")
    gain.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "64", "length": "12"}.items():
        gain.external_data.add(key=key, value=value)
    facts = inspect(model.SerializeToString())
    assert facts.external == [External("gain", "w.bin", 64, 12, TensorProto.FLOAT, (3,))]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64, np.bool_, np.int32])
def test_initialisers_of_any_type(dtype: type[np.generic]) -> None:
    model = tiny_model()
    model.graph.initializer.append(numpy_helper.from_array(np.ones((2, 3), dtype), "extra"))
    assert inspect(model.SerializeToString()).nodes == 4


def test_inner_graphs_see_outer_names() -> None:
    inner = helper.make_graph(
        [helper.make_node("Mul", ["light", "gain"], ["y"])],
        "inner", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
    )  # fmt: skip
    model = tiny_model()
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    graph.node.insert(1, helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    assert inspect(model.SerializeToString()).operators["If"] == 1
    inner.node[0].input[0] = "more"  # made later, outside
    del graph.node[1]
    graph.node.insert(1, helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    with pytest.raises(ModelInvalid, match="more"):
        inspect(model.SerializeToString())


@given(st.binary(max_size=256))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    with pytest.raises(ModelInvalid):
        inspect(data)


@given(st.integers(0, len(TINY) - 1), st.integers(1, 255))
def test_a_changed_byte_is_read_or_refused_and_never_worse(at: int, change: int) -> None:
    data = bytearray(TINY)
    data[at] ^= change
    try:
        facts = inspect(bytes(data))
    except ModelInvalid:
        return
    assert facts.nodes > 0


def test_an_output_that_nothing_makes_is_refused() -> None:
    model = tiny_model()
    model.graph.output[0].name = "nothing"
    with pytest.raises(ModelInvalid, match="nothing makes the output"):
        inspect(model.SerializeToString())
