"""The three-scale multi-input U-Net that FocalNet and ConvIR share.

After S.-J. Cho, S.-W. Ji, J.-P. Hong, S.-W. Jung, S.-J. Ko: "Rethinking Coarse-to-Fine Approach
in Single Image Deblurring" (MIMO-UNet), ICCV 2021. Written from the papers, names as in the
checkpoints. Channels-last in memory, b c h w in shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from models.layers.instance_norm import InstanceNorm


def keep_channels_last(net: nn.Module) -> None:
    """Stores 4-D weights channels-last, as the maps are, so that no call converts them."""
    for weight in net.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


class Conv(nn.Module):
    """A same-size or strided convolution, with GELU after it unless `act` is off."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        self.main = nn.Sequential(conv, nn.GELU()) if act else nn.Sequential(conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.main(x)
        return out


class Double(nn.Module):
    """A 4x4 transposed convolution that doubles both sides, then GELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.main = nn.Sequential(conv, nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.main(x)
        return out


class ImageFeatures(nn.Module):
    """SCM: features of a smaller copy of the image, b 3 h w -> b channels h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            Conv(3, channels // 4, 3),
            Conv(channels // 4, channels // 2, 1),
            Conv(channels // 2, channels // 2, 3),
            Conv(channels // 2, channels, 1, act=False),
            InstanceNorm(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.main(x)
        return out


class Merge(nn.Module):
    """FAM: one map from the encoder's and the smaller image's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = Conv(2 * channels, channels, 3, act=False)

    def forward(self, x: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.merge(torch.cat([x, image], dim=1))
        return out


class MimoUnet(nn.Module):
    """Encoder, bottleneck and decoder over scales 1, 1/2 and 1/4, the image fed in at each.

    stage: builds the blocks for a width in channels, at full resolution or not.
    """

    def __init__(self, width: int, stage: Callable[[int, bool], nn.Module]) -> None:
        super().__init__()
        w1, w2, w4 = width, 2 * width, 4 * width
        self.Encoder = nn.ModuleList([stage(w1, True), stage(w2, False), stage(w4, False)])
        self.feat_extract = nn.ModuleList(
            [
                Conv(3, w1, 3),
                Conv(w1, w2, 3, stride=2),
                Conv(w2, w4, 3, stride=2),
                Double(w4, w2),
                Double(w2, w1),
                Conv(w1, 3, 3, act=False),
            ]
        )
        self.Decoder = nn.ModuleList([stage(w4, False), stage(w2, False), stage(w1, True)])
        self.Convs = nn.ModuleList([Conv(w4, w2, 1), Conv(w2, w1, 1)])
        self.ConvsOut = nn.ModuleList([Conv(w4, 3, 3, act=False), Conv(w2, 3, 3, act=False)])
        self.FAM1, self.SCM1 = Merge(w4), ImageFeatures(w4)
        self.FAM2, self.SCM2 = Merge(w2), ImageFeatures(w2)

    def bottleneck(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def scales(self, x: torch.Tensor) -> list[torch.Tensor]:
        """b 3 h w, sides multiples of 4 -> the restored image at 1/4, 1/2 and 1.

        The two small ones only in training mode, where the loss may ask for them.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        half, quarter = x[..., ::2, ::2], x[..., ::4, ::4]  # nearest neighbour
        first, down2, down4, up2, up1, last = self.feat_extract
        skip1 = self.Encoder[0](first(x))
        skip2 = self.Encoder[1](self.FAM2(down2(skip1), self.SCM2(half)))
        z = self.Encoder[2](self.FAM1(down4(skip2), self.SCM1(quarter)))
        z = self.Decoder[0](self.bottleneck(z))
        out = [self.ConvsOut[0](z) + quarter] if self.training else []
        z = self.Decoder[1](self.Convs[0](torch.cat([up2(z), skip2], dim=1)))
        if self.training:
            out.append(self.ConvsOut[1](z) + half)
        z = self.Decoder[2](self.Convs[1](torch.cat([up1(z), skip1], dim=1)))
        return [*out, last(z) + x]
