"""The event loop of a test client: in a thread of its own, with a clock that can be moved forward.

asyncio asks its selector to wait when nothing is ready to run, and says until when: that is the moment to
move the clock. So time travels from one timer to the next, and whatever a timer wakes runs to its rest
before the clock goes on:

    travel(30)   idle ── +5 ──> a sleep of 5 s ends, its task runs ── idle ── +10 ──> ... ── idle ── +15
"""

from __future__ import annotations

import asyncio
import atexit
import selectors
import threading
import time
import weakref
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from .threads import WorkerThreads, set_worker_threads

__all__ = ["LoopThread"]

T = TypeVar("T")

# Seconds in which a worker thread may come to an end before the clock is moved without it.
PATIENCE = 0.1

Events = list[tuple[selectors.SelectorKey, int]]


class _Journey:
    """Seconds that the clock is to go. `until` is known when it begins."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.until: float | None = None
        self.patience = PATIENCE
        self.arrived: Future[None] = Future()


class _Selector(selectors.DefaultSelector):
    """Moves the clock of its loop where it would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0  # seconds by which the clock was moved
        self.journeys: deque[_Journey] = deque()
        self.threads: WorkerThreads | None = None

    def time(self) -> float:
        """The time of the loop."""
        return time.monotonic() + self.ahead

    def select(self, timeout: float | None = None) -> Events:
        # With 0 there are callbacks to be run; below, there is nothing to do until the next timer.
        if not self.journeys or timeout == 0:
            return super().select(timeout)
        return super().select(0) or self._travel(self.journeys[0], timeout)

    def _travel(self, journey: _Journey, timeout: float | None) -> Events:
        if journey.patience > 0 and self._threads_work():
            began = time.monotonic()
            events = super().select(journey.patience if timeout is None else min(timeout, journey.patience))
            elapsed = time.monotonic() - began
            journey.patience -= elapsed
            self.ahead -= elapsed  # it is not the test's time that has passed
            return events
        now = self.time()
        if journey.until is None:
            journey.until = now + journey.seconds
        if now >= journey.until:
            self.journeys.popleft().arrived.set_result(None)
        else:
            left = journey.until - now
            self.ahead += left if timeout is None else min(left, timeout)
        return []

    def _threads_work(self) -> bool:
        threads = self.threads
        return threads is not None and bool(threads.unfinished or threads.files.unfinished)


class _TravelLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be moved forward."""

    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.time()

    async def shutdown_default_executor(self, *args: Any) -> None:
        # It waits in a new thread; a client that nobody has closed ends when no thread can start any more.
        with suppress(RuntimeError):
            await super().shutdown_default_executor(*args)


class LoopThread:
    """An event loop that runs in a thread of its own until `close`, or until nobody holds the object."""

    def __init__(self) -> None:
        self.loop = _TravelLoop()
        self._thread = threading.Thread(
            target=_run_loop, args=(self.loop,), name="weebill-test-client", daemon=True
        )
        self._thread.start()
        weakref.finalize(self, _stop_loop, self.loop).atexit = False
        _running.add(self)

    def close(self) -> None:
        """Stop the loop, and wait for its end."""
        _stop_loop(self.loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` there and wait for what it returns."""
        return self.begin(coroutine).result()

    def travel(self, seconds: float) -> None:
        """Move the clock forward and return when everything that was due has been done.

        Raises ValueError for a way back, and RuntimeError in the loop's own thread, which cannot wait for
        itself.
        """
        if not seconds >= 0:
            raise ValueError(f"time goes forward only, not by {seconds!r} seconds")
        if threading.current_thread() is self._thread:
            raise RuntimeError("the clock cannot be moved by what it moves: travel from the test")
        journey = _Journey(seconds)
        self.loop.call_soon_threadsafe(self.loop.selector.journeys.append, journey)
        journey.arrived.result()


def _run_loop(loop: _TravelLoop) -> None:
    threads = loop.selector.threads = WorkerThreads(loop)
    set_worker_threads(threads)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()
    threads.stop()


def _stop_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Not wait for its end: the garbage collector may call this anywhere, in a thread that holds a lock which
    the loop needs to come to its end."""
    with suppress(RuntimeError):  # a handler that exits has ended the loop itself
        loop.call_soon_threadsafe(loop.stop)


_running: weakref.WeakSet[LoopThread] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Threads that still run when Python ends make it say so."""
    for thread in tuple(_running):
        thread.close()
