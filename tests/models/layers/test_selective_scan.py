"""The selective scan against the recurrence, one step after the other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.layers.selective_scan import CHUNK, selective_scan

Inputs = tuple[torch.Tensor, ...]


def one_by_one(*inputs: torch.Tensor) -> torch.Tensor:
    """The definition, in float64."""
    u, delta, a, b, c, d = (x.double() for x in inputs)
    state = u.new_zeros(*u.shape[:3], a.shape[-1])
    out = []
    for t in range(u.shape[-1]):
        decay = (delta[..., t, None] * a).exp()
        state = decay * state + (delta * u)[..., t, None] * b[..., t].unsqueeze(-2)
        out.append((state * c[..., t].unsqueeze(-2)).sum(-1))
    return torch.stack(out, -1) + d.unsqueeze(-1) * u


def inputs(
    length: int, *, groups: int = 2, channels: int = 3, states: int = 4, batch: int = 2
) -> Inputs:
    make = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make, dtype=torch.float64)

    return (
        normal(batch, groups, channels, length),
        F.softplus(normal(batch, groups, channels, length)),
        -normal(groups, channels, states).exp(),
        normal(batch, groups, states, length),
        normal(batch, groups, states, length),
        normal(groups, channels),
    )


def off_by(ours: torch.Tensor, want: torch.Tensor) -> float:
    return float((ours - want).abs().max() / want.std())


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK**2, CHUNK**2 + 5])
def test_any_length_is_the_recurrence(length: int) -> None:
    given = inputs(length)
    assert torch.allclose(selective_scan(*given), one_by_one(*given), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("doubling", [False, True])
@pytest.mark.parametrize("chunk", [2, 3, 16, 1000])
def test_the_chunk_and_the_form_change_nothing(chunk: int, doubling: bool) -> None:
    given = inputs(100)
    ours = selective_scan(*given, chunk=chunk, doubling=doubling)
    assert torch.allclose(ours, one_by_one(*given), rtol=1e-12, atol=1e-12)


def test_a_graph_holds_few_steps() -> None:
    """Every step is a handful of nodes, and a network has some twenty scans."""

    class Scan(nn.Module):
        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            return selective_scan(*given)

    given = inputs(6231, batch=1)
    program = torch.export.export(Scan(), given)
    assert torch.allclose(program.module()(*given), selective_scan(*given), rtol=1e-9, atol=1e-9)
    steps = [n for n in program.graph.nodes if n.op == "call_function"]
    assert len(steps) < 600


def test_float32_holds_over_a_long_memory() -> None:
    """Four levels of chunks; steps so small that the first element is still felt at the end."""
    u, delta, a, b, c, d = inputs(CHUNK**3 + 7, groups=1, channels=1, states=2, batch=1)
    given = (u, delta * 1e-5, a, b, c, d * 0)
    want = one_by_one(*given)
    assert off_by(selective_scan(*(x.float() for x in given)), want) < 1e-4
    first = torch.zeros_like(u)
    first[..., 0] = 1
    late = selective_scan(first, delta * 1e-5, a, b.abs(), c.abs(), d * 0)[..., -1]
    assert (late > 1e-9).all()


@pytest.mark.parametrize("doubling", [False, True])
@pytest.mark.parametrize("strength", [0.0, 1e-30, 1e3, 1e30])
def test_extreme_decays_stay_finite_and_right(strength: float, doubling: bool) -> None:
    """From a state that never fades to one that is gone at the next step: products of decays
    underflow to 0 within a chunk, where dividing by them would give NaN."""
    u, delta, a, b, c, d = inputs(3 * CHUNK)
    given = (u, delta, a * strength, b, c, d)
    ours = selective_scan(*(x.float() for x in given), doubling=doubling)
    assert ours.isfinite().all()
    assert off_by(ours, one_by_one(*given)) < 1e-5


def test_steps_of_mixed_size_in_one_chunk() -> None:
    u, delta, a, b, c, d = inputs(5 * CHUNK)
    delta = delta * 10.0 ** torch.linspace(-12, 6, delta.shape[-1], dtype=torch.float64)
    given = (u, delta[..., torch.randperm(5 * CHUNK)], a, b, c, d)
    ours = selective_scan(*(x.float() for x in given))
    assert off_by(ours, one_by_one(*given)) < 1e-5


def test_gradients_are_those_of_the_recurrence() -> None:
    given = tuple(x.requires_grad_() for x in inputs(2 * CHUNK + 3))
    weight = torch.randn(given[0].shape, dtype=torch.float64)
    ours = torch.autograd.grad((selective_scan(*given) * weight).sum(), given)
    want = torch.autograd.grad((one_by_one(*given) * weight).sum(), given)
    for mine, theirs in zip(ours, want, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_gradients_survive_extreme_decays() -> None:
    u, delta, a, b, c, d = (x.float() for x in inputs(3 * CHUNK))
    given = tuple(x.requires_grad_() for x in (u, delta, a * 1e4, b, c, d))
    for gradient in torch.autograd.grad(selective_scan(*given).sum(), given):
        assert gradient.isfinite().all()


def test_half_precision_is_scanned_in_float32() -> None:
    given = inputs(300)
    short = tuple(x.half() for x in given)
    ours = selective_scan(*short)
    assert ours.dtype == torch.float16
    exact = one_by_one(*short)
    assert off_by(ours, exact) < 2e-3  # the rounding of the result alone
