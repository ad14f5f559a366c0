"""Shared batch normalisation, alone and in a group of one; two are in tests/two_processes.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from trainer.fit.norm import SharedBatchNorm, share_statistics


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_one_process_keeps_torchs_own() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3))
    share_statistics(net)
    assert type(net[0]) is nn.BatchNorm2d


@pytest.mark.parametrize("momentum", [0.1, None])
def test_it_does_what_torchs_own_does(group: None, momentum: float | None) -> None:
    torch.manual_seed(1)
    own = nn.BatchNorm2d(4, momentum=momentum).double()
    nn.init.normal_(own.weight)
    nn.init.normal_(own.bias)
    shared = SharedBatchNorm(4, momentum=momentum).double()
    shared.load_state_dict(own.state_dict())
    for _ in range(3):
        x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        a, b = own(x), shared(y)
        assert torch.allclose(a, b, atol=1e-12)
        a.square().sum().backward()
        b.square().sum().backward()
        assert x.grad is not None and y.grad is not None
        assert torch.allclose(x.grad, y.grad, atol=1e-9)
    for key, value in own.state_dict().items():
        assert torch.allclose(value, shared.state_dict()[key]), key
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    assert torch.allclose(own.eval()(x), shared.eval()(x))
