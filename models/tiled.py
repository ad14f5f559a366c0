"""Restoring a picture whole, or in overlapping tiles where memory is short.

Whole is better: nets that look at the whole picture (channel attention, spectra, instance norms)
see only a tile otherwise. For a net whose view is no wider than `halo`, tiles give what the whole
picture gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

Net = Callable[[torch.Tensor], torch.Tensor]  # b 3 h w -> b 3 h w, any size
SMALLEST = 64  # no smaller tile is tried when memory stays short


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """side: of a square tile; halo: pixels thrown away along each inner edge; blend: pixels over
    which two neighbours fade into each other. All in pixels; neighbours overlap by 2 halo + blend.

    Raises ValueError where tiles would not advance.
    """

    side: int = 512
    halo: int = 32
    blend: int = 32

    def __post_init__(self) -> None:
        if min(self.halo, self.blend) < 0:
            raise ValueError(f"halo {self.halo} and blend {self.blend} must not be negative")
        if self.side <= self.overlap:
            raise ValueError(f"a tile of {self.side} pixels is all overlap ({self.overlap})")

    @property
    def overlap(self) -> int:
        return 2 * self.halo + self.blend

    def smaller(self) -> Tiling | None:
        """Half the side, with a halo and a blend that fit; None where that is below SMALLEST."""
        side = self.side // 2
        if side < SMALLEST:
            return None
        return replace(
            self, side=side, halo=min(self.halo, side // 8), blend=min(self.blend, side // 8)
        )


def restore(net: Net, picture: torch.Tensor, tiling: Tiling | None = None) -> torch.Tensor:
    """b 3 h w -> b 3 h w: whole, or tiled if `tiling` is given; in ever smaller tiles while memory
    runs out. Raises the last out-of-memory error when the smallest tile does not fit either."""
    while True:
        try:
            return net(picture) if tiling is None else in_tiles(net, picture, tiling)
        except RuntimeError as error:
            following = first_tiling(picture) if tiling is None else tiling.smaller()
            if not out_of_memory(error) or following is None:
                raise
            tiling = following


def out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out, on a GPU or (torch has no type for it) on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def first_tiling(picture: torch.Tensor) -> Tiling | None:
    """Tiles of about half the longer side; None where the picture is no larger than SMALLEST."""
    return replace(Tiling(), side=max(*picture.shape[-2:], Tiling().overlap + 1)).smaller()


def in_tiles(net: Net, picture: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """b 3 h w -> b 3 h w: one tile after the other, all of one size, cross-faded."""
    h, w = picture.shape[-2:]
    dtype = torch.promote_types(picture.dtype, torch.float32)  # sums of fades stay exact in half
    total = torch.zeros(picture.shape, dtype=dtype, device=picture.device)
    weights = torch.zeros((h, w), dtype=dtype, device=picture.device)
    for y0, y1 in spans(h, tiling):
        for x0, x1 in spans(w, tiling):
            tile = net(picture[..., y0:y1, x0:x1])
            rows, columns = fade(y0, y1, h, tiling), fade(x0, x1, w, tiling)
            weight = (rows[:, None] * columns[None, :]).to(total)
            total[..., y0:y1, x0:x1] += tile * weight
            weights[y0:y1, x0:x1] += weight
    return (total / weights).to(picture.dtype)


def spans(length: int, tiling: Tiling) -> Iterator[tuple[int, int]]:
    """From where to where the tiles of one axis go: all of the same length, the last flush."""
    side = min(tiling.side, length)
    step = tiling.side - tiling.overlap
    for start in range(0, max(length - side, 0), step):
        yield start, start + side
    yield length - side, length


def fade(start: int, stop: int, length: int, tiling: Tiling) -> torch.Tensor:
    """The weight of each pixel along one axis of a tile: 0 in the halo of an inner edge, then
    rising over the blend to 1; two neighbours at the regular step add up to 1."""
    weight = torch.ones(stop - start, dtype=torch.float64)
    rise = torch.arange(1, tiling.blend + 1, dtype=torch.float64) / (tiling.blend + 1)
    edge = torch.cat([torch.zeros(tiling.halo, dtype=torch.float64), rise])
    if start > 0:
        weight[: len(edge)] = edge
    if stop < length:
        weight[len(weight) - len(edge) :] *= edge.flip(0)
    return weight
