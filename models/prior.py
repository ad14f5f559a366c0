"""How bright a clear view usually is: a prior that steadies the exposure of `veil`.

A net trained on few scenes hedges about the brightness behind the smoke. Seven numbers per frame
and a Bayesian linear regression (C. Bishop, "Pattern Recognition and Machine Learning", 2006,
section 3.3) know it as well, err differently, and say how far a frame is from all they were
fitted on; far from it, in clear views and beside a reference the prior is silent. Luma alone is
moved, by one factor for the whole picture: no colour, no pixel on its own. Licence: this
project's.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.presence import Finding
from models.veil import MAP_STRIDE, Maps, Veil, coefficients, repair, to_yuv

# chosen on the folds of the cross-validation together with synthetic smoke of other cameras
WEIGHT = 0.7  # share of the prior at home, in a hidden view
HIDDEN = 0.1  # mean opacity from which the prior counts in full
FAR = 1.0  # (usual distances) beyond it the prior fades as 1 / distance
RIDGE = 0.3
MOST = 1.6  # times brighter or darker at most


def features(rgb: Tensor) -> Tensor:
    """Means and deviations in YUV: b 3 h w in [0, 1] -> b 6."""
    yuv = to_yuv(rgb).flatten(2)
    mean = yuv.mean(2)
    deviation = ((yuv - mean[..., None]) ** 2).mean(2).add(1e-8).sqrt()
    return torch.cat((mean, deviation), 1)


class Brightness(nn.Module):
    """Mean luma of the clear view from a hidden one, and how much the answer can be trusted."""

    centre: Tensor
    spread: Tensor
    weights: Tensor
    level: Tensor
    covariance: Tensor
    usual: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (
            ("centre", torch.zeros(6)), ("spread", torch.ones(6)), ("weights", torch.zeros(6)),
            ("level", torch.zeros(())), ("covariance", torch.eye(6)),
            ("usual", torch.tensor(1e-12)),  # far from everything: not fitted, it is silent
        ):  # fmt: skip
            self.register_buffer(name, value)

    @classmethod
    def fitted(cls, hidden: Tensor, luma: Tensor, share: Tensor) -> Self:
        """From features of hidden views (n 6), the clear views' mean luma (n) and the weight of
        each (n, of sum 1). Raises ValueError where there is nothing to fit."""
        if len(hidden) < 2 or len({len(hidden), len(luma), len(share)}) != 1:
            raise ValueError(f"{len(hidden)} views, {len(luma)} answers, {len(share)} weights")
        x, y, w = hidden.double(), luma.double(), share.double()
        prior = cls()
        centre = w @ x
        spread = (w @ (x - centre) ** 2).sqrt().clamp_min(1e-6)
        z, level = (x - centre) / spread, w @ y
        covariance = torch.linalg.inv(z.T @ (w[:, None] * z) + RIDGE * torch.eye(6))
        values = {
            "centre": centre, "spread": spread, "level": level, "covariance": covariance,
            "weights": covariance @ (z.T @ (w * (y - level))),
            "usual": w @ ((z @ covariance) * z).sum(1),
        }  # fmt: skip
        prior.load_state_dict({name: value.float() for name, value in values.items()})
        return prior

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """b 3 h w -> mean luma b, trust b in 0-1."""
        z = (features(rgb) - self.centre) / self.spread
        distance = ((z @ self.covariance) * z).sum(1) / self.usual
        return self.level + z @ self.weights, (FAR / distance.clamp_min(1e-6)).clamp_max(1)


class Steadied(nn.Module):
    """`veil` with its exposure steadied by a prior; what is exported.

    share: how much of the repair the run time does at full strength (engines/veil.py), so that
    the brightness is that of the picture really shown.
    """

    def __init__(self, net: Veil | Finding, prior: Brightness, share: float) -> None:
        super().__init__()
        self.net, self.prior, self.share = net, prior, share

    def forward(self, image: Tensor, reference: Tensor, known: Tensor) -> Maps:
        maps: Maps = self.net(image, reference, known)
        factor = self._factor(image, maps, known)[:, None]
        exposure = maps.exposure * factor
        return maps._replace(
            exposure=exposure,
            coefficients=coefficients(maps.transmission, maps.withheld, maps.veil, exposure),
        )

    def _factor(self, image: Tensor, maps: Maps, known: Tensor) -> Tensor:
        """b: times the restored picture is to be brighter."""
        small = F.avg_pool2d(image, MAP_STRIDE)
        nothing = torch.tensor([1.0, 1, 0, 0, 0])[:, None, None]
        shown = repair(small, nothing + self.share * (maps.coefficients - nothing))
        before, luma = (to_yuv(x)[:, 0].mean((1, 2)) for x in (small, shown))
        moved = (luma - (1 - self.share) * before).clamp_min(1e-3)  # the part that exposure scales
        usual, trust = self.prior(image)
        hidden = (1 - maps.transmission).mean((1, 2, 3)) / HIDDEN
        weight = WEIGHT * trust * hidden.clamp_max(1) * (1 - known[:, 0, 0, 0])
        factor: Tensor = 1 + weight * (usual - luma) / moved
        return factor.clamp(1 / MOST, MOST)
