"""Whether smoke, fog or a splash is there: a head over all that the trunk of `veil` saw.

The head that is trained along with the maps reads the deepest layer alone and is small, since the
maps come first. This one is fitted after them, trunk and maps unmoved: means, deviations and
maxima of every layer (`Maps.pooled`) and two layers over them. The pooling is that of style
statistics (L. Gatys et al., arXiv:1508.06576, sums over places) cut down to its diagonal.
Licence: this project's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.veil import Maps, Veil

HIDDEN = 64
FARTHEST = 6.0  # deviations beyond which a number says no more


class Presence(nn.Module):
    """b n, the pooled numbers of a frame -> b 3 logits (smoke, fog, splash)."""

    centre: Tensor
    spread: Tensor

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(numbers))
        self.register_buffer("spread", torch.ones(numbers))
        self.layers = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(numbers, HIDDEN), nn.ReLU(),
            nn.Dropout(0.4), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Dropout(0.1), nn.Linear(HIDDEN, 3),
        )  # fmt: skip

    def usual(self, pooled: Tensor) -> Tensor:
        """In deviations from what is usual, b n."""
        return ((pooled - self.centre) / self.spread).clamp(-FARTHEST, FARTHEST)

    def forward(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.usual(pooled))
        return logits


class Finding(nn.Module):
    """`veil` with its presence from this head."""

    def __init__(self, net: Veil, head: Presence) -> None:
        super().__init__()
        self.net, self.head = net, head

    def forward(self, image: Tensor, reference: Tensor, known: Tensor) -> Maps:
        maps: Maps = self.net(image, reference, known)
        return maps._replace(presence=self.head(maps.pooled))
