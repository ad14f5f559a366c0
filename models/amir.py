"""AMIR: Restormer whose maps are routed by the task that it reads off the picture.

Paper: Z. Yang, H. Chen, Z. Qian, Y. Yi, H. Zhang, D. Zhao, B. Wei, Y. Xu: "All-In-One Medical
Image Restoration via Task-Adaptive Routing", MICCAI 2024. The authors' code
(Yaziwel/All-In-One-Medical-Image-Restoration-via-Task-Adaptive-Routing) is Apache-2.0; this is
written from the paper and takes checkpoints of that code. The mixture of experts follows
N. Shazeer et al.: "Outrageously Large Neural Networks", ICLR 2017, without its training noise,
so that a picture always takes the same route.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.padding import pad_to_multiple
from models.layers.pyramid import MULTIPLE, Pyramid
from models.layers.transposed import FFN_EXPANSION, TransposedBlock

PROMPT = 256  # length of the task prompt
SLOPE = 0.1


class Instruction(nn.Module):
    """The task prompt: a mixture, chosen from the whole picture, of learned atoms."""

    def __init__(self, atoms: int = 32, width: int = 64) -> None:
        super().__init__()
        self.dictionary = nn.Parameter(torch.randn(atoms, PROMPT))
        self.CondNet = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=3),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 3, stride=3),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, atoms, 1),
        )
        self.lastOut = nn.Linear(atoms, atoms)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """b 3 h w -> b PROMPT."""
        votes = self.CondNet(image).mean((2, 3))
        return F.gelu(self.lastOut(votes).softmax(-1) @ self.dictionary)


class Expert(nn.Module):
    """Two layers for each pixel, ... c -> ... c."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


def best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """True for the `count` largest along the last axis, the first of equal ones: ... e -> ... e.

    By comparing each with each: run times break ties in topk each in its own way, and gates that
    were never trained tie everywhere.
    """
    number = torch.arange(scores.shape[-1], device=scores.device)
    mine, other = scores.unsqueeze(-1), scores.unsqueeze(-2)
    first = (other == mine) & (number[None, :] < number[:, None])
    ahead = ((other > mine) | first).to(torch.float32).sum(-1)
    return ahead < count


class Mixture(nn.Module):
    """The best `top` of the experts for each pixel, mixed in the log domain.

    y = log sum_e g_e exp(expert_e(x)), g a softmax over the chosen experts' scores. All experts
    are computed and the others masked out: a static graph, with no gather by pixel.
    """

    def __init__(self, width: int, experts: int = 4, top: int = 2) -> None:
        super().__init__()
        self.top = top
        self.w_gate = nn.Parameter(torch.zeros(2 * width, experts))
        # training noise and its reference normal: in every checkpoint, not used here
        self.w_noise = nn.Parameter(torch.zeros(2 * width, experts))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))
        hidden = int(width * FFN_EXPANSION)
        self.experts = nn.ModuleList(Expert(width, hidden) for _ in range(experts))

    def forward(self, x: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """b h w c both -> b h w c."""
        scores = torch.cat([x, prompt], dim=-1) @ self.w_gate  # b h w e
        gates = scores.masked_fill(~best(scores, self.top), -torch.inf).log_softmax(-1)
        answers = torch.stack([expert(x) for expert in self.experts], dim=-1)  # b h w c e
        return (answers + gates.unsqueeze(-2)).logsumexp(-1)


class SpatialRouting(nn.Module):
    """Each pixel through the experts that suit it and the task; added back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(PROMPT, width)
        self.moe = Mixture(width)

    def forward(self, x: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """b c h w, b PROMPT -> b c h w."""
        y = x.permute(0, 2, 3, 1)
        task = self.fc(prompt)[:, None, None, :].expand_as(y)
        out: torch.Tensor = self.moe(y, task)
        return out.permute(0, 3, 1, 2) + x


class ChannelRouting(nn.Module):
    """Scales and shifts each channel, as much as the task wants it; added back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, width, 1, 1))
        self.fc = nn.Linear(PROMPT, width)

    def forward(self, x: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """b c h w, b PROMPT -> b c h w."""
        wanted: torch.Tensor = self.fc(prompt).sigmoid()[:, :, None, None]
        return (x * self.gamma + self.beta) * wanted + x


class AMIR(Pyramid):
    """The whole network: b 3 h w -> b 3 h w, sides from 8 up.

    The original takes multiples of 8 only; other sides are padded below and at the right by
    reflection, and the output is cropped. In training it returned a balance loss as well; this
    one always returns the picture alone.
    """

    def __init__(
        self,
        width: int = 42,
        depths: tuple[int, int, int, int] = (5, 7, 7, 9),
        refinement: int = 4,
        heads: tuple[int, int, int, int] = (1, 2, 4, 8),
    ) -> None:
        def block(channels: int, level: int) -> nn.Module:
            return TransposedBlock(channels, heads[level])

        super().__init__(width, depths, refinement, block)
        self.dict_generator = Instruction()
        self.spatial_routing_encoder_level1 = SpatialRouting(width)
        self.spatial_routing_encoder_level2 = SpatialRouting(2 * width)
        self.spatial_routing_encoder_level3 = SpatialRouting(4 * width)
        self.channel_routing_latent = ChannelRouting(8 * width)
        self.channel_routing_decoder_level3 = ChannelRouting(4 * width)
        self.channel_routing_decoder_level2 = ChannelRouting(2 * width)
        self.channel_routing_decoder_level1 = ChannelRouting(2 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        image = pad_to_multiple(x, MULTIPLE, "reflect")
        prompt = self.dict_generator(image)

        def route(stage: str, features: torch.Tensor) -> torch.Tensor:
            way = "spatial" if stage.startswith("encoder") else "channel"
            routed: torch.Tensor = getattr(self, f"{way}_routing_{stage}")(features, prompt)
            return routed

        return self.restore(image, route)[..., :h, :w]
