"""The work of a graph is torch's own count, and the least time follows from it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from bundles import tiny_model
from nets import SIZE, small
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from engines.errors import ModelInvalid
from engines.export import Deployed, noise
from engines.work import GPUS, Peak, Work, work_of


def graph(nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]],
          shape: tuple[int, ...], out: tuple[int, ...]) -> bytes:  # fmt: skip
    values = [
        numpy_helper.from_array(np.zeros(sides, np.float32), name)
        for name, sides in weights.items()
    ]
    made = helper.make_graph(
        nodes,
        "work",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        values,
    )
    opset = [helper.make_opsetid("", 20)]
    model: bytes = helper.make_model(made, opset_imports=opset).SerializeToString()
    return model


def test_a_network_is_as_much_work_as_torch_says() -> None:
    net, model = small()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Deployed(net)(torch.from_numpy(noise(SIZE, 1)))
    work = work_of(model)
    assert work.flop == counter.get_total_flops()
    assert work.fused_bytes < work.unfused_bytes


def test_each_product_is_counted() -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1])
    work = work_of(graph([conv], {"w": (4, 2, 3, 3)}, (1, 4, 5, 6), (1, 4, 5, 6)))
    assert work.flop == 2 * 4 * 5 * 6 * 2 * 9
    assert work.fused_bytes == work.unfused_bytes == 4 * (120 + 72 + 120)
    turned = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    work = work_of(graph([turned], {"w": (4, 3, 2, 2)}, (1, 4, 5, 6), (1, 3, 10, 12)))
    assert work.flop == 2 * 120 * 3 * 4
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)
    assert work_of(graph([gemm], {"w": (7, 5)}, (7, 3), (3, 5))).flop == 2 * 3 * 5 * 7
    einsum = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bik")
    assert work_of(graph([einsum], {"w": (4, 6)}, (2, 3, 4), (2, 3, 6))).flop == 2 * 2 * 3 * 4 * 6


def test_views_move_nothing_and_element_wise_work_is_no_product() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["light"]),
        helper.make_node("Flatten", ["light"], ["y"]),
    ]
    work = work_of(graph(nodes, {}, (2, 3, 4), (2, 12)))
    assert work == Work(0.0, 0.0, 4 * 48)


def test_open_sizes_are_refused() -> None:
    model = onnx.load_from_string(small()[1])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "h"
    del model.graph.value_info[:]
    with pytest.raises(ModelInvalid, match="not fixed"):
        work_of(model.SerializeToString())


def test_nothing_is_multiplied_by_a_gain() -> None:
    assert work_of(tiny_model().SerializeToString()).flop == 0


def test_the_slower_of_computing_and_moving_is_the_least_time() -> None:
    peak = Peak(1e12, 1e9, "made up")
    assert peak.least_ms(Work(2e9, 1e6, 0)) == pytest.approx(2.0)
    assert peak.bound(Work(2e9, 1e6, 0)) == "computing"
    assert peak.least_ms(Work(2e9, 5e6, 0)) == pytest.approx(5.0)
    assert peak.bound(Work(2e9, 5e6, 0)) == "memory"


def test_the_target_is_in_the_table() -> None:
    """FocalNet at 720p on an RTX 4090: 768 GFLOP, 4.7 ms at the least."""
    peak = GPUS["NVIDIA GeForce RTX 4090"]
    assert peak.least_ms(Work(768e9, 3.8e9, 9e9)) == pytest.approx(4.65, abs=0.05)
