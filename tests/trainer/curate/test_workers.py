"""A pool and a cluster mine each video once; a stop is heard; a failure is one video's own."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import surgery

from trainer.curate import workers
from trainer.curate.finder import Settings
from trainer.curate.mine import Mined, Task, journal_of
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


class FakeRayError(Exception):
    """Of Ray itself, not of a task."""


class FakeRay(types.ModuleType):
    """As much of Ray as is used; tasks run when they are asked for."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = types.SimpleNamespace(RayError=FakeRayError)
        self.dies: set[str] = set()
        self.address: str | None = "unset"
        self.settings: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.waiting: list[tuple[Callable[[Task], Mined], Task]] = []
        self.most = 0
        self.cancelled = 0
        self.waited: list[int] = []

    def is_initialized(self) -> bool:
        return False

    def init(self, address: str | None, log_to_driver: bool, **settings: Any) -> None:
        if address == "absent:1":
            raise ConnectionError("nobody answers\nand more about it")
        self.address, self.settings = address, settings

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
        self.waited.append(num_returns)
        return running[:num_returns], running[num_returns:]

    def get(self, reference: tuple[Callable[[Task], Mined], Task]) -> Mined:
        self.waiting.remove(reference)
        function, task = reference
        if task.name in self.dies:
            raise FakeRayError("its worker died\nand more about it")
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


def test_a_cluster_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    with pytest.raises(ValueError, match="no Ray cluster at absent:1: nobody answers$"):
        Cluster("absent:1")


def test_a_cluster_hears_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    stop = threading.Event()
    cluster = Cluster("local")
    assert ray.address == "local"  # whatever RAY_ADDRESS says
    assert ray.settings == {"include_dashboard": False}
    done = []
    for mined in cluster.run(tasks(tmp_path, 5), stop):
        done.append(mined)
        stop.set()
    assert len(done) == 1 and ray.cancelled == 1
    assert ray.waited == [1, 1]  # for those under way, too


def test_a_worker_that_keeps_dying_fails_one_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    ray.dies = {"v1"}
    monkeypatch.setitem(sys.modules, "ray", ray)
    done = {m.name: m for m in Cluster("auto").run(tasks(tmp_path, 3), threading.Event())}
    assert [done[f"v{n}"].finished for n in range(3)] == [True, False, True]
    assert done["v1"].failure == "FakeRayError: its worker died"


@pytest.fixture
def real_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install surgiclear[cluster]")
    monkeypatch.setenv("RAY_ADDRESS", "203.0.113.1:1")  # `local` must not go there
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An episode of smoke in 28 s, twice over."""
    folder = tmp_path_factory.mktemp("film")
    plan = (surgery.Scene(3, 28, surgery.turn("S"), 3),)
    once = surgery.Surgery(plan).write(folder / "once.mp4")
    with av.open(str(folder / "film.mp4"), "w") as out:
        stream = None
        for turn in range(2):
            with av.open(str(once)) as source:
                stream = stream or out.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    later = int(turn * 28 / packet.time_base)
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                    packet.stream = stream
                    out.mux(packet)
    return folder / "film.mp4"


def on_their_way(film: Path, out: Path) -> list[Task]:
    return [
        Task(path=film, name=name, label=f"{name}.mp4", case=name, out=out, settings=Settings())
        for name in ("a", "b")
    ]


def once_committed(task: Task, then: Callable[[], object]) -> threading.Thread:
    """Does something when a video has its first commit."""

    def watch() -> None:
        until = time.monotonic() + 150
        while not (task.out / "journal" / task.name / "state.npz").exists():
            if time.monotonic() > until:
                return
            time.sleep(0.005)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def kill_workers(killed: list[int]) -> None:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name().startswith("ray::_safely"):
                process.kill()
                killed.append(process.pid)


def rows(task: Task) -> list[dict[str, str]]:
    return [{**r, "id": "", "input": "", "gt": ""} for r in journal_of(task).load()[0].rows]


def test_a_real_cluster_outlives_its_workers_and_a_stop(
    film: Path, tmp_path: Path, real_ray: Any
) -> None:
    """What was killed, and what was stopped, ends with the rows of an undisturbed run."""
    quiet = on_their_way(film, tmp_path / "quiet")[:1]
    (undisturbed,) = Here().run(quiet, threading.Event())
    want = rows(quiet[0])
    assert want and undisturbed.finished
    cluster = Cluster("local")
    assert len(real_ray.nodes()) == 1

    killed: list[int] = []
    given = on_their_way(film, tmp_path / "killed")
    thread = once_committed(given[0], lambda: kill_workers(killed))
    done = {m.name: m for m in cluster.run(given, threading.Event())}
    thread.join()
    assert killed and all(m.finished and not m.failure for m in done.values())
    assert done["a"].decoded < undisturbed.decoded  # went on from where it was
    assert [rows(t)[0]["kind"] for t in given] == [want[0]["kind"]] * 2
    assert [r["frame_s"] for r in rows(given[0])] == [r["frame_s"] for r in want]

    given = on_their_way(film, tmp_path / "stopped")[:1]
    stop = threading.Event()
    thread = once_committed(given[0], stop.set)
    cut = list(cluster.run(given, stop))
    thread.join()
    assert not any(m.finished for m in cut)
    before = journal_of(given[0]).load()[0].decoded
    assert 0 < before < undisturbed.decoded
    (rest,) = cluster.run(given, threading.Event())
    assert rest.finished and rest.decoded == undisturbed.decoded - before
    assert [r["frame_s"] for r in rows(given[0])] == [r["frame_s"] for r in want]
