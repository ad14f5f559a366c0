"""How long a network takes here, beside a matrix product timed in the same run.

A machine is never the one next door, and seldom idle: times alone compare nothing. A product of
two float32 matrices is timed before and after each pass, and what is compared is the quotient.
REFERENCE holds what the official networks took at 320x192 in torch eager where the product
reached `rate`; ours should be no slower than 0.8 of their speed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from models import RESTORERS

SIDE = 1024  # of the square matrices
PRODUCTS = 6  # timed before and after each pass; the best counts
SLOWEST = 1 / 0.8  # of the reference's time


@dataclass(frozen=True, slots=True)
class Reference:
    """ms: of one picture, where the matrix product reaches `rate` (10^9 multiply-adds a second)."""

    ms: float
    rate: float


# (network, threads); two cores of a Zen 3 server part, torch 2.13
REFERENCE = {
    ("ramit", 1): Reference(3043, 46),
    ("ramit", 2): Reference(1948, 90),
    ("focalnet", 1): Reference(683, 46),
    ("focalnet", 2): Reference(414, 90),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call. wall_s: by the clock; cpu_s: of all threads, which other work on the machine
    hardly changes, though waiting threads that spin add to it."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The quickest pass and product of a run. work: multiply-adds of the product."""

    name: str
    size: tuple[int, int]  # h w
    threads: int
    net: Cost
    product: Cost
    work: int

    @property
    def rate(self) -> float:
        """Of the product by the clock, in 10^9 multiply-adds a second."""
        return self.work / self.product.wall_s / 1e9

    @property
    def products(self) -> float:
        """How many products one pass takes the time of."""
        return self.net.wall_s / self.product.wall_s

    @property
    def cpu_products(self) -> float:
        """The same by CPU time: on a busy machine the truer of the two."""
        return self.net.cpu_s / self.product.cpu_s

    @property
    def share(self) -> float | None:
        """Of the reference's time; None where there is none. Above SLOWEST is too slow."""
        return self._share(self.products)

    @property
    def cpu_share(self) -> float | None:
        return self._share(self.cpu_products)

    def _share(self, products: float) -> float | None:
        reference = REFERENCE.get((self.name, self.threads))
        if reference is None or self.size != (192, 320):
            return None
        return products / (reference.ms / 1e3 * reference.rate * 1e9 / self.work)

    def line(self) -> str:
        """One line to read."""
        h, w = self.size
        text = (
            f"{self.name} at {w}x{h}, {self.threads} threads: {self.net.wall_s * 1e3:.0f} ms"
            f" ({self.net.cpu_s * 1e3:.0f} ms of CPU), {self.products:.1f} products of"
            f" {self.rate:.1f} GMAC/s ({self.cpu_products:.1f} by CPU time)"
        )
        if self.share is None or self.cpu_share is None:
            return text
        return (
            f"{text}; {self.share:.2f} of the reference's time ({self.cpu_share:.2f} by CPU"
            f" time), at most {SLOWEST:.2f}"
        )


def cost(call: Callable[[], object]) -> Cost:
    """One call, timed."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def best(costs: Sequence[Cost]) -> Cost:
    """The least of each time."""
    return Cost(min(c.wall_s for c in costs), min(c.cpu_s for c in costs))


def measure(name: str, size: tuple[int, int], *, threads: int, rounds: int = 3) -> Row:
    """The default variant, fresh weights, torch eager in float32, after one pass to warm up."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        net = RESTORERS[name].build().eval()
        picture = torch.rand(1, 3, *size)
        a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
        passes: list[Cost] = []
        products: list[Cost] = []
        with torch.inference_mode():
            net(picture)
            for _ in range(rounds):
                products += [cost(lambda: a @ b) for _ in range(PRODUCTS)]
                passes.append(cost(lambda: net(picture)))
                products += [cost(lambda: a @ b) for _ in range(PRODUCTS)]
    finally:
        torch.set_num_threads(before)
    return Row(
        name=name, size=size, threads=threads, net=best(passes), product=best(products),
        work=SIDE**3,
    )  # fmt: skip
