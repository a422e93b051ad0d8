"""The worker threads of `def` handlers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import httpx
import pytest

from weebill import App
from weebill.errors import QueueFull
from weebill.testing import LiveServer, TestClient
from weebill.threads import (
    FILE_THREADS,
    WorkerThreads,
    run_file_io,
    run_in_thread,
    set_worker_threads,
    worker_threads,
)


def with_pool(size: int, queue: int, use: Callable[[WorkerThreads], Awaitable[Any]]) -> Any:
    """Run `use` with a pool of its own on a fresh loop."""

    async def main() -> Any:
        pool = WorkerThreads(asyncio.get_running_loop(), size, queue)
        set_worker_threads(pool)
        try:
            async with asyncio.timeout(20):
                return await use(pool)
        finally:
            pool.stop()

    return asyncio.run(main())


def test_a_call_runs_in_a_worker_and_its_result_comes_back() -> None:
    async def use(pool: WorkerThreads) -> list[Any]:
        name = await run_in_thread(lambda: threading.current_thread().name)
        return [name, await run_in_thread(divmod, 7, 2), await run_in_thread(int, "ff", base=16)]

    name, *results = with_pool(2, 10, use)
    assert name.startswith("weebill-worker-")
    assert results == [(3, 1), 255]


def test_threads_that_wait_are_all_called_when_there_is_work_for_all() -> None:
    """However their ways cross: some come to wait while others are called."""

    async def use(pool: WorkerThreads) -> None:
        pool.start_all()
        for number in range(300):
            together = threading.Barrier(8)
            jobs = [pool.run(together.wait, 10) for _ in range(8)]
            if number % 3 == 0:
                await asyncio.sleep(0.001)  # here all of them wait before the next round
            assert sorted(await asyncio.gather(*jobs)) == list(range(8))
            await asyncio.gather(*(pool.run(int) for _ in range(number % 5)))

    with_pool(8, 100, use)


def test_the_threads_end_when_the_pool_stops() -> None:
    async def use(pool: WorkerThreads) -> set[threading.Thread]:
        others = set(threading.enumerate())
        pool.start_all()
        return set(threading.enumerate()) - others

    threads = with_pool(8, 100, use)
    assert len(threads) == 8 + FILE_THREADS
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def leave() -> None:
    raise GeneratorExit


def test_an_exception_comes_back_too() -> None:
    async def use(pool: WorkerThreads) -> None:
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(divmod, 1, 0)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await run_in_thread(next, iter(()))
        with pytest.raises(RuntimeError, match="GeneratorExit"):
            await run_in_thread(leave)
        assert await run_in_thread(abs, -1) == 1
        assert pool.unfinished == 0

    with_pool(1, 10, use)


def test_threads_are_started_as_they_are_needed_and_no_more_than_allowed() -> None:
    async def use(pool: WorkerThreads) -> set[str]:
        for _ in range(10):
            await run_in_thread(abs, -1)
        assert pool._threads == 1
        meeting = threading.Barrier(3)

        def meet() -> str:
            meeting.wait(10)
            return threading.current_thread().name

        return set(await asyncio.gather(*(run_in_thread(meet) for _ in range(9))))

    assert len(with_pool(3, 100, use)) == 3


def test_beyond_the_queue_a_call_is_refused_at_once() -> None:
    async def use(pool: WorkerThreads) -> None:
        gate = threading.Event()
        calls = [run_in_thread(gate.wait, 10) for _ in range(2 + 3)]
        with pytest.raises(QueueFull, match="3 requests wait"):
            run_in_thread(abs, -1)
        gate.set()
        assert await asyncio.gather(*calls) == [True] * 5
        assert await run_in_thread(abs, -1) == 1

    with_pool(2, 3, use)


def test_a_full_queue_is_a_503_to_the_client() -> None:
    app, gate, full = App(), threading.Event(), threading.Event()

    @app.get("/def")
    def blocked() -> str:
        return "done" if gate.wait(10) else "late"

    @app.get("/async")
    async def free() -> str:
        return "free"

    with (
        LiveServer(app, threads=1, thread_queue=1) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(client.get("/def"))
            full.set()

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert full.wait(10)  # the third is refused while the others still wait
        [refused] = answers
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/async").text == "free"
        gate.set()
        for thread in threads:
            thread.join(10)
    assert sorted(answer.text for answer in answers[1:]) == ["done", "done"]


def test_a_cancelled_call_that_waits_is_never_made() -> None:
    async def use(pool: WorkerThreads) -> list[str]:
        gate, made = threading.Event(), []
        first = run_in_thread(gate.wait, 10)
        second = run_in_thread(made.append, "cancelled")
        third = run_in_thread(made.append, "wanted")
        second.cancel()
        gate.set()
        await first
        await third
        assert pool.unfinished == 0
        return made

    assert with_pool(1, 10, use) == ["wanted"]


def test_each_call_has_the_context_of_its_caller_and_leaves_it_alone() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    def swap() -> str:
        seen = variable.get()
        variable.set("changed in the thread")
        return seen

    async def caller(value: str) -> list[str]:
        variable.set(value)
        return [await run_in_thread(swap), await run_in_thread(swap), variable.get()]

    async def use(pool: WorkerThreads) -> list[list[str]]:
        return list(await asyncio.gather(caller("a"), caller("b")))

    assert with_pool(1, 10, use) == [["a", "a", "a"], ["b", "b", "b"]]


def test_without_a_pool_the_loop_gets_one_of_its_own() -> None:
    async def main() -> str:
        name = await run_in_thread(lambda: threading.current_thread().name)
        from weebill.threads import _local

        _local.pool.stop()
        return name

    assert asyncio.run(main()).startswith("weebill-worker-")
    assert asyncio.run(main()).startswith("weebill-worker-")


def test_threads_end_when_the_pool_stops() -> None:
    ended: list[threading.Thread] = []

    async def use(pool: WorkerThreads) -> None:
        ended.append(await run_in_thread(threading.current_thread))

    with_pool(1, 1, use)
    ended[0].join(10)
    assert not ended[0].is_alive()


def test_many_results_at_once_are_all_delivered() -> None:
    async def use(pool: WorkerThreads) -> int:
        return sum(await asyncio.gather(*(run_in_thread(abs, -1) for _ in range(5000))))

    assert with_pool(8, 10_000, use) == 5000


def test_a_hundred_blocked_handlers_leave_the_loop_free() -> None:
    app, gate = App(), threading.Event()

    @app.get("/def")
    def blocked() -> str:
        return "done" if gate.wait(10) else "late"

    @app.get("/async")
    async def free() -> str:
        gate.set()  # only this answer lets the others go on
        return "free"

    with TestClient(app) as client:
        results: list[str] = []
        threads = [
            threading.Thread(target=lambda: results.append(client.get("/def").text)) for _ in range(100)
        ]
        for thread in threads:
            thread.start()
        assert client.get("/async").text == "free"
        for thread in threads:
            thread.join(20)
    assert results == ["done"] * 100


def test_files_have_threads_of_their_own_which_handlers_do_not_hold_up() -> None:
    gate = threading.Event()

    async def use(pool: WorkerThreads) -> str:
        blocked = [run_in_thread(gate.wait, 10) for _ in range(2)]
        name = await run_file_io(lambda: threading.current_thread().name)
        assert await run_file_io(int, "ff", base=16) == 255
        gate.set()
        await asyncio.gather(*blocked)
        return name

    assert with_pool(1, 1, use).startswith("weebill-file-")


def test_all_threads_may_be_started_at_once() -> None:
    async def use(pool: WorkerThreads) -> int:
        before = set(threading.enumerate())
        worker_threads().start_all()
        worker_threads().start_all()
        return len(set(threading.enumerate()) - before)

    assert with_pool(3, 1, use) == 3 + FILE_THREADS
