"""What loses most in 16 bits goes back to FP32, and no more than that."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from nets import SIZE, feed, line, small

from engines import spare
from engines.export import noise, pattern
from engines.half import PARITY_DB, Plan, parity, plan, ranges, rounded, session
from engines.spare import (
    FEWEST,
    PRODUCT_COST,
    Roundings,
    Stretch,
    before_bytes,
    passing,
    pick,
    stretches,
)

FRAMES = [{"frame": pattern(SIZE, 3)}, {"frame": noise(SIZE, 4)}]


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return onnx.load_from_string(small()[1])


def lifts_and_lowers() -> onnx.ModelProto:
    """A sum that comes to 4000, where FP16 counts by twos, between two products and after others
    that lose nothing."""
    return line(
        ("MatMul", ["x", "eye"], "a"), ("Add", ["a", "high"], "b"), ("Sub", ["b", "high"], "c"),
        ("MatMul", ["c", "eye"], "d"), ("Relu", ["d"], "e"), ("Neg", ["e"], "f"),
        ("Neg", ["f"], "g"), ("MatMul", ["g", "eye"], "h"), ("Sigmoid", ["h"], "y"),
        eye=np.eye(4), high=4000.0,
    )  # fmt: skip


def test_a_network_that_passes_is_left_alone(
    graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = ranges(graph, FRAMES)
    monkeypatch.setattr(spare, "stretches", lambda *_: pytest.fail("it searched"))
    chosen, result = passing(graph, largest, FRAMES)
    assert result.passed
    assert chosen == plan(graph, largest)


def test_the_sum_that_loses_goes_back_and_the_products_stay() -> None:
    model, frames = lifts_and_lowers(), feed(0.1, 0.7, 0.33, 0.9)
    largest = ranges(model, frames)
    plain = plan(model, largest)
    assert plain.short == set(range(8))
    assert not parity(model, plain, frames).passed
    told: list[str] = []
    chosen, result = passing(model, largest, frames, progress=told.append)
    assert result.passed
    assert result.psnr_db == parity(model, chosen, frames).psnr_db >= PARITY_DB
    assert {0, 3, 7} <= chosen.short  # the products
    assert not {1, 2} & chosen.short
    assert any("costs too much" in why for why in chosen.reasons["Add"])
    assert any("looking for what loses most" in text for text in told)


def test_a_network_of_which_the_products_lose_is_refused() -> None:
    eye = np.eye(4)
    model = line(
        ("MatMul", ["x", "wide"], "a"), ("MatMul", ["a", "narrow"], "b"), ("Sigmoid", ["b"], "y"),
        wide=np.hstack([4000.3 * eye, 4001.1 * eye]), narrow=np.vstack([-eye, eye]),
    )  # fmt: skip
    frames = feed(0.1, 0.7, 0.33, 0.9)
    chosen, result = passing(model, ranges(model, frames), frames)
    assert not result.passed
    assert chosen.short == {0, 1}


def test_what_overflows_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    # ranges that say nothing: 300^3 is over what FP16 holds
    model = line(
        ("MatMul", ["x", "eye"], "a"), ("Mul", ["a", "k"], "b"), ("Mul", ["b", "k"], "c"),
        ("Mul", ["c", "k"], "d"), ("Div", ["d", "kkk"], "y"),
        eye=np.eye(4), k=300.0, kkk=300.0**3,
    )  # fmt: skip
    monkeypatch.setattr(spare, "stretches", lambda *_: pytest.fail("it searched"))
    _, result = passing(model, {}, feed(1, 2, 3, 4))
    assert not result.finite
    run = Roundings(model, Plan(short={0, 1, 2, 3}, kept=set("abcd")), "fp16")
    assert run.loss([3], feed(1, 2, 3, 4)[0]) == float("inf")


def test_all_roundings_together_are_those_of_the_gate(graph: onnx.ModelProto) -> None:
    chosen = plan(graph, ranges(graph, FRAMES))
    run = Roundings(graph, chosen, "fp16")
    for frame in FRAMES:
        for nodes, model in ((chosen.short, rounded(graph, chosen)), (set[int](), graph)):
            (have,) = run.answer(nodes, frame)
            want = session(model).run(None, frame)[0]
            np.testing.assert_array_equal(have.round().transpose(0, 2, 3, 1), want)
    few = run.loss(sorted(chosen.short)[:10], FRAMES[0])
    assert 0 < few < run.loss(chosen.short, FRAMES[0])


def test_losses_of_stretches_add_up(graph: onnx.ModelProto) -> None:
    chosen = plan(graph, ranges(graph, FRAMES))
    parts = stretches(graph, chosen, FRAMES, "fp16", runs=16)
    nodes = [i for part in parts for i in part.nodes]
    assert sorted(nodes) == sorted(chosen.short)
    assert len(parts) > 4
    whole = Roundings(graph, chosen, "fp16").loss(chosen.short, FRAMES[0])
    noisy = Roundings(graph, chosen, "fp16").loss(chosen.short, FRAMES[1])
    assert 0.3 < sum(part.loss for part in parts) / max(whole, noisy) < 3


def test_the_search_keeps_to_its_runs(
    graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Roundings] = []

    class Counted(Roundings):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(spare, "Roundings", Counted)
    chosen = plan(graph, ranges(graph, FRAMES))
    parts = stretches(graph, chosen, FRAMES, "fp16", runs=12)
    assert made[0].count <= 12
    assert max(len(part.nodes) for part in parts) > FEWEST  # it would have gone on


def test_what_costs_least_for_its_loss_goes_first() -> None:
    model = lifts_and_lowers()
    parts = [Stretch((0, 3), 1.0), Stretch((1, 2), 1.0), Stretch((4, 5, 6), 0.5)]
    assert PRODUCT_COST > 2
    assert pick(model, parts, 50.0, 50.1) == {1, 2}
    assert pick(model, parts, 50.0, 53.0) == {1, 2, 4, 5, 6}
    assert pick(model, parts, 50.0, 90.0) == {0, 1, 2, 3, 4, 5, 6}
    assert pick(model, parts, 50.0, 49.0) == set()


def test_losses_are_seen_before_bytes_hide_them(graph: onnx.ModelProto) -> None:
    name = before_bytes(graph.graph, graph.graph.output[0].name)
    reader = next(node for node in graph.graph.node if name in node.input)
    assert reader.op_type == "Round"
    assert before_bytes(lifts_and_lowers().graph, "y") == "y"
