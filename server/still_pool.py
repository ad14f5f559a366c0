"""A few processes that restore single pictures, with a short queue before them.

A request over the queue's length is refused at once. A worker that crashes or overstays is
replaced; the request it had fails, the others go on. Time counts from the moment a warm worker has
the request; the wait before it is bounded by the queue's length.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

from structlog.typing import FilteringBoundLogger

from server.child import Child, launch
from server.engine_process import RestorerFactory
from server.errors import Failure
from server.metrics import Metrics
from server.packet import as_bytes
from server.shared import Slot
from server.still_process import StillAnswer, StillJob, StillTask, run

WorkerState = Literal["warming", "ready", "failed", "restarting"]
ANSWER_BYTES = 96 * 2**20  # an uncompressed comparison of the largest picture, and then some
WARM_S = 300.0  # for a worker to load its engine
BACKOFF_FIRST_S = 0.25
BACKOFF_MOST_S = 30.0


class PoolBusy(Failure):
    """The queue is full, or there is no worker: try later."""


class WorkerLost(Failure):
    """The worker died or overstayed with this request in hand."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """For /readyz. why: of a failure."""

    state: WorkerState
    why: str = ""


class _Worker:
    """One process and its two slots. Used from the event loop only."""

    def __init__(
        self,
        number: int,
        capacity: int,
        factories: Mapping[str, RestorerFactory],
        default: str,
    ) -> None:
        self.status = WorkerStatus("warming")
        self.warm = asyncio.Event()  # it has said ready or failed
        self._requests = Slot.create(capacity, f"still {number} in")
        self._answers = Slot.create(ANSWER_BYTES, f"still {number} out")
        task = StillTask(
            requests=self._requests.handle,
            answers=self._answers.handle,
            factories=dict(factories),
            default=default,
        )
        handles = (*self._requests.handle.fds, *self._answers.handle.fds)
        try:
            self.child: Child = launch(run, task, title=f"surgiclear: still {number}", fds=handles)
        except BaseException:
            self._requests.close()
            self._answers.close()
            raise
        self._waiter: asyncio.Future[tuple[StillAnswer, bytes]] | None = None
        self.gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.child.control.fileno(), self._heard)
        loop.add_reader(self._answers.fileno(), self._answered)

    async def ask(self, job: StillJob, data: bytes) -> tuple[StillAnswer, bytes]:
        """Raises WorkerLost when the process dies meanwhile."""
        if self.gone.is_set():
            raise WorkerLost("the picture worker has died", "try again")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            self._requests.put(json.dumps(asdict(job)).encode(), [as_bytes(data)])
            return await self._waiter
        finally:
            self._waiter = None

    def _heard(self) -> None:
        try:
            while (message := self.child.control.receive()) is not None:
                failed = message.get("state") != "ready"
                self.status = WorkerStatus(
                    "failed" if failed else "ready", str(message.get("why", ""))
                )
                self.warm.set()
        except EOFError:
            asyncio.get_running_loop().remove_reader(self.child.control.fileno())
            self.gone.set()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(WorkerLost("the picture worker died", "try again"))

    def _answered(self) -> None:
        item = self._answers.take()
        if item is not None and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result((StillAnswer(**json.loads(item.head)), item.body.tobytes()))

    async def end(self) -> None:
        """Kills it and waits until nothing of it is left."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._answers.fileno())
        loop.remove_reader(self.child.control.fileno())
        self.gone.set()
        self.child.kill()
        try:
            for _ in range(100):
                if self.child.reaped():
                    break
                await asyncio.sleep(0.02)
        finally:
            self._requests.close()
            self._answers.close()


class StillPool:
    """`submit` is the whole of it. size, queue: as [stills] of the settings."""

    def __init__(
        self,
        factories: Mapping[str, RestorerFactory],
        default: str,
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        size: int = 1,
        queue: int = 8,
        timeout_s: float = 120.0,
        max_bytes: int = 32 * 2**20,
    ) -> None:
        self._factories = factories
        self._default = default
        self._metrics = metrics
        self._log = log
        self._size = size
        self._most = size + queue
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._pending = 0
        self._numbers = 0
        self._workers: dict[int, _Worker] = {}
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._keepers = [asyncio.create_task(self._keep(n)) for n in range(self._size)]

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    @property
    def depth(self) -> int:
        """Requests waiting or in work."""
        return self._pending

    def status(self) -> tuple[WorkerStatus, ...]:
        """One entry a worker."""
        return tuple(
            self._workers[n].status if n in self._workers else WorkerStatus("restarting")
            for n in range(self._size)
        )

    async def submit(self, job: StillJob, data: bytes) -> tuple[StillAnswer, bytes]:
        """The answer and its picture. Raises PoolBusy or WorkerLost."""
        if self._size == 0:
            raise PoolBusy("this service restores no single pictures", "set stills.workers")
        if self._pending >= self._most:
            raise PoolBusy(f"{self._pending} pictures wait already", "try again in a moment")
        self._pending += 1
        self._metrics.still_queue.set(self._pending)
        try:
            return await self._work(job, data)
        finally:
            self._pending -= 1
            self._metrics.still_queue.set(self._pending)

    async def _work(self, job: StillJob, data: bytes) -> tuple[StillAnswer, bytes]:
        worker = await self._free.get()
        while worker.gone.is_set():
            worker = await self._free.get()
        self._numbers += 1
        answered = False
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await worker.ask(replace(job, number=self._numbers), data)
            answered = True
        except TimeoutError:
            raise WorkerLost(f"no answer within {self._timeout_s:g} s", "try again") from None
        finally:
            if answered:
                self._free.put_nowait(worker)
            else:  # died, overstayed, or nobody wants the answer any more: it may be stuck
                worker.gone.set()
        return answer

    async def _keep(self, number: int) -> None:
        """Keeps one worker alive; ends with the pool."""
        wait_s = BACKOFF_FIRST_S
        clock = asyncio.get_running_loop().time
        while True:
            started_s = clock()
            try:
                await self._one_life(number)
            except OSError as error:  # no process or memory to be had
                self._log.error("picture worker cannot start", worker=number, why=str(error))
            lived_long = clock() - started_s > BACKOFF_MOST_S
            wait_s = BACKOFF_FIRST_S if lived_long else min(2 * wait_s, BACKOFF_MOST_S)
            self._metrics.still_restarts.inc()
            self._log.error("picture worker lost", worker=number, again_in_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _one_life(self, number: int) -> None:
        worker = _Worker(number, self._max_bytes, self._factories, self._default)
        self._workers[number] = worker
        waits = [asyncio.ensure_future(e.wait()) for e in (worker.warm, worker.gone)]
        try:
            await asyncio.wait(waits, timeout=WARM_S, return_when=asyncio.FIRST_COMPLETED)
            if worker.warm.is_set():
                self._free.put_nowait(worker)
                await worker.gone.wait()
        finally:
            for wait in waits:
                wait.cancel()
            del self._workers[number]
            await worker.end()
