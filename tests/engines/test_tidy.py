"""An exported graph is made small without changing what it computes, and in linear time."""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from onnx import ModelProto
from torch import nn

from engines.tidy import RULES, tidy


class Wasteful(nn.Module):
    """Steps that cancel, a constant to compute, a norm to merge and halves to split."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x * 1 + 0))
        first, second = x.chunk(2, dim=1)
        scale = torch.arange(8, dtype=torch.float32).reshape(2, 4).sum(0).view(1, 4, 1, 1)
        x = (first * scale + second).permute(0, 2, 3, 1).permute(0, 3, 1, 2)
        return x.reshape(1, -1).reshape(1, 4, *x.shape[2:])


def graph(net: nn.Module, x: torch.Tensor) -> ir.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net, (x,), dynamo=True, verbose=False, opset_version=20, optimize=False
        )
    assert program is not None
    return program.model


def run(model: ModelProto, x: torch.Tensor) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    out: np.ndarray = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    return out


def test_a_graph_is_smaller_and_says_the_same() -> None:
    torch.manual_seed(0)
    net, x = Wasteful().eval(), torch.rand(1, 4, 6, 8)
    with torch.no_grad():
        net.norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    model = graph(net, x)
    before = ir.to_proto(model)
    tidy(model)
    after = ir.to_proto(model)
    np.testing.assert_allclose(run(after, x), run(before, x), atol=1e-5)
    kinds = [node.op_type for node in after.graph.node]
    assert kinds.count("Conv") == kinds.count("Split") == kinds.count("Add") == 1
    assert "BatchNormalization" not in kinds and "Transpose" not in kinds
    assert len(kinds) < len(before.graph.node)
    assert not after.functions


def test_no_rule_looks_at_pairs_of_nodes() -> None:
    # one with two results is tried on every pair of a graph, for every node of it
    assert len(RULES) > 30
    assert [rule.name for rule in RULES if not rule._target_pattern.has_single_output_node] == []
