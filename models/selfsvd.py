"""SelfSVD: a causal video net that is shown the clear frame from before the smoke.

Paper: R. Wu, Z. Zhang, S. Zhang, L. Gou, H. Chen, L. Zhang, H. Chen, W. Zuo: "Self-Supervised
Video Desmoking for Laparoscopic Surgery", ECCV 2024. The authors' code (ZcsrenlongZ/SelfSVD) is
MIT with a GPL-3.0 flow net (PWC-Net) whose weights are for non-commercial use; this is written
from the paper and from measured behaviour, and takes the restoring part of its checkpoints.

Difference from the paper: the flow is any `models.layers.flow.Flow`, dense inverse search unless
another is given, in place of the frozen PWC-Net. Keys of that net in a checkpoint (`pwcnet.`) are
left out on loading (`load_official`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.flow import DisFlow, Flow, warp

FOREIGN = "pwcnet."  # the flow net's keys in the authors' checkpoints
SEGMENT = 5  # frames after which the authors' test forgets the past


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return out


class Blocks(nn.Module):
    """A convolution, LeakyReLU and residual blocks."""

    def __init__(self, inputs: int, channels: int, count: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Sequential(*[Residual(channels) for _ in range(count)]),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.main(x)
        return out


def extractor(channels: int) -> nn.Sequential:
    """b 3 h w -> b channels h/4 w/4."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        nn.LeakyReLU(0.1),
        Blocks(channels, channels, 5),
    )


class Doubled(nn.Module):
    """A convolution and a pixel shuffle: both sides twice as long."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample_conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.upsample_conv(x), 2)


def quarter(x: torch.Tensor) -> torch.Tensor:
    """b 3 h w -> b 3 h/4 w/4, bicubic: what the flow is computed on."""
    return F.interpolate(x, scale_factor=0.25, mode="bicubic", align_corners=False)


class SelfSVD(nn.Module):
    """b t 3 h w in [0, 1] -> the same; sides are multiples of 4.

    reference: b 3 h w, the clear frame from before the smoke (b t 3 h w where each frame has its
    own); mask: b t 1 h/4 w/4, 1 where the reference must not be used. Starts as the identity.
    Causal: frame t sees frames up to t.
    """

    def __init__(
        self, mid_channels: int = 64, num_blocks: int = 60, flow: Flow | None = None
    ) -> None:
        super().__init__()
        c = mid_channels
        self.feat_extract = extractor(c)
        self.ref_feat_extract = extractor(c)
        self.backbone = nn.ModuleDict({"forward_1": Blocks(3 * c, c, num_blocks)})
        self.reconstruction = Blocks(2 * c, c, 5)
        self.upsample1, self.upsample2 = Doubled(c), Doubled(c)
        self.conv_hr = nn.Conv2d(c, c, 3, padding=1)
        self.conv_last = nn.Conv2d(c, 3, 3, padding=1)
        self.zero_conv = nn.Conv2d(3, 3, 1)
        nn.init.zeros_(self.zero_conv.weight)
        assert self.zero_conv.bias is not None
        nn.init.zeros_(self.zero_conv.bias)
        self._flow: Flow = flow or DisFlow()

    def forward(
        self, clip: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        return self.with_reference(clip, reference, mask)[0]

    def with_reference(
        self, clip: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The restored clip, and the features of the reference before any warp, b n c h/4 w/4 with
        n references, which training keeps small."""
        b, t, _, h, w = clip.shape
        frames = clip.flatten(0, 1)  # b t 3 h w -> (b t) 3 h w
        features = self.feat_extract(frames).view(b, t, -1, h // 4, w // 4)
        references = reference[:, None] if reference.dim() == 4 else reference  # b n 3 h w
        n = references.shape[1]
        seen = self.ref_feat_extract(references.flatten(0, 1)).view(b, n, -1, h // 4, w // 4)
        small = quarter(frames).view(b, t, 3, h // 4, w // 4)
        small_reference = quarter(references.flatten(0, 1)).view(b, n, 3, h // 4, w // 4)
        state = torch.zeros_like(features[:, 0])
        out = []
        for i in range(t):
            if i:
                state = warp(state, self._flow(small[:, i - 1], small[:, i]))
            shown = min(i, n - 1)
            flow = self._flow(small_reference[:, shown], small[:, i])
            guide = warp(seen[:, shown], flow) * (1 - mask[:, i])
            joined = torch.cat((features[:, i], state, guide), 1)  # b 3c h/4 w/4
            state = state + self.backbone["forward_1"](joined)
            out.append(self._picture(features[:, i], state) + clip[:, i])
        return torch.stack(out, 1), seen

    def _picture(self, features: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """b c h/4 w/4 twice -> b 3 h w, the change to make."""
        x = self.reconstruction(torch.cat((features, state), 1))
        x = F.leaky_relu(self.upsample1(x), 0.1)
        x = F.leaky_relu(self.upsample2(x), 0.1)
        x = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.1))
        out: torch.Tensor = self.zero_conv(x)
        return out


def load_official(net: SelfSVD, weights: Mapping[str, torch.Tensor]) -> None:
    """Loads a table of the authors' weights (as models.weights.read gives it), strictly but for
    the flow net. Raises RuntimeError where other keys differ."""
    prefix = "generator." if all(key.startswith("generator.") for key in weights) else ""
    own = {key.removeprefix(prefix): value for key, value in weights.items()}
    net.load_state_dict({k: v for k, v in own.items() if not k.startswith(FOREIGN)})
