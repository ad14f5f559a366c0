"""A network's time beside a matrix product's: what is divided by what, and that it runs."""

from __future__ import annotations

import pytest
import torch

from models.bench import SLOWEST, Cost, Row, best, measure


def row(net_s: float, product_s: float, *, name: str = "ramit", threads: int = 2) -> Row:
    return Row(
        name=name, size=(192, 320), threads=threads, net=Cost(net_s, 3 * net_s),
        product=Cost(product_s, 2 * product_s), work=90_000_000,
    )  # fmt: skip


def test_the_reference_at_its_own_rate_is_one() -> None:
    """90 million multiply-adds in 1 ms are 90 GMAC/s."""
    official = row(1.948, 0.001)
    assert official.rate == pytest.approx(90)
    assert official.products == pytest.approx(1948)
    assert official.share == pytest.approx(1.0)
    assert official.cpu_share == pytest.approx(1.5)
    assert "1.00 of the reference's time (1.50 by CPU time), at most 1.25" in official.line()


def test_a_slower_machine_changes_nothing() -> None:
    assert row(1.948 * 7, 0.007).share == pytest.approx(1.0)
    share = row(1.948 * 2, 0.001).share
    assert share is not None
    assert share > SLOWEST


def test_what_was_never_measured_has_no_share() -> None:
    assert row(1, 1, name="restormer").share is None
    assert row(1, 1, threads=3).share is None
    assert "reference" not in row(1, 1, name="restormer").line()


def test_the_best_of_each_counts() -> None:
    assert best([Cost(3, 1), Cost(2, 5)]) == Cost(2, 1)


def test_it_runs_and_leaves_the_threads_alone() -> None:
    before = torch.get_num_threads()
    found = measure("focalnet", (16, 16), threads=1, rounds=1)
    assert found.net.wall_s > 0
    assert found.net.cpu_s > 0
    assert found.rate > 0
    assert found.share is None  # of another size
    assert torch.get_num_threads() == before
