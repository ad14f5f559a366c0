"""PWC-Net as a yardstick: with it, and only with it, our SelfSVD must give the official output.

Paper: D. Sun, X. Yang, M.-Y. Liu, J. Kautz: "PWC-Net: CNNs for Optical Flow Using Pyramid,
Warping, and Cost Volume", CVPR 2018. Written from the paper and from measured behaviour, for tests
with random weights; its public weights are for non-commercial use and are not used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = {"One": 16, "Two": 32, "Thr": 64, "Fou": 96, "Fiv": 128, "Six": 196}
REACH = 4  # the cost volume looks so many pixels around
SCALES = {"Fiv": 0.625, "Fou": 1.25, "Thr": 2.5, "Two": 5.0}  # flow is in units of 1 / 20 pixel


def act(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.1)


def costs(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """b c h w twice -> b 81 h w: mean product over channels for each shift."""
    h, w = first.shape[-2:]
    around = F.pad(second, [REACH] * 4)
    shifts = range(2 * REACH + 1)
    return torch.stack(
        [(first * around[..., y : y + h, x : x + w]).mean(1) for y in shifts for x in shifts], 1
    )


def backward_warp(x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """The flow is scaled as if corners were aligned, the sampling is not: as released."""
    b, _, h, w = x.shape
    ys = torch.linspace(-1 + 1 / h, 1 - 1 / h, h, dtype=x.dtype)[:, None].expand(h, w)
    xs = torch.linspace(-1 + 1 / w, 1 - 1 / w, w, dtype=x.dtype)[None].expand(h, w)
    grid = torch.stack(
        (xs + flow[:, 0] * 2 / (w - 1), ys + flow[:, 1] * 2 / (h - 1)), -1
    )  # b h w 2
    ones = torch.ones_like(x[:, :1])
    both = F.grid_sample(torch.cat((x, ones), 1), grid, "bilinear", "zeros", align_corners=False)
    return both[:, :-1] * (both[:, -1:] > 0.999)


class Extractor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        before = 3
        for name, width in WIDTHS.items():
            layers: list[nn.Module] = []
            for stride in (2, 1, 1):
                layers += [nn.Conv2d(before, width, 3, stride, 1), nn.LeakyReLU(0.1)]
                before = width
            self.add_module(f"net{name}", nn.Sequential(*layers))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        out = {}
        for name in WIDTHS:
            x = out[name] = self.get_submodule(f"net{name}")(x)
        return out


class Decoder(nn.Module):
    def __init__(self, name: str, above: int | None) -> None:
        super().__init__()
        self.scale = SCALES.get(name, 1.0)
        width = 81
        if above is not None:
            self.netUpflow = nn.ConvTranspose2d(2, 2, 4, 2, 1)
            self.netUpfeat = nn.ConvTranspose2d(above, 2, 4, 2, 1)
            width += WIDTHS[name] + 4
        for part, out in zip(
            ("One", "Two", "Thr", "Fou", "Fiv"), (128, 128, 96, 64, 32), strict=True
        ):
            self.add_module(
                f"net{part}", nn.Sequential(nn.Conv2d(width, out, 3, 1, 1), nn.LeakyReLU(0.1))
            )
            width += out
        self.netSix = nn.Sequential(nn.Conv2d(width, 2, 3, 1, 1))
        self.width = width

    def forward(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        before: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if before is None:
            x = act(costs(first, second))
        else:
            flow, features = self.netUpflow(before[0]), self.netUpfeat(before[1])
            moved = backward_warp(second, flow * self.scale)
            x = torch.cat((act(costs(first, moved)), first, flow, features), 1)
        for part in ("One", "Two", "Thr", "Fou", "Fiv"):
            x = torch.cat((self.get_submodule(f"net{part}")(x), x), 1)
        return self.netSix(x), x


class Refiner(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for out, dilation in ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1)):
            layers += [nn.Conv2d(width, out, 3, 1, dilation, dilation), nn.LeakyReLU(0.1)]
            width = out
        self.netMain = nn.Sequential(*layers, nn.Conv2d(width, 2, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.netMain(x)
        return out


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.netExtractor = Extractor()
        above: int | None = None
        for name in ("Six", "Fiv", "Fou", "Thr", "Two"):
            decoder = Decoder(name, above)
            self.add_module(f"net{name}", decoder)
            above = decoder.width
        assert above is not None
        self.netRefiner = Refiner(above)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """b 3 h w, sides multiples of 64 -> flow b 2 h/4 w/4, unscaled."""
        a, b = self.netExtractor(first), self.netExtractor(second)
        found: tuple[torch.Tensor, torch.Tensor] | None = None
        for name in ("Six", "Fiv", "Fou", "Thr", "Two"):
            found = self.get_submodule(f"net{name}")(a[name], b[name], found)
        assert found is not None
        out: torch.Tensor = found[0] + self.netRefiner(found[1])
        return out


class PwcFlow(nn.Module):
    """A `models.layers.flow.Flow`; keys as in a checkpoint (`net.…`)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        h, w = source.shape[-2:]
        size = (-(-h // 64) * 64, -(-w // 64) * 64)
        a, b = (
            F.interpolate(x, size, mode="bilinear", align_corners=False) for x in (target, source)
        )
        flow = 20 * self.net(a, b)
        flow = F.interpolate(flow, (h, w), mode="bilinear", align_corners=False)
        scale = torch.tensor([w / size[1], h / size[0]], dtype=flow.dtype).view(1, 2, 1, 1)
        out: torch.Tensor = flow * scale
        return out
