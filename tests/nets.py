"""Small networks for tests of export and precision, with the operators that matter."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from engines.export import export
from models.spec import Spec
from models.steered import Steered

SIZE = (24, 40)


class Small(nn.Module):
    """Convolutions, a LayerNorm, a channel attention and a GELU around a shortcut: b 3 h w."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.enter(x)
        z = self.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        q, k, v = self.qkv(z).flatten(2).chunk(3, dim=1)  # b c (h w)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = (q @ k.transpose(1, 2)).softmax(-1)  # b c c
        y = y + F.gelu((attention @ v).view_as(y))
        out: torch.Tensor = x + 0.2 * self.leave(y)
        return out


class Convolutions(nn.Module):
    """Right at any size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + 0.3 * self.conv(x)
        return out


class BakesItsSize(nn.Module):
    """Divides by a number of pixels that the old tracer takes for a constant: the graph runs at
    other sizes, and is wrong there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = int(x.shape[2]) * int(x.shape[3])
        out: torch.Tensor = x * 0.5 + x.sum((2, 3), keepdim=True) / pixels * 0.5
        return out


@cache
def small() -> tuple[nn.Module, bytes]:
    """The small network and its proven graph at SIZE; traced once."""
    net = Small().eval()
    return net, export(net, SIZE)[0]


def steered() -> Steered:
    """A small FocalNet whose steering branch does something."""
    torch.manual_seed(3)
    net = Steered(width=8, blocks=1).eval()
    with torch.no_grad():
        net.steer.last.weight.normal_(0, 0.3)
    return net


def spec(make: Callable[[], nn.Module]) -> Spec:
    """A network of the zoo."""
    return Spec(
        name="Small", paper="None", year=2026, licence="Apache-2.0", purpose="tests",
        parameters=0, size_multiple=1, half_unsafe=None, gmacs_720p=0.0,
        make=lambda variant: make(),
    )  # fmt: skip
