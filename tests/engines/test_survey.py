"""A survey goes on after a failure, a crash and a time-out, and is taken up where it stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path

import onnx
import pytest
import torch
from nets import SIZE, Convolutions
from torch import nn

from engines import export, zoo
from engines.errors import ExportRefused
from engines.export import Proof
from engines.store import PACKAGE_FOLDER
from engines.survey import VEIL, Row, Task, alone, markdown, measure, read_rows, survey
from engines.tidy import tidy
from engines.trt import build_model
from models import ast, histoformer

GOOD = Row(
    name="good", size=(67, 93), nodes=10, export_s=2.0, difference=0.0, parity_db=61.2,
    short_share=0.5, fp32_mb=1.25, fp32_s=3.0, fp16_mb=0.75, fp16_s=4.0,
)  # fmt: skip


def scripted(task: Task) -> Row:
    """Stands for `measure`: what happens is the task's name."""
    if task.name == "raises":
        raise ExportRefused("an operator | that stops it")
    if task.name == "crashes":
        os._exit(7)
    if task.name == "hangs":
        time.sleep(600)
    return Row(**{**{f: getattr(GOOD, f) for f in Row.__dataclass_fields__}, "name": task.name})


def test_one_network_alone() -> None:
    size = (67, 93)
    assert alone(Task("good", size), 60, scripted) == GOOD
    assert "an operator / that stops it" in alone(Task("raises", size), 60, scripted).stopped
    assert alone(Task("crashes", size), 60, scripted).stopped == "its process ended with 7"


def test_a_network_that_takes_too_long_is_ended() -> None:
    assert alone(Task("hangs", (67, 93)), 0.5, scripted).stopped == "not done in 0 s"


def test_a_survey_is_taken_up_again(tmp_path: Path) -> None:
    path, told = tmp_path / "rows.json", list[str]()
    tasks = [Task("one", (67, 93)), Task("raises", (67, 93))]
    survey(tasks, path, 60, told.append, scripted)
    assert told == ["one at 93x67", "raises at 93x67"]
    rows = survey([*tasks, Task("two", (67, 93))], path, 60, told.append, scripted)
    assert told[2:] == ["two at 93x67"]
    assert rows == read_rows(path)
    assert [row.name for row in rows] == ["one", "raises", "two"]
    assert len(json.loads(path.read_text())) == 3


def test_the_table() -> None:
    bad = Row(name="bad", size=(720, 1280), stopped="DFT: not known")
    text = markdown([GOOD, bad])
    lines = text.splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| bad | 1280x720 | - |")
    assert lines[2].endswith("| DFT: not known |")
    assert (
        "| good | 93x67 | 2 | 10 | 0 | 61.2 | 50% | 1.2 MB, 3.0 s | 0.8 MB, 4.0 s | nothing |"
        in text
    )


long = pytest.mark.skipif(
    os.environ.get("SURGICLEAR_LONG") != "1", reason="a minute of tracing: make plans"
)
needs_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="the extra `tensorrt` is not installed",
)


def assert_built(name: str, size: tuple[int, int]) -> None:
    row = alone(Task(name, size, "sm89", prove=False), 2800)
    assert row.stopped == ""
    assert row.fp16_mb is not None
    assert row.fp16_mb > 1


@needs_tensorrt
@pytest.mark.timeout(3000)
def test_a_plan_for_the_rtx_4090_is_built_without_one() -> None:
    """The quickest of the four that `make plans` builds: FocalNet in FP16 at 1280x720."""
    assert_built("focalnet", (720, 1280))


@long
@needs_tensorrt
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("size", [(720, 1280), (1080, 1920)])
@pytest.mark.parametrize("name", ["ramit", "focalnet"])
def test_plans_for_the_rtx_4090_are_built_without_one(name: str, size: tuple[int, int]) -> None:
    assert_built(name, size)


def graph_of(net: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    with export._quietly(), torch.no_grad():
        program = torch.onnx.export(
            net.eval(), (torch.zeros(shape),), dynamo=True, verbose=False,
            opset_version=export.OPSET, optimize=False,
        )  # fmt: skip
        assert program is not None
        tidy(program.model)
    return program.model_proto


class Sorted(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return histoformer.ordered(x, -1)


@needs_tensorrt
def test_a_sort_of_all_pixels_of_a_1280x720_picture_has_a_plan() -> None:
    graph = graph_of(Sorted(), (1, 2, 1280 * 720))
    assert sum(node.op_type == "TopK" for node in graph.graph.node) == 16
    assert len(graph.SerializeToString()) < 1e6
    assert len(build_model(graph.SerializeToString(), "sort", "sm89").plan) > 1000


@needs_tensorrt
def test_masks_that_the_exporter_does_not_fold_have_a_plan() -> None:
    """65 windows of 64 x 64 pairs are over what it folds; TensorRT then has to."""
    graph = graph_of(ast.Block(8, 1, 4), (1, 8 * 66, 8, 8))
    assert len(build_model(graph.SerializeToString(), "masks", "sm89").plan) > 1000


def test_a_network_that_is_off_torch_is_refused_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zoo, "network", lambda order: Convolutions().eval())
    row = measure(Task("focalnet", SIZE))
    assert row.difference is not None and row.difference <= 1
    assert "refused" not in row.stopped
    monkeypatch.setattr(export, "prove", lambda *_: [Proof(SIZE, 64.0, 12.0)])
    row = measure(Task("focalnet", SIZE))
    assert row.difference == 64
    assert row.stopped.startswith("refused: off torch, whose float32 is 0 off")
    assert row.parity_db is not None


@needs_tensorrt
def test_veil_has_a_row_of_its_own() -> None:
    if not (PACKAGE_FOLDER / "veil").is_dir():
        pytest.skip("the package has no veil bundle")
    row = measure(Task("veil", (720, 1280)))
    assert (row.name, row.size) == ("veil", VEIL)
    assert row.nodes is not None and row.nodes > 100
    assert (row.fp32_mb or 0) > 0.5 or row.stopped
