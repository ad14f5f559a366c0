"""Instance normalisation."""

from __future__ import annotations

import torch
from torch import nn


class InstanceNorm(nn.Module):
    """Instance normalisation with weight and bias, no running statistics (eps 1e-5).

    Written out, since F.instance_norm leaves channels-last, and torch.var_mean is slow in it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x - x.mean(dim=(2, 3), keepdim=True)
        variance = x.square().mean(dim=(2, 3), keepdim=True)
        scale = self.weight.view(-1, 1, 1) * (variance + 1e-5).rsqrt()
        return torch.addcmul(self.bias.view(-1, 1, 1), x, scale)
