"""The exponential moving average of a net's weights: what ships, and what is judged."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """decay: of a grown average; a young one follows faster, as (1 + step) / (10 + step)."""

    def __init__(self, net: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self.net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Takes the weights after a step (from 0) in; buffers are copied."""
        mine = [p.data for p in self.net.parameters()]
        new = [p.data for p in net.parameters()]
        if self.decay is None:
            torch._foreach_copy_(mine, new)
        else:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(mine, new, 1 - decay)
        for kept, fresh in zip(self.net.buffers(), net.buffers(), strict=True):
            kept.copy_(fresh)
