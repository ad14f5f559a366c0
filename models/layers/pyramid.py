"""The four-level encoder and decoder of Restormer, which its descendants fill with other blocks.

Paper: S. W. Zamir et al.: "Restormer: Efficient Transformer for High-Resolution Image
Restoration", CVPR 2022, section 3 and figure 2. Shared by Restormer, AMIR, X-Restormer and
Histoformer; all maps are b c h w. Level l works at 1 / 2^l of the sides with width * 2^l
channels, except that the last decoder and the refinement keep twice the first width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

MULTIPLE = 8  # both sides are halved three times

Enter = Callable[[str, torch.Tensor], torch.Tensor]


def unchanged(stage: str, x: torch.Tensor) -> torch.Tensor:
    """The map as it is."""
    return x


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class Embed(nn.Module):
    """The first convolution: b 3 h w -> b width h w."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = conv3x3(3, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj(x)
        return out


class Halve(nn.Module):
    """b c h w -> b 2c h/2 w/2: half the channels, then each 2x2 square into channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3x3(width, width // 2), nn.PixelUnshuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


class Double(nn.Module):
    """b c h w -> b c/2 2h 2w: twice the channels, then channels into 2x2 squares."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3x3(width, 2 * width), nn.PixelShuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


class Pyramid(nn.Module):
    """Everything of the four levels but what happens inside a block.

    block(width, level) makes one b c h w -> b c h w block. depths: blocks of levels 0 to 3; the
    decoder of a level has as many as its encoder.
    """

    def __init__(
        self,
        width: int,
        depths: tuple[int, int, int, int],
        refinement: int,
        block: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()

        def stage(level: int, count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(block(channels, level) for _ in range(count)))

        w0, w1, w2, w3 = (width * 2**level for level in range(4))
        self.patch_embed = Embed(w0)
        self.encoder_level1 = stage(0, depths[0], w0)
        self.down1_2 = Halve(w0)
        self.encoder_level2 = stage(1, depths[1], w1)
        self.down2_3 = Halve(w1)
        self.encoder_level3 = stage(2, depths[2], w2)
        self.down3_4 = Halve(w2)
        self.latent = stage(3, depths[3], w3)
        self.up4_3 = Double(w3)
        self.reduce_chan_level3 = nn.Conv2d(w3, w2, 1, bias=False)
        self.decoder_level3 = stage(2, depths[2], w2)
        self.up3_2 = Double(w2)
        self.reduce_chan_level2 = nn.Conv2d(w2, w1, 1, bias=False)
        self.decoder_level2 = stage(1, depths[1], w1)
        self.up2_1 = Double(w1)  # joined with the skip it has w1 channels again: no reduction
        self.decoder_level1 = stage(0, depths[0], w1)
        self.refinement = stage(0, refinement, w1)
        self.output = conv3x3(w1, 3)

    def restore(self, image: torch.Tensor, enter: Enter = unchanged) -> torch.Tensor:
        """b 3 h w, sides multiples of 8 -> image plus the predicted residual.

        enter(stage, map) is what a net does to the map before that stage's blocks; the stages
        are the attribute names `encoder_level1` ... `latent` ... `decoder_level1`.
        """
        e1 = self.encoder_level1(enter("encoder_level1", self.patch_embed(image)))
        e2 = self.encoder_level2(enter("encoder_level2", self.down1_2(e1)))
        e3 = self.encoder_level3(enter("encoder_level3", self.down2_3(e2)))
        x = self.latent(enter("latent", self.down3_4(e3)))
        x = self.reduce_chan_level3(torch.cat([self.up4_3(x), e3], dim=1))
        x = self.decoder_level3(enter("decoder_level3", x))
        x = self.reduce_chan_level2(torch.cat([self.up3_2(x), e2], dim=1))
        x = self.decoder_level2(enter("decoder_level2", x))
        x = torch.cat([self.up2_1(x), e1], dim=1)
        x = self.decoder_level1(enter("decoder_level1", x))
        out: torch.Tensor = self.output(self.refinement(x)) + image
        return out
