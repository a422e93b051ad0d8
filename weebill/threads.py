"""The worker threads that `def` handlers run in, and a few more for files.

One pool for each event loop. Jobs go in through one deque and results come back through another. One call of
a thread is enough for all jobs of a turn of the loop, and one wake-up of the loop delivers all results that
are ready by then. That costs a fifth of `run_in_executor`.

    loop: run() ── deque of jobs ────> thread: context.run(function)
      ^      └──── _call_one() ────────^          │
      └── _deliver() <── deque of results <───────┘   one call_soon_threadsafe per batch

A thread that takes a job and leaves others calls the next thread, for its own may last. But no more than one
is on its way at any time: most jobs are done before it comes, and to change threads costs more than they do.
(A SimpleQueue of Python 3.13 calls a thread for each job.)

Files are read and written in threads of their own, so that no handler holds them up. Not in those of
asyncio.to_thread: its executor takes nothing more once the main thread has come to its end, and a server in
the background outlives that.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .errors import QueueFull

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

__all__ = [
    "WorkerThreads",
    "finish_in_thread",
    "run_file_io",
    "run_in_thread",
    "set_worker_threads",
    "worker_threads",
]

FILE_THREADS = 8

T = TypeVar("T")
P = ParamSpec("P")

Job = tuple["asyncio.Future[Any]", "Context", "Callable[..., Any]", tuple[Any, ...]]


class WorkerThreads:
    """At most `size` threads, started as they are needed, and at most `queue` jobs waiting for one.

    `files` is a second, smaller pool for file I/O.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, size: int = 40, queue: int = 1000, name: str = "worker"
    ) -> None:
        self.loop = loop
        self.size = size
        self.queue = queue
        self._name = name
        self._files: WorkerThreads | None = None
        self.unfinished = 0  # jobs given and not yet delivered; only the loop's thread writes it
        self._threads = 0
        self._jobs: deque[Job | None] = deque()
        self._gate = threading.Lock()  # taken by each thread that has nothing to do, opened for one of them
        self._gate.acquire()
        self._is_called = False  # a thread has been called, and has not looked for jobs yet
        self._results: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._wakened = False
        from asyncio import get_running_loop  # later than a hello, which runs no loop

        self.running_loop = get_running_loop  # PERF: here, and not imported for each call of a thread

    @property
    def files(self) -> WorkerThreads:
        """The threads for file I/O. Their queue is as long as it gets: one job for each connection."""
        if self._files is None:
            self._files = WorkerThreads(self.loop, FILE_THREADS, sys.maxsize, "file")
        return self._files

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        return len(self._jobs)

    def run(
        self, function: Callable[..., T], *args: object, beyond_the_limit: bool = False
    ) -> asyncio.Future[T]:
        """Call `function(*args)` in a thread, with the caller's context variables.

        Raises QueueFull at once when `queue` jobs wait already, unless it may go beyond that. A job whose
        future is cancelled before a thread takes it is not run; one that runs cannot be stopped.
        """
        if self.unfinished >= self._threads and self._threads < self.size:
            self._start_thread()
        elif self.unfinished >= self.size + self.queue and not beyond_the_limit:
            raise QueueFull(self.queue)
        future: asyncio.Future[T] = self.loop.create_future()
        self.unfinished += 1
        self._jobs.append((future, copy_context(), function, args))
        if not self._is_called:
            self._call_one()
        return future

    def start_all(self) -> None:
        """Start all threads now, those for files too."""
        while self._threads < self.size:
            self._start_thread()
        if self._name != "file":
            self.files.start_all()

    def stop(self) -> None:
        """Let the threads end once their queue is empty. They are daemons: none keeps the process alive."""
        for _ in range(self._threads):
            self._jobs.append(None)
        self._threads = 0
        self._call_one()
        if self._files is not None:
            self._files.stop()

    def _start_thread(self) -> None:
        self._threads += 1
        name = f"weebill-{self._name}-{self._threads}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _call_one(self) -> None:
        """Have one of the threads that wait look for jobs, or else the first that comes to wait."""
        self._is_called = True
        with suppress(RuntimeError):  # two threads have called at once
            self._gate.release()

    def _next(self) -> Job | None:
        """Wait for a job, and call another thread for those behind it."""
        while True:
            try:
                job = self._jobs.popleft()
            except IndexError:
                self._gate.acquire()
                self._is_called = False  # before it looks: what comes from now on calls again
            else:
                if self._jobs and not self._is_called:
                    self._call_one()
                return job

    def _work(self) -> None:
        while (job := self._next()) is not None:
            future, context, function, args = job
            result: Any = None
            error: BaseException | None = None
            if not future.cancelled():
                try:
                    result = context.run(function, *args)
                except BaseException as raised:
                    error = raised
            self._results.append((future, result, error))
            # The flag may be seen set while _deliver is about to clear it: it clears first and drains
            # afterwards, so a result appended before the check is always drained.
            if not self._wakened:
                self._wakened = True
                try:
                    self.loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed, nobody waits any more
                    return
            del job, future, context, function, args, result, error  # hold nothing while waiting

    def _deliver(self) -> None:
        self._wakened = False
        while self._results:
            future, result, error = self._results.popleft()
            self.unfinished -= 1
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration | GeneratorExit):  # they mean something to who awaits it
                future.set_exception(RuntimeError(f"a function in a thread raised {type(error).__name__}"))
            else:
                future.set_exception(error)


_local = threading.local()


def set_worker_threads(pool: WorkerThreads) -> None:
    """Make `pool` the one of this thread's event loop."""
    _local.pool = pool


def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """Call a blocking function in a worker thread of the running loop; await the result.

    Raises QueueFull when too many calls wait for a thread.

    >>> from pathlib import Path
    >>> from weebill.threads import run_in_thread
    >>> app = App()
    >>> @app.post("/")
    ... async def keep(request):
    ...     return str(await run_in_thread(Path("note.txt").write_bytes, request.body))
    >>> TestClient(app).post("/", content="hello").text
    '5'
    """
    pool = worker_threads()
    if kwargs:
        return pool.run(lambda: function(*args, **kwargs))
    return pool.run(function, *args)


def finish_in_thread(function: Callable[..., T], *args: object) -> asyncio.Future[T]:
    """`run_in_thread` for the end of what has begun, which no full queue may keep from coming."""
    return worker_threads().run(function, *args, beyond_the_limit=True)


def run_file_io(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """Call a function that reads or writes a file in a thread for that; await the result."""
    return worker_threads().files.run(partial(function, *args, **kwargs))


def worker_threads() -> WorkerThreads:
    """The pool of the running loop."""
    pool: WorkerThreads | None = getattr(_local, "pool", None)
    if pool is not None and pool.running_loop() is pool.loop:
        return pool
    from asyncio import get_running_loop

    loop = get_running_loop()
    if pool is not None:
        pool.stop()
    pool = _local.pool = WorkerThreads(loop)
    return pool
