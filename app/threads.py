"""Threads that are there before anybody asks for one, and work that is done in them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """The result of `work`, done in a thread of the pool. Context variables are there as they are here, so
    what it logs names the request that it is done for.
    """
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(work))


async def begin_all(pool: ThreadPoolExecutor, number: int) -> None:
    """Begin all `number` threads of a pool that nobody uses yet: when memory has run out none can be begun,
    and what the pool does shall go on. Where there is no room for as many, those that there are do.
    """
    together = threading.Barrier(number)

    def wait_for_the_others() -> None:
        with suppress(threading.BrokenBarrierError):
            together.wait()

    loop = asyncio.get_running_loop()
    try:
        begun = [loop.run_in_executor(pool, wait_for_the_others) for _ in range(number)]
    except RuntimeError:
        together.abort()
    else:
        await asyncio.gather(*begun)
