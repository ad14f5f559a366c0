"""Who mines the videos: this process, a pool of processes, or a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.synchronize import Event
from typing import Any, Protocol

import cv2

from trainer.curate.mine import Mined, Task, mine

AHEAD = 2  # tasks handed to a cluster for each of its cores
RETRIES = 2  # of a task whose worker died
GRACE_S = 20.0  # for interrupted tasks to end


class Workers(Protocol):
    """Mines tasks in any order. stop: set, no task is begun, and those under way end at their next
    commit."""

    def run(self, tasks: Sequence[Task], stop: threading.Event) -> Iterator[Mined]: ...


class Here:
    """One video after the other, in this process."""

    def run(self, tasks: Sequence[Task], stop: threading.Event) -> Iterator[Mined]:
        for task in tasks:
            if stop.is_set():
                return
            yield _safely(task, stop.is_set)


class Pool:
    """Processes of this machine, one video each."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def run(self, tasks: Sequence[Task], stop: threading.Event) -> Iterator[Mined]:
        context = multiprocessing.get_context("spawn")  # fork and threads do not go together
        halt = context.Event()
        with ProcessPoolExecutor(
            self.jobs, mp_context=context, initializer=_begin, initargs=(halt,)
        ) as pool:
            waiting: set[Future[Mined]] = {pool.submit(_in_pool, task) for task in tasks}
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                if stop.is_set() and not halt.is_set():
                    halt.set()
                    waiting = {future for future in waiting if not future.cancel()}
                for future in done:
                    yield future.result()


class Cluster:
    """A Ray cluster: each video is one task of one core. The videos and the output folder must lie
    where every node sees them under the same path. A worker that dies is replaced, and the video
    goes on from its last commit; so it does after a stop, which interrupts those under way.

    address: of a running cluster, or `local` for one of this machine's own. Raises ValueError where
    nobody answers.
    """

    def __init__(self, address: str) -> None:
        import ray

        self._ray: Any = ray
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the hospital
        # `local`, not None: None would follow RAY_ADDRESS to another cluster
        alone = {"include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, **alone)
        except Exception as error:  # Ray raises that itself, too
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(f"there is no Ray cluster at {address}: {said}") from error

    def run(self, tasks: Sequence[Task], stop: threading.Event) -> Iterator[Mined]:
        remote = self._ray.remote(num_cpus=1, max_retries=RETRIES)(_safely)
        most = AHEAD * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        left = list(reversed(tasks))
        running: dict[Any, Task] = {}
        while running or (left and not stop.is_set()):
            while left and len(running) < most and not stop.is_set():
                task = left.pop()
                running[remote.remote(task)] = task
            done, _ = self._ray.wait(list(running), num_returns=1, timeout=1.0)
            for reference in done:
                yield self._result(reference, running.pop(reference))
            if stop.is_set() and running:
                for reference in running:
                    self._ray.cancel(reference, force=False)
                # the data set is built next: nobody may still be writing
                self._ray.wait(list(running), num_returns=len(running), timeout=GRACE_S)
                return

    def _result(self, reference: Any, task: Task) -> Mined:
        try:
            mined: Mined = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # its workers died, again and again
            lines = str(error).strip().splitlines() or [""]
            said = f"{type(error).__name__}: {lines[0]}"
            return Mined(name=task.name, label=task.label, finished=False, failure=said)
        return mined


def _safely(task: Task, stop: Callable[[], bool] | None = None) -> Mined:
    """One video's failure is not the others'."""
    cv2.setNumThreads(1)  # the videos are the parallelism
    try:
        return mine(task, stop)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return Mined(name=task.name, label=task.label, finished=False, failure=said)


_halt: list[Event] = []  # of this pool process, given to it as it began


def _begin(halt: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    _halt.append(halt)


def _in_pool(task: Task) -> Mined:
    return _safely(task, _halt[0].is_set)
