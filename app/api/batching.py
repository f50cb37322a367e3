"""Work of several requests in one call of a function that is cheaper by the batch, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[T, R]):
    item: T
    answer: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """Collects items for at most `wait` seconds, or until there are `size`, and runs them as one batch in one
    thread.

    `run` takes a sequence and returns one result for each item, in order. While it runs, what arrives
    collects for the next batch. When a batch of several fails, each of its items is run alone, so a bad item
    fails by itself only.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        executor: ThreadPoolExecutor,
        *,
        size: int,
        wait: float,
    ) -> None:
        self._run = run
        self._executor = executor
        self._size = size
        self._wait = wait
        self._waiting: list[_Waiting[T, R]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, item: T) -> R:
        """The result for one item. Raises what `run` raises for it."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting[T, R] = _Waiting(item, loop.create_future())
        self._waiting.append(waiting)
        if not self._running:
            if len(self._waiting) >= self._size:
                self._flush()
            elif self._timer is None:
                self._timer = loop.call_later(self._wait, self._flush)
        return await waiting.answer

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Before the batch is cut: behind a whole batch of callers that left nobody would come for the rest.
        waiting = [each for each in self._waiting if not each.answer.cancelled()]
        batch, self._waiting = waiting[: self._size], waiting[self._size :]
        if batch:
            task = asyncio.get_running_loop().create_task(self._work(batch))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and not self._running:
            # These have waited for the batch before; no reason to wait longer.
            self._flush()

    async def _work(self, batch: list[_Waiting[T, R]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._run, [w.item for w in batch])
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for waiting in batch:
                await self._work([waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(result)


def _fail(waiting: _Waiting[T, R], error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
