"""The parameters of a selective scan and what else MambaIR and MambaIRv2 have in common.

Papers: A. Gu, T. Dao: "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
sections 3.2 and 3.6; H. Guo et al.: "MambaIR", ECCV 2024.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.selective_scan import selective_scan

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # taken off the picture and put back; in no checkpoint
DELTA_RANGE = (1e-3, 1e-1)  # of the step sizes at the start of training


def rgb_mean(like: torch.Tensor) -> torch.Tensor:
    """1 3 1 1, in the type and on the device of `like`."""
    return torch.tensor(RGB_MEAN, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)


class Embed(nn.Module):
    """The norm before the first group; ... c."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(x)
        return out


class SelectiveScan(nn.Module):
    """Step sizes, B and C read off the sequence itself, then the scan, once a direction.

    width: channels of the sequence; rank: that of the step sizes' matrix; states: of a channel.
    """

    def __init__(self, directions: int, width: int, rank: int, states: int) -> None:
        super().__init__()
        k = directions
        self.rank, self.states = rank, states
        self.x_proj_weight = nn.Parameter(torch.empty(k, rank + 2 * states, width))
        self.dt_projs_weight = nn.Parameter(torch.empty(k, width, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(k, width))
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(k * width, 1))
        self.Ds = nn.Parameter(torch.ones(k * width))
        nn.init.uniform_(self.x_proj_weight, -(width**-0.5), width**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():  # softplus of the bias is log-uniform over DELTA_RANGE
            low, high = (math.log(x) for x in DELTA_RANGE)
            delta = self.dt_projs_bias.uniform_(low, high).exp_()
            delta.copy_(delta + torch.log(-torch.expm1(-delta)))

    def scan(self, x: torch.Tensor, prompt: torch.Tensor | None = None) -> torch.Tensor:
        """b k c l, one sequence a direction -> the same. prompt b k states l is added to C."""
        k = x.shape[1]
        projected = torch.einsum("bkcl,kdc->bkdl", x, self.x_proj_weight)
        steps, b = projected[:, :, : self.rank], projected[:, :, self.rank : -self.states]
        c = projected[:, :, -self.states :]
        precise = torch.promote_types(x.dtype, torch.float32)  # decays reach over many steps
        delta = torch.einsum("bkrl,kcr->bkcl", steps, self.dt_projs_weight).to(precise)
        delta = F.softplus(delta + self.dt_projs_bias.unsqueeze(-1))
        a = -self.A_logs.to(precise).exp().view(k, -1, self.states)
        c = c if prompt is None else c + prompt
        return selective_scan(x, delta, a, b, c, self.Ds.view(k, -1))
