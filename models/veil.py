"""`veil`: a small net that reads a low-resolution frame and predicts what hides it.

Our own design, for video rate on two CPU cores. The form is Koschmieder's law (1924) as in
R. Tan (CVPR 2008) and K. He et al., "Single Image Haze Removal Using Dark Channel Prior"
(CVPR 2009): I = J t + A (1 - t), solved for J. The trunk is a depthwise-separable U-Net
(MobileNet blocks, A. Howard et al., arXiv:1704.04861). Licence: this project's.

The net sees the frame and, where there is one, the last clear frame of the same scene, both at
MAP_INPUT size, and returns five coefficient maps at a quarter of it. The full-resolution repair
is one affine function per pixel (`repair`), so no pixel can take anything from its neighbours:

    y' = a y + b_y        u' = c u + b_u        v' = c v + b_v

with a at most 1 / T_MIN and c at most CHROMA_GAIN_MAX. Physics couples them: a = g_y / t,
b_y = -g_y A_y (1 - t) / t + o_y,
where g and o are one global exposure and colour term for the whole picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAP_INPUT = (144, 256)  # h w of the picture that the net sees
MAP_STRIDE = 4
T_MIN = 0.22
CHROMA_GAIN_MAX = 2.0  # more shows the colour noise of 4:2:0 and compression, and gains nothing
SHADOW_KEEP = 0.15  # luma never falls under this share of itself: no crushed shadows
HIGHLIGHT = 0.25  # colour repair fades out over the last quarter of luma: white holds no hue
GAMUT_SLACK = 0.02
KR, KB = 0.299, 0.114  # BT.601, the picture's own working space


class Maps(NamedTuple):
    """coefficients: b 5 h/4 w/4 (a, c, b_y, b_u, b_v); transmission, soiling: b 1 h/4 w/4 in
    0-1; withheld: b 1 h/4 w/4, the share of the repair that is not done where the lens is soiled
    or the picture saturated; veil: b 3 h/16 w/16 RGB; exposure: b 5 (g_y, g_c, o_y, o_u, o_v);
    presence: b 3 logits (smoke, fog, splash); coverage: b 3 in 0-1; splash_type: b 4 logits;
    pooled: b n, every layer summed up over the picture."""

    coefficients: Tensor
    transmission: Tensor
    soiling: Tensor
    withheld: Tensor
    veil: Tensor
    exposure: Tensor
    presence: Tensor
    coverage: Tensor
    splash_type: Tensor
    pooled: Tensor


def to_yuv(rgb: Tensor) -> Tensor:
    """RGB in [0, 1] to full-range BT.601 YUV, chroma centred on 0; b 3 h w."""
    r, g, b = rgb.unbind(1)
    y = KR * r + (1 - KR - KB) * g + KB * b
    return torch.stack((y, (b - y) / (2 * (1 - KB)), (r - y) / (2 * (1 - KR))), 1)


def to_rgb(yuv: Tensor) -> Tensor:
    """Inverse of `to_yuv`."""
    y, u, v = yuv.unbind(1)
    r, b = y + 2 * (1 - KR) * v, y + 2 * (1 - KB) * u
    g = (y - KR * r - KB * b) / (1 - KR - KB)
    return torch.stack((r, g, b), 1)


def repair(rgb: Tensor, coefficients: Tensor) -> Tensor:
    """The pixelwise repair in floating point; the kernels of engines/apply.py are held to it.

    rgb: b 3 h w in [0, 1]; coefficients: b 5 h' w', interpolated to h w. Returns b 3 h w.
    """
    k = F.interpolate(coefficients, rgb.shape[-2:], mode="bilinear", align_corners=False)
    y, u, v = to_yuv(rgb).unbind(1)
    a, c, by, bu, bv = k.unbind(1)
    fade = ((1 - y) / HIGHLIGHT).clamp(0, 1)
    change = torch.maximum(a * y + by, SHADOW_KEEP * y) - y
    room, rise = 1 - y, change.clamp_min(0)  # brightening rolls off into the headroom
    y1 = (y + change.clamp_max(0) + rise * room / (room + rise + 1e-6)).clamp(0, 1)
    u1 = u + fade * (c * u + bu - u)
    v1 = v + fade * (c * v + bv - v)
    # hue-preserving gamut limit: shrink chroma until every channel fits
    red, blue = 2 * (1 - KR) * v1, 2 * (1 - KB) * u1
    green = -(KR * red + KB * blue) / (1 - KR - KB)
    most = torch.maximum(torch.maximum(red, green), blue).clamp_min(1e-4)
    least = torch.maximum(torch.maximum(-red, -green), -blue).clamp_min(1e-4)
    fit = torch.minimum((1 + GAMUT_SLACK - y1) / most, y1 / least).clamp(0, 1)
    return to_rgb(torch.stack((y1, u1 * fit, v1 * fit), 1)).clamp(0, 1)


class Block(nn.Module):
    """Depthwise 3x3, then a pointwise bottleneck, residual. b c h w."""

    def __init__(self, channels: int, expand: int = 2) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, channels * expand, 1)
        self.narrow = nn.Conv2d(channels * expand, channels, 1, bias=False)
        self.scale = nn.BatchNorm2d(channels)
        nn.init.constant_(self.scale.weight, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(F.relu(self.widen(self.norm(self.depthwise(x)))))
        out: Tensor = x + self.scale(y)
        return out


def down(cin: int, cout: int) -> nn.Sequential:
    """Halves both sides."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()
    )


