"""The table of docs/engines.md: for every network, how far it gets on the way to a plan.

Each network is taken alone in a process of its own with a time limit, since a scan that unrolls
can trace for hours. Rows are kept in a JSON file as they are made, so that a long survey can be
stopped and taken up again.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engines.errors import EngineError

SEED = 0  # of the weights
VEIL = (144, 256)  # h w of veil's maps, whatever the picture
Progress = Callable[[str], None]
Measure = Callable[["Task"], "Row"]


@dataclass(frozen=True, slots=True)
class Task:
    """One network at one size (h w), for one compute capability."""

    name: str
    size: tuple[int, int]
    capability: str = "sm89"
    prove: bool = True  # False: trace and build only, where comparing would take hours


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What came of it; None where it did not get so far. difference: grey levels, graph against
    torch; parity_db: FP16 against FP32; *_mb: 10^6 bytes of a plan; *_s: seconds of CPU, all
    threads together, which other work on the machine stretches less than the clock; stopped: what
    stopped it."""

    name: str
    size: tuple[int, int]
    nodes: int | None = None
    export_s: float | None = None
    difference: float | None = None
    parity_db: float | None = None
    short_share: float | None = None  # of the graph's nodes that run in 16 bits
    fp32_mb: float | None = None
    fp32_s: float | None = None
    fp16_mb: float | None = None
    fp16_s: float | None = None
    stopped: str = ""


def measure(task: Task) -> Row:
    """One row, as far as it gets. Needs torch; a plan needs TensorRT too."""
    import onnx

    from engines.export import Tolerance, check, draw_from, half_and_half, prove, trace, unsettled
    from engines.half import mixed, parity, plan, ranges
    from engines.onnxfile import inspect
    from engines.zoo import Order, network, probes

    if task.name == "veil":
        return _veil(task)
    row = Row(name=task.name, size=task.size)
    order = Order(name=task.name, size=task.size)
    stops: list[str] = []
    try:
        draw_from(SEED)  # figures of random weights are to come again
        net = network(order)
        started = time.process_time()
        model = trace(net, task.size)
        row = replace(row, export_s=time.process_time() - started)
        check(model)
        row = replace(row, nodes=inspect(model).nodes)
        if task.prove:
            anything = Tolerance(float("inf"), float("inf"))  # the plan is of interest all the same
            proof = prove(model, net, [task.size], anything)[0]
            row = replace(row, difference=proof.largest)
            if proof.largest > Tolerance().largest or proof.mean > Tolerance().mean:
                own = unsettled(net, half_and_half(task.size, 0))
                stops.append(f"refused: off torch, whose float32 is {own:.0f} off its float64")
    except EngineError as error:
        return replace(row, stopped=_short(error))
    megabytes, seconds, stop = _plan(task, model)
    row = replace(row, fp32_mb=megabytes, fp32_s=seconds)
    stops += [stop] if stop else []
    graph = onnx.load_from_string(model)
    try:
        # where nothing is run, ranges are unknown: every type is decided by the operator alone
        frames = probes(order) if task.prove else []
        chosen = plan(graph, ranges(graph, frames) if frames else {})
        row = replace(row, short_share=len(chosen.short) / len(graph.graph.node))
        if frames:
            row = replace(row, parity_db=_db(parity(graph, chosen, frames)))
        megabytes, seconds, again = _plan(task, mixed(graph, chosen).SerializeToString())
    except EngineError as error:
        return replace(row, stopped="; ".join([*stops, _short(error)]))
    row = replace(row, fp16_mb=megabytes, fp16_s=seconds)
    stops += [f"FP16: {again}"] if again and again != stop else []
    return replace(row, stopped="; ".join(stops))


def _veil(task: Task) -> Row:
    """The embedded default: it makes maps at a size of its own, from a graph that its trainer
    exported and proved, so what is left to see is its plan."""
    from engines.store import Store

    bundle = Store().find("veil")
    megabytes, seconds, stop = _plan(task, bundle.model)
    return Row(
        name="veil", size=VEIL, nodes=bundle.facts.nodes, fp32_mb=megabytes, fp32_s=seconds,
        stopped=stop,
    )  # fmt: skip


def _db(result: Any) -> float:
    return float(result.psnr_db) if result.finite else float("-inf")


def _plan(task: Task, model: bytes) -> tuple[float | None, float | None, str]:
    """Size, seconds and what stopped it, of a plan for a GPU that need not be here."""
    from engines.trt import build_model

    started = time.process_time()
    try:
        built = build_model(model, task.name, task.capability)
    except EngineError as error:
        return None, None, _short(error)
    return len(built.plan) / 1e6, time.process_time() - started, ""


def _short(error: EngineError) -> str:
    return error.what[:200].replace("\n", " ").replace("|", "/")


def _child(task: Task, work: Measure, path: str) -> None:
    try:
        row = work(task)
    except Exception as error:  # a row says what broke; the survey goes on
        text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        row = Row(name=task.name, size=task.size, stopped=text.replace("|", "/"))
    Path(path).write_text(json.dumps(asdict(row)))


def alone(task: Task, limit_s: float, work: Measure = measure) -> Row:
    """`work` in a process of its own, ended after limit_s."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        process = multiprocessing.get_context("spawn").Process(
            target=_child, args=(task, work, str(path)), name=f"survey {task.name}"
        )
        process.start()
        process.join(limit_s)
        if process.is_alive():
            process.kill()
            process.join()
            stopped = f"not done in {limit_s:.0f} s"
            return Row(name=task.name, size=task.size, stopped=stopped)
        if not path.exists():
            stopped = f"its process ended with {process.exitcode}"
            return Row(name=task.name, size=task.size, stopped=stopped)
        return _row(json.loads(path.read_text()))


def _row(fields: dict[str, Any]) -> Row:
    return Row(**{**fields, "size": tuple(fields["size"])})


def read_rows(path: Path) -> list[Row]:
    """The rows of a survey so far."""
    return [_row(fields) for fields in json.loads(path.read_text())] if path.exists() else []


def survey(
    tasks: Sequence[Task], path: Path, limit_s: float, progress: Progress, work: Measure = measure
) -> list[Row]:
    """Makes the rows that the JSON file does not have yet; the file is whole after each."""
    rows = read_rows(path)
    for task in tasks:
        done = [row.size for row in rows if row.name == task.name]
        if task.size in done or VEIL in done and task.name == "veil":
            continue
        progress(f"{task.name} at {task.size[1]}x{task.size[0]}")
        rows.append(alone(task, limit_s, work))
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
        beside.replace(path)
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table, by network and size."""
    head = (
        "| network | size | export, CPU s | nodes | off torch, levels | FP16 vs FP32, dB |"
        " in 16 bits | FP32 plan | FP16 plan | stopped by |"
    )

    def cell(value: float | None, text: str = "{:.0f}") -> str:
        return "-" if value is None else text.format(value)

    def plan(megabytes: float | None, seconds: float | None) -> str:
        took = "" if seconds is None else f", {seconds:.1f} s"
        return "-" if megabytes is None else f"{megabytes:.1f} MB{took}"

    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda r: (r.name, r.size)):
        cells = [
            row.name, f"{row.size[1]}x{row.size[0]}", cell(row.export_s), cell(row.nodes),
            cell(row.difference), cell(row.parity_db, "{:.1f}"), cell(row.short_share, "{:.0%}"),
            plan(row.fp32_mb, row.fp32_s), plan(row.fp16_mb, row.fp16_s), row.stopped or "nothing",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
