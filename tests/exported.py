"""A network as the exporter and the compiler see it."""

from __future__ import annotations

import torch
from torch import nn


def assert_exportable(net: nn.Module, shape: tuple[int, ...]) -> None:
    """The exported program gives what eager gives, and the compiler takes the net as one graph.

    shape: of the input, b c h w.
    """
    net = net.eval().double()
    picture = torch.rand(shape, generator=torch.Generator().manual_seed(9)).double()
    with torch.inference_mode():
        eager = net(picture)
    with torch.no_grad():
        exported = torch.export.export(net, (picture,)).module()(picture)
        torch.compiler.reset()
        compiled = torch.compile(net, backend="eager", fullgraph=True)(picture)
    assert torch.allclose(exported, eager, rtol=0, atol=1e-9 * float(eager.abs().max()))
    assert torch.allclose(compiled, eager, rtol=0, atol=1e-9 * float(eager.abs().max()))
