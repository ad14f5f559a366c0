"""A pool and a cluster mine each video once; a stop is heard; a failure is one video's own."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from trainer.curate import workers
from trainer.curate.finder import Settings
from trainer.curate.mine import Mined, Task
from trainer.curate.workers import Cluster, Here, Pool


def tasks(folder: Path, count: int) -> list[Task]:
    out = []
    for n in range(count):
        path = folder / f"{n}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=2, options={"threads": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for k in range(4):
                frame = av.VideoFrame.from_ndarray(
                    np.full((64, 64, 3), (150, 60, 50), np.uint8), format="rgb24"
                )
                frame.pts, frame.time_base = k, Fraction(1, 2)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        out.append(
            Task(path=path, name=f"v{n}", label=path.name, case="c", out=folder / "out",
                 settings=Settings())
        )  # fmt: skip
    return out


def test_a_pool_mines_every_video_once(tmp_path: Path) -> None:
    done = list(Pool(2).run(tasks(tmp_path, 3), threading.Event()))
    assert sorted(m.name for m in done) == ["v0", "v1", "v2"]
    assert all(m.finished and not m.failure and m.decoded == 4 for m in done)
    again = list(Pool(2).run(tasks_of(tmp_path), threading.Event()))
    assert [m.decoded for m in again] == [0, 0, 0]


def tasks_of(folder: Path) -> list[Task]:
    """Those of the files that are there already."""
    return [
        Task(path=path, name=f"v{path.stem}", label=path.name, case="c", out=folder / "out",
             settings=Settings())
        for path in sorted(folder.glob("*.mp4"))
    ]  # fmt: skip


def test_nothing_is_begun_after_a_stop(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert list(Here().run(tasks(tmp_path, 1), stop)) == []


def test_a_failure_is_one_video_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(task: Task, stop: object) -> Mined:
        if task.name == "v0":
            raise OSError("disk full")
        return Mined(name=task.name, label=task.label, finished=True)

    monkeypatch.setattr(workers, "mine", fails)
    done = list(Here().run(tasks(tmp_path, 2), threading.Event()))
    assert [m.failure for m in done] == ["OSError: disk full", ""]


class FakeRay(types.ModuleType):
    """As much of Ray as is used; tasks run when they are asked for."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.address: str | None = "unset"
        self.options: dict[str, Any] = {}
        self.waiting: list[tuple[Callable[[Task], Mined], Task]] = []
        self.most = 0
        self.cancelled = 0

    def is_initialized(self) -> bool:
        return False

    def init(self, address: str | None, log_to_driver: bool) -> None:
        self.address = address

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}

    def remote(self, **options: Any) -> Callable[[Callable[[Task], Mined]], Any]:
        self.options = options

        def wrapped(function: Callable[[Task], Mined]) -> Any:
            def submit(task: Task) -> object:
                self.waiting.append((function, task))
                self.most = max(self.most, len(self.waiting))
                return self.waiting[-1]

            return types.SimpleNamespace(remote=submit)

        return wrapped

    def wait(self, running: list[Any], num_returns: int, timeout: float) -> tuple[Any, Any]:
        return running[:1], running[1:]

    def get(self, reference: tuple[Callable[[Task], Mined], Task]) -> Mined:
        self.waiting.remove(reference)
        function, task = reference
        return function(task)

    def cancel(self, reference: object, force: bool) -> None:
        self.cancelled += 1


def test_a_cluster_gets_a_few_tasks_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    cluster = Cluster("auto")
    assert ray.address == "auto"
    done = list(cluster.run(tasks(tmp_path, 5), threading.Event()))
    assert [m.name for m in done] == [f"v{n}" for n in range(5)]
    assert all(m.finished and m.decoded == 4 for m in done)
    assert ray.most == 2 and ray.options["num_cpus"] == 1


def test_a_cluster_hears_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    stop = threading.Event()
    cluster = Cluster("local")
    assert ray.address is None
    done = []
    for mined in cluster.run(tasks(tmp_path, 5), stop):
        done.append(mined)
        stop.set()
    assert len(done) == 1 and ray.cancelled == 1


def test_a_real_cluster(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install surgiclear[cluster]")
    try:
        done = list(Cluster("local").run(tasks(tmp_path, 2), threading.Event()))
        assert all(m.finished for m in done)
    finally:
        ray.shutdown()
