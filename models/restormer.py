"""Restormer: attention between channels instead of pixels, so that it is linear in the picture.

Paper: S. W. Zamir, A. Arora, S. Khan, M. Hayat, F. S. Khan, M.-H. Yang: "Restormer: Efficient
Transformer for High-Resolution Image Restoration", CVPR 2022. The authors' code
(swz30/Restormer) is under the Academic Public License, non-commercial; this is written from the
paper and takes checkpoints of that code.

The blocks and the four levels are in models/layers, since three more networks build on them.
"""

from __future__ import annotations

import torch
from torch import nn

from models.layers.padding import pad_to_multiple
from models.layers.pyramid import MULTIPLE, Pyramid
from models.layers.transposed import TransposedBlock


class Restormer(Pyramid):
    """The whole network: b 3 h w -> b 3 h w, sides from 8 up.

    The original takes multiples of 8 only; other sides are padded below and at the right by
    reflection, and the output is cropped.
    """

    def __init__(
        self,
        width: int = 48,
        depths: tuple[int, int, int, int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: tuple[int, int, int, int] = (1, 2, 4, 8),
    ) -> None:
        def block(channels: int, level: int) -> nn.Module:
            return TransposedBlock(channels, heads[level])

        super().__init__(width, depths, refinement, block)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        return self.restore(pad_to_multiple(x, MULTIPLE, "reflect"))[..., :h, :w]
