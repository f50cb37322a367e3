"""All threads of searches are there when a service has started."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from app.threads import begin_all, in_thread


@pytest.mark.asyncio
async def test_work_finds_all_threads_begun_and_needs_no_new_one() -> None:
    with ThreadPoolExecutor(3, thread_name_prefix="early") as pool:
        await begin_all(pool, 3)
        assert sum(thread.name.startswith("early") for thread in threading.enumerate()) == 3
        assert await asyncio.get_running_loop().run_in_executor(pool, lambda: 7) == 7


@pytest.mark.asyncio
async def test_with_room_for_one_thread_only_the_pool_works_with_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = threading.Thread.start

    def begin_once(thread: threading.Thread) -> Any:
        if any(other.name.startswith("lone") for other in threading.enumerate()):
            raise RuntimeError("can't start new thread")
        return begin(thread)

    with ThreadPoolExecutor(3, thread_name_prefix="lone") as pool:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", begin_once)
            await begin_all(pool, 3)
        assert await asyncio.get_running_loop().run_in_executor(pool, lambda: 7) == 7


@pytest.mark.asyncio
async def test_work_in_a_thread_knows_which_request_it_is_done_for() -> None:
    with ThreadPoolExecutor(1) as pool, structlog.contextvars.bound_contextvars(request_id="mine"):
        assert await in_thread(pool, structlog.contextvars.get_contextvars) == {"request_id": "mine"}
