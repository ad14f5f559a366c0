"""What lies over the clear scene: the share of its light that passes, and the light added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.picture import LUMA_WEIGHTS
from engines.restorer import COVERED
from server.phantom.noise import Field
from server.phantom.scene import VIEW_RADIUS, View

STEP = 4  # picture pixels a veil pixel, each way
SAMPLES = 4096  # points at which a quantile is taken

F = np.float32


@dataclass(frozen=True, slots=True)
class Veil:
    """picture = direct * scene + (y, u, v). direct: share of each place's own, unblurred light,
    0-1; y: luma 0-219; u, v: centred on 0. All h w at a quarter of the working planes."""

    direct: Field
    y: Field
    u: Field
    v: Field

    def over(self, behind: Veil) -> Veil:
        """This veil in front of another."""
        d = self.direct
        return Veil(
            d * behind.direct, d * behind.y + self.y, d * behind.u + self.u, d * behind.v + self.v
        )


@dataclass(frozen=True, slots=True)
class Ground:
    """The places of a veil's pixels: x, y in units; view: 1 in the field of view; light: of the
    scope on whatever floats in front of it, 0-1."""

    x: Field
    y: Field
    view: Field
    light: Field
    unit: float  # veil pixels a unit

    @staticmethod
    def of(view: View) -> Ground:
        x, y = view.points(STEP)
        inside = view.mask(STEP)
        seen_h, seen_w = -(-view.height // STEP), -(-view.width // STEP)
        inside[seen_h:], inside[:, seen_w:] = 0.0, 0.0  # the padding is nobody's view
        light = 0.52 + 0.48 / (1.0 + (x * x + y * y) / F(0.42**2))
        return Ground(x, y, inside, np.asarray(light, F), view.unit / STEP)

    def covered(self, direct: Field) -> float:
        """Share of the view that loses at least COVERED of the scene's light."""
        view = self.view > 0.5
        hidden = view & (direct <= F(1.0 - COVERED))
        return int(np.count_nonzero(hidden)) / max(1, int(np.count_nonzero(view)))

    def seen(self, field: Field) -> NDArray[np.float32]:
        """About SAMPLES values of a field, spread over the view."""
        values = field[self.view > 0.5]
        return np.asarray(values[:: max(1, values.size // SAMPLES)], F)

    def radius(self) -> Field:
        """Distance from the middle, 1 at the edge of the view."""
        return np.asarray(np.hypot(self.x, self.y) / F(VIEW_RADIUS), F)


def upper(values: NDArray[np.float32], share: float) -> float:
    """The value that `share` of the values exceed."""
    place = int((1.0 - min(1.0, max(0.0, share))) * (values.size - 1))
    return float(np.partition(values, place)[place])


def luma_chroma(srgb: tuple[float, float, float]) -> tuple[float, float, float]:
    """A display colour (0-255) as y 0-219 and u, v centred on 0, BT.709 limited range."""
    kr, kb = LUMA_WEIGHTS["bt709"]
    r, g, b = (channel / 255.0 for channel in srgb)
    y = kr * r + (1.0 - kr - kb) * g + kb * b
    return 219.0 * y, 112.0 * (b - y) / (1.0 - kb), 112.0 * (r - y) / (1.0 - kr)
