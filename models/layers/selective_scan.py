"""The selective scan of Mamba in chunks that run side by side.

Paper: A. Gu, T. Dao: "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
equation 2 and section 3.3. Shared by MambaIR and MambaIRv2. Per channel d and state n,

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t        y_t = sum_n C_t h_t + D u_t

A sequence of length l is cut into l / CHUNK chunks. Every chunk runs from a zero state, all of
them at once; the states at the chunk ends obey the same recurrence with the chunks' summed delta,
so the states that enter the chunks come from the same scan on a sequence CHUNK times shorter; a
second run from those states gives the outputs. That is about 2 CHUNK log(l) / log(CHUNK) steps
whatever the picture, and states of length l are never stored.

Stability: decays are only ever exp(A sum(delta)) with A <= 0 and delta >= 0, computed from the
sum of the steps that they span. They lie in [0, 1], may underflow to 0, and nothing is divided.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

CHUNK = 32


def _slots(x: torch.Tensor, chunk: int) -> tuple[torch.Tensor, ...]:
    """... l -> `chunk` tensors ... k, slot t holding the t-th element of each of the k chunks.

    Short sequences are padded by zeros: delta 0 keeps the state, input 0 adds nothing.
    """
    count = -(-x.shape[-1] // chunk)
    x = F.pad(x, (0, count * chunk - x.shape[-1])).view(*x.shape[:-1], count, chunk)
    slots: tuple[torch.Tensor, ...] = x.movedim(-1, 0).contiguous().unbind(0)
    return slots


def _unslot(slots: list[torch.Tensor], length: int) -> torch.Tensor:
    """Undoes `_slots`."""
    return torch.stack(slots, dim=-1).flatten(-2)[..., :length]


def _advance(
    state: torch.Tensor, a: torch.Tensor, delta: torch.Tensor, add: torch.Tensor
) -> torch.Tensor:
    """One step of every chunk: state, add b g d n k; a g d n 1; delta b g d k."""
    return torch.addcmul(add, (a * delta.unsqueeze(-2)).exp(), state)


def _entering(a: torch.Tensor, delta: torch.Tensor, add: torch.Tensor, chunk: int) -> torch.Tensor:
    """States before each of k steps, from zero: a g d n 1, delta b g d k, add b g d n k."""
    length = add.shape[-1]
    deltas, adds = _slots(delta, chunk), _slots(add, chunk)
    state = torch.zeros_like(adds[0])
    if length > chunk:
        for d, x in zip(deltas, adds, strict=True):
            state = _advance(state, a, d, x)
        state = _entering(a, torch.stack(deltas).sum(0), state, chunk)
    out = []
    for d, x in zip(deltas, adds, strict=True):
        out.append(state)
        state = _advance(state, a, d, x)
    return _unslot(out, length)


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    d: torch.Tensor,
    *,
    chunk: int = CHUNK,
) -> torch.Tensor:
    """y, in the shape and type of u; computed in float32 at least.

    u: batch groups channels length; delta: the same, positive; a: groups channels states, not
    positive; b, c: batch groups states length; d: groups channels. Each group of channels has
    its own b and c.
    """
    kind, length = u.dtype, u.shape[-1]
    precise = torch.promote_types(kind, torch.float32)
    u, delta, a, b, c, d = (x.to(precise) for x in (u, delta, a, b, c, d))
    a = a.unsqueeze(-1)
    steps = list(zip(*(_slots(x, chunk) for x in (delta, delta * u, b, c)), strict=True))
    state = u.new_zeros(*steps[0][0].shape[:3], a.shape[2], steps[0][0].shape[-1])
    if length > chunk:
        for dt, du, bt, _ in steps:
            state = _advance(state, a, dt, du.unsqueeze(-2) * bt.unsqueeze(-3))
        total = torch.stack([step[0] for step in steps]).sum(0)
        state = _entering(a, total, state, chunk)
    out = []
    for dt, du, bt, ct in steps:
        state = _advance(state, a, dt, du.unsqueeze(-2) * bt.unsqueeze(-3))
        out.append((state * ct.unsqueeze(-3)).sum(-2))
    y = _unslot(out, length) + d.unsqueeze(-1) * u
    return y.to(kind)
