"""Work of several requests in one call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.api.batching import Batcher

pytestmark = pytest.mark.asyncio


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


class Squares:
    """Squares numbers and remembers which came together; refuses a negative one. When it is held, it waits
    until `go` is set.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.begun = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.threads.add(threading.current_thread().name)
        self.begun.set()
        assert self.go.wait(60)
        if min(numbers) < 0:
            raise ValueError(f"negative: {min(numbers)}")
        return [number * number for number in numbers]


async def test_items_that_arrive_together_are_one_batch_in_another_thread(
    executor: ThreadPoolExecutor,
) -> None:
    squares = Squares()
    batcher = Batcher(squares, executor, size=16, wait=0.05)
    answers = await asyncio.gather(*(batcher.submit(number) for number in range(5)))
    assert answers == [0, 1, 4, 9, 16]
    assert squares.batches == [[0, 1, 2, 3, 4]]
    assert threading.current_thread().name not in squares.threads


async def test_a_full_batch_does_not_wait(executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(Squares(), executor, size=3, wait=60)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(batcher.submit(number) for number in range(3))) == [0, 1, 4]


async def test_a_lone_item_waits_no_longer_than_it_is_told(executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(Squares(), executor, size=16, wait=0.002)
    async with asyncio.timeout(5):
        assert await batcher.submit(7) == 49


async def test_what_arrives_while_a_batch_runs_is_the_next_batch(executor: ThreadPoolExecutor) -> None:
    squares = Squares(held=True)
    batcher = Batcher(squares, executor, size=4, wait=0.0)
    first = asyncio.create_task(batcher.submit(1))
    assert await asyncio.to_thread(squares.begun.wait, 60)
    rest = [asyncio.create_task(batcher.submit(number)) for number in range(2, 8)]
    await asyncio.sleep(0)
    squares.go.set()
    assert await first == 1
    assert await asyncio.gather(*rest) == [4, 9, 16, 25, 36, 49]
    assert squares.batches == [[1], [2, 3, 4, 5], [6, 7]]


async def test_a_bad_item_fails_alone(executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(Squares(), executor, size=16, wait=0.01)
    answers = await asyncio.gather(*(batcher.submit(n) for n in (3, -1, 4)), return_exceptions=True)
    assert answers[0] == 9 and answers[2] == 16
    assert isinstance(answers[1], ValueError)


async def test_a_caller_that_left_is_not_worked_for(executor: ThreadPoolExecutor) -> None:
    squares = Squares()
    batcher = Batcher(squares, executor, size=16, wait=0.05)
    leaving = asyncio.create_task(batcher.submit(5))
    staying = asyncio.create_task(batcher.submit(6))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 36
    assert squares.batches == [[6]]


async def test_who_waits_behind_a_whole_batch_of_callers_that_left_is_worked_for(
    executor: ThreadPoolExecutor,
) -> None:
    squares = Squares(held=True)
    batcher = Batcher(squares, executor, size=2, wait=0.0)
    first = asyncio.create_task(batcher.submit(1))
    assert await asyncio.to_thread(squares.begun.wait, 60)
    leaving = [asyncio.create_task(batcher.submit(number)) for number in (2, 3)]
    staying = asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.sleep(0)
    squares.go.set()
    async with asyncio.timeout(5):
        assert await first == 1 and await staying == 16
    assert squares.batches == [[1], [4]]