class Up(nn.Module):
    """Doubles both sides and adds the skip."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(cin, cout, 1)
        self.block = Block(cout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.project(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        out: Tensor = self.block(x + skip)
        return out


class Veil(nn.Module):
    """The map predictor. Sides of the input must be multiples of 16."""

    def __init__(self, widths: tuple[int, int, int, int] = (16, 40, 80, 128)) -> None:
        super().__init__()
        c2, c4, c8, c16 = widths
        self.widths = widths
        self.stem = nn.Sequential(down(7, c2), Block(c2))  # 1/2
        self.enc4 = nn.Sequential(down(c2, c4), Block(c4), Block(c4))
        self.enc8 = nn.Sequential(down(c4, c8), Block(c8), Block(c8))
        self.enc16 = nn.Sequential(down(c8, c16), Block(c16), Block(c16), Block(c16))
        self.context = nn.Sequential(nn.Linear(2 * c16 + 19, c16), nn.ReLU())
        self.inject = nn.Linear(c16, c16)
        self.mix = Block(c16)
        self.dec8 = Up(c16, c8)
        self.dec4 = Up(c8, c4)
        self.local = nn.Sequential(nn.Conv2d(c4, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 2, 1))
        self.colour = nn.Conv2d(c16, 3, 1)
        self.exposure = nn.Linear(c16, 5)
        self.detect = nn.Sequential(nn.Linear(c16 + 6, 64), nn.ReLU(), nn.Linear(64, 10))
        last = self.local[2]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor([-2.0, -3.0])
        for head in (self.exposure, self.colour):
            nn.init.zeros_(head.weight)
            assert head.bias is not None
            nn.init.zeros_(head.bias)

    def forward(self, image: Tensor, reference: Tensor, known: Tensor) -> Maps:
        """image, reference: b 3 h w RGB in [0, 1]; known: b 1 h w, 1 where reference counts."""
        reference = reference * known
        x2 = self.stem(torch.cat((image, reference, known), 1) - 0.5)
        x4 = self.enc4(x2)
        x8 = self.enc8(x4)
        x16 = self.enc16(x8)
        stats = _stats(image, reference, known)  # b 19
        pooled = torch.cat((x16.mean((2, 3)), x16.amax((2, 3)), stats), 1)
        context = self.context(pooled)  # b c16
        mixed = self.mix(x16 + self.inject(context)[..., None, None])
        y8 = self.dec8(mixed, x8)
        y4 = self.dec4(y8, x4)
        depth, soil = self.local(y4).chunk(2, 1)  # b 1 h/4 w/4
        transmission = torch.exp(-F.softplus(depth)).clamp_min(T_MIN)
        soiling = torch.sigmoid(soil)
        withheld = 1 - (1 - soiling) * (1 - saturation(image))
        veil = torch.sigmoid(self.colour(mixed) + 0.6)  # b 3 h/16 w/16
        raw = torch.tanh(self.exposure(context))
        exposure = torch.cat((torch.exp(0.7 * raw[:, :2]), 0.25 * raw[:, 2:]), 1)
        areas = torch.cat((_areas(1 - transmission), _areas(soiling)), 1)  # b 6
        found = self.detect(torch.cat((context, areas), 1))
        layers = [_pooled(x) for x in (x2, x4, x8, x16, mixed, y8, y4)]
        return Maps(
            coefficients=coefficients(transmission, withheld, veil, exposure),
            transmission=transmission,
            soiling=soiling,
            withheld=withheld,
            veil=veil,
            exposure=exposure,
            presence=found[:, :3],
            coverage=torch.sigmoid(found[:, 3:6]),
            splash_type=found[:, 6:],
            pooled=torch.cat((*layers, context, areas, stats), 1),
        )


def saturation(image: Tensor) -> Tensor:
    """How much of a place is burnt out: b 1 h/4 w/4 in 0-1. Small highlights do not count."""
    y = to_yuv(image)[:, :1]
    burnt = F.avg_pool2d(((y - 0.86) / 0.1).clamp(0, 1), MAP_STRIDE)
    around = F.avg_pool2d(burnt, 5, 1, 2, count_include_pad=False)
    held = ((around - 0.2) / 0.6).clamp(0, 1)
    return F.avg_pool2d(held, 7, 1, 3, count_include_pad=False)  # no hard rim


def coefficients(transmission: Tensor, withheld: Tensor, veil: Tensor, exposure: Tensor) -> Tensor:
    """Physics and the global term to a, c, b_y, b_u, b_v: b 5 h/4 w/4.

    Where the lens is soiled or the picture burnt out the repair fades to the picture as it is:
    behind an opaque deposit, or white, there is nothing to restore.
    """
    t = 1 - (1 - transmission) * (1 - withheld)
    airlight = F.interpolate(veil, t.shape[-2:], mode="bilinear", align_corners=False)
    a_y, a_u, a_v = to_yuv(airlight).chunk(3, 1)
    g_y, g_c, o_y, o_u, o_v = exposure[..., None, None].chunk(5, 1)
    share = (1 - t) / t
    a = (g_y / t).clamp_max(1 / T_MIN)
    c = (g_c / t).clamp_max(CHROMA_GAIN_MAX)
    # an offset is the veil's colour times the gain that is really used
    return torch.cat(
        (
            a,
            c,
            o_y - g_y * a_y * share,
            o_u - c * (1 - t) * a_u,
            o_v - c * (1 - t) * a_v,
        ),
        1,
    )


def _areas(hidden: Tensor) -> Tensor:
    """Mean, maximum and covered share of an opacity map: b 3."""
    covered = torch.sigmoid(30 * (hidden - 0.15))
    return torch.cat((hidden.mean((2, 3)), hidden.amax((2, 3)), covered.mean((2, 3))), 1)


def _pooled(x: Tensor) -> Tensor:
    """Mean, deviation and maximum of every channel: b 3c."""
    mean = x.mean((2, 3))
    variance = ((x - mean[..., None, None]) ** 2).mean((2, 3))
    return torch.cat((mean, (variance + 1e-6).sqrt(), x.amax((2, 3))), 1)


def _stats(image: Tensor, reference: Tensor, known: Tensor) -> Tensor:
    """Means and deviations of both pictures and of their difference in YUV: b 19."""
    a, b = to_yuv(image).flatten(2), to_yuv(reference).flatten(2)
    flag = known[:, :, 0, 0]
    mean_a, mean_b = a.mean(2), b.mean(2)
    std_a = ((a - mean_a[..., None]) ** 2).mean(2).add(1e-6).sqrt()
    std_b = ((b - mean_b[..., None]) ** 2).mean(2).add(1e-6).sqrt()
    gap = (mean_b - mean_a) * flag
    ratio = (torch.log(std_b + 0.02) - torch.log(std_a + 0.02)) * flag
    return torch.cat((mean_a, std_a, mean_b, std_b, gap, ratio, flag), 1)
