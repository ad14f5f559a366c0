"""What one network is: where it comes from, what it needs, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the run-time install has no torch; the table must be readable without it
    import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """Facts of one network; everything else asks these, never the class name.

    make: builds the module for a variant; parameters: count of the default variant;
    size_multiple: sides are padded to it inside; half_safe: None when FP16 is safe throughout,
    else the reason it is not; gmacs_720p: multiply-accumulates for one 1280x720 frame, in 1e9.
    """

    name: str
    paper: str
    year: int
    licence: str
    purpose: str
    parameters: int
    size_multiple: int
    half_unsafe: str | None
    gmacs_720p: float
    make: Callable[[str], torch.nn.Module]
    variants: tuple[str, ...] = ("default",)

    def build(self, variant: str | None = None) -> torch.nn.Module:
        """The module with fresh weights; float32 RGB in [0, 1], b c h w in and out.

        Raises ValueError for a variant that this network does not have.
        """
        chosen = variant or self.variants[0]
        if chosen not in self.variants:
            raise ValueError(f"{self.name} has variants {self.variants}, not {chosen!r}")
        return self.make(chosen)
