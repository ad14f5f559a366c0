"""The exponential moving average of a net's weights: what ships, and what is judged."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """decay: of a grown average; a young one follows faster, as (1 + step) / (10 + step). buffers:
    those of batch normalisation are averaged as the weights are, instead of copied."""

    def __init__(self, net: nn.Module, decay: float | None, *, buffers: bool = False) -> None:
        self.decay, self.buffers = decay, buffers
        self.net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Takes the weights after a step (from 0) in."""
        mine = [p.data for p in self.net.parameters()]
        new = [p.data for p in net.parameters()]
        share = 1.0 if self.decay is None else 1 - min(self.decay, (1 + step) / (10 + step))
        if self.decay is None:
            torch._foreach_copy_(mine, new)
        else:
            torch._foreach_lerp_(mine, new, share)
        for kept, fresh in zip(self.net.buffers(), net.buffers(), strict=True):
            if self.buffers and kept.is_floating_point():
                kept.lerp_(fresh, share)
            else:
                kept.copy_(fresh)
