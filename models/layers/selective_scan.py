"""The selective scan of Mamba in chunks that run side by side.

Paper: A. Gu, T. Dao: "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
equation 2 and section 3.3. Shared by MambaIR and MambaIRv2. Per channel d and state n,

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t        y_t = sum_n C_t h_t + D u_t

A sequence of length l is cut into l / CHUNK chunks. Every chunk runs from a zero state, all of
them at once; the states at the chunk ends obey the same recurrence with the chunks' summed delta,
so the states that enter the chunks come from the same scan on a sequence CHUNK times shorter; a
second run from those states gives the outputs. That is about 2 CHUNK log(l) / log(CHUNK) steps
whatever the picture, and states of length l are never stored.

A graph holds every step, and a network of 18 scans would have 20,000 nodes. While one is exported
the chunks are shorter, and the states that enter them come from log2(l / chunk) steps over all
chunks at once, each of which doubles the reach (W. D. Hillis, G. L. Steele: "Data Parallel
Algorithms", CACM 29, 1986): a third of the nodes for a little more work.

Stability: decays are only ever exp(A sum(delta)) with A <= 0 and delta >= 0, computed from the
sum of the steps that they span. They lie in [0, 1], may underflow to 0, and nothing is divided.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.layers.fourier import exporting

CHUNK = 32
EXPORTED_CHUNK = 16


def _slots(x: torch.Tensor, chunk: int) -> torch.Tensor:
    """... l -> chunk ... k, row t holding the t-th element of each of the k chunks.

    Short sequences are padded by zeros: delta 0 keeps the state, input 0 adds nothing.
    """
    count = -(-x.shape[-1] // chunk)
    x = F.pad(x, (0, count * chunk - x.shape[-1])).view(*x.shape[:-1], count, chunk)
    return x.movedim(-1, 0).contiguous()


def _unslot(slots: list[torch.Tensor], length: int) -> torch.Tensor:
    """Undoes `_slots`, given its rows, 1 ... k each."""
    return torch.cat(slots).movedim(0, -1).flatten(-2)[..., :length]


def _advance(
    state: torch.Tensor, a: torch.Tensor, delta: torch.Tensor, add: torch.Tensor
) -> torch.Tensor:
    """One step of every chunk: state, add ... g d n k; a g d n 1; delta ... g d 1 k."""
    return torch.addcmul(add, (a * delta).exp(), state)


def _entering(a: torch.Tensor, delta: torch.Tensor, add: torch.Tensor, chunk: int) -> torch.Tensor:
    """States before each of k steps, from zero: a g d n 1; delta ... g d 1 k; add ... g d n k."""
    length = add.shape[-1]
    deltas, adds = _slots(delta, chunk), _slots(add, chunk)
    steps = list(zip(deltas.chunk(chunk), adds.chunk(chunk), strict=True))
    state = torch.zeros_like(adds[:1])
    if length > chunk:
        for d, x in steps:
            state = _advance(state, a, d, x)
        state = _entering(a, deltas.sum(0, keepdim=True), state, chunk)
    out = []
    for d, x in steps:
        out.append(state)
        state = _advance(state, a, d, x)
    return _unslot(out, length)


def _entering_by_doubling(a: torch.Tensor, delta: torch.Tensor, add: torch.Tensor) -> torch.Tensor:
    """The same in log2(k) steps: what the last 1, 2, 4 ... steps have added, and their decay."""
    reach = 1
    while reach < add.shape[-1]:
        late = delta[..., reach:]
        more = _advance(add[..., :-reach], a, late, add[..., reach:])
        delta = torch.cat([delta[..., :reach], late + delta[..., :-reach]], dim=-1)
        add = torch.cat([add[..., :reach], more], dim=-1)
        reach *= 2
    return F.pad(add[..., :-1], (1, 0))


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    d: torch.Tensor,
    *,
    chunk: int | None = None,
    doubling: bool | None = None,
) -> torch.Tensor:
    """y, in the shape and type of u; computed in float32 at least.

    u: batch groups channels length; delta: the same, positive; a: groups channels states, not
    positive; b, c: batch groups states length; d: groups channels. Each group of channels has
    its own b and c. chunk, doubling: by default as suits what is being done.
    """
    doubling = exporting() if doubling is None else doubling
    chunk = chunk or (EXPORTED_CHUNK if doubling else CHUNK)
    kind, length = u.dtype, u.shape[-1]
    precise = torch.promote_types(kind, torch.float32)
    u, delta, a, b, c, d = (x.to(precise) for x in (u, delta, a, b, c, d))
    a = a.unsqueeze(-1)
    rows = [_slots(x, chunk) for x in (delta, delta * u, b, c)]
    # t batch groups channels states k, t of 1 in each step
    deltas, inputs = (x.unsqueeze(-2) for x in rows[:2])
    ins, outs = (x.unsqueeze(-3) for x in rows[2:])
    steps = list(zip(*(x.chunk(chunk) for x in (deltas, inputs, ins, outs)), strict=True))
    state = u.new_zeros(1, *deltas.shape[1:4], a.shape[-2], deltas.shape[-1])
    if length > chunk:
        for dt, du, bt, _ in steps:
            state = _advance(state, a, dt, du * bt)
        total = deltas.sum(0, keepdim=True)
        if doubling:
            state = _entering_by_doubling(a, total, state)
        else:
            state = _entering(a, total, state, chunk)
    out = []
    for dt, du, bt, ct in steps:
        state = _advance(state, a, dt, du * bt)
        out.append((state * ct).sum(-2))
    y = _unslot(out, length) + d.unsqueeze(-1) * u
    return y.to(kind)
