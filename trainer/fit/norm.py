"""Batch normalisation over the whole batch when processes share it.

torch's own SyncBatchNorm runs on GPUs only, and two CPU processes must train as one does, too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Summed(torch.autograd.Function):
    """A sum over processes whose gradient is summed too: each one's loss depends on every part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        out = gradients[0].clone()
        dist.all_reduce(out)
        return out


class SharedBatchNorm(nn.BatchNorm2d):
    """b c h w; in training, mean and variance are those of all processes together."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat((x.sum((0, 2, 3)), (x * x).sum((0, 2, 3)), count))
        sums = _Summed.apply(sums)  # type: ignore[no-untyped-call]
        n = sums[-1]
        mean, square = (sums[:-1] / n).chunk(2)
        variance = (square - mean * mean).clamp_min(0)
        self._remember(mean.detach(), variance.detach(), float(n.detach()))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale + (self.bias if self.affine else 0)
        out: Tensor = (x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)).to(input.dtype)
        return out

    def _remember(self, mean: Tensor, variance: Tensor, n: float) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * n / max(n - 1, 1), share)  # unbiased, as torch keeps it


def share_statistics(net: nn.Module) -> None:
    """Turns every BatchNorm2d of a net into a shared one, in place; keys stay as they are."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
