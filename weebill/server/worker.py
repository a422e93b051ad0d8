"""One process: start the application, accept, serve, and stop without losing an answer."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..errors import ConfigurationError, StartError
from ..exchange import Application
from ..settings import Settings
from ..threads import WorkerThreads, set_worker_threads
from .accept import Door, allow_descriptors
from .http1 import HTTP1Connection
from .listen import open_sockets, turn_away
from .log import configure_logging
from .state import SWEEP, Parser, State

__all__ = ["Worker", "main", "serve"]

logger = logging.getLogger("weebill")

LAST_SECONDS = 2.0  # from the second signal to the end, whatever is under way
KEPT = 32 << 20  # bytes of free memory that the process keeps for the next long content

importing = False  # the command line imports a program, which it is going to serve itself


class Worker:
    """Serves an application on the running loop.

    `start()` returns when it accepts; `addresses` then tells where. `stop()` ends it gracefully: no more
    connections, an answer to everything in flight, `graceful_timeout` seconds at the most. A second `stop()`
    ends it now. `sockets` are listening sockets opened elsewhere.
    """

    def __init__(
        self, application: Application, settings: Settings, sockets: list[socket.socket] | None = None
    ) -> None:
        self.application = application
        self.settings = settings
        self.addresses: list[tuple[str, int]] = []
        self._sockets = sockets
        self._listeners: list[socket.socket] = []
        self._stopping: asyncio.Task[None] | None = None
        self._at_once = asyncio.Event()
        self._quiet = asyncio.Event()  # set when all connections have ended
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Open the sockets, start the application, accept.

        Raises StartError for an address that cannot be had, and whatever the application's start raises.
        """
        settings = self.settings
        loop = asyncio.get_running_loop()
        self._threads = WorkerThreads(loop, settings.threads, settings.thread_queue)
        set_worker_threads(self._threads)
        self.state = State(self.application, settings, loop, parser_factory(settings.http))
        sockets = open_sockets(settings) if self._sockets is None else self._sockets
        started: asyncio.Future[None] = loop.create_future()
        self._life = loop.create_task(self._live(started))
        try:
            await started
        except BaseException:
            self._life.cancel()
            for opened in sockets:
                opened.close()
            raise
        self._listeners = sockets
        self.addresses = [listener.getsockname()[:2] for listener in sockets]
        self._door = Door(self.state, sockets, self._new_connection)
        self._door.open()
        self._sweeping = loop.call_later(SWEEP, self._sweep)
        logger.info("listening on %s", ", ".join(map(_url, self.addresses)))

    def _new_connection(self) -> HTTP1Connection:
        return HTTP1Connection(self.state)

    async def _live(self, started: asyncio.Future[None]) -> None:
        """The application's start and end, in one task: what a lifespan opens, it may close."""
        try:
            await self.application.__startup__()
        except asyncio.CancelledError:
            if started.done():  # it is start() that was cancelled
                raise
            started.set_exception(StartError("the application's start was cancelled"))
            return
        except Exception as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._quiet.wait()
        await self.application.__shutdown__()

    def _sweep(self) -> None:
        self._sweeping = self.state.loop.call_later(SWEEP, self._sweep)
        self.state.tick()

    def stop(self) -> None:
        """Stop gracefully; called again, at once. To be called on the loop."""
        if self._stopping is None:
            self._stopping = self.state.loop.create_task(self._stop())
        else:
            self._at_once.set()

    async def wait_stopped(self) -> None:
        """Return when everything has ended."""
        await self._stopped.wait()

    async def _stop(self) -> None:
        logger.info("stopping")
        end = self.state.loop.time() + self.settings.graceful_timeout
        try:
            await self._end_connections()
            self._quiet.set()
            if await self._wait(self._life, max(end - self.state.loop.time(), 1.0)):
                await self._life
            else:
                logger.warning("the application's shutdown was not waited for")
        except Exception:
            logger.exception("the application's shutdown failed")
        finally:
            self._sweeping.cancel()
            self._threads.stop()
            self._stopped.set()

    async def _end_connections(self) -> None:
        state = self.state
        state.stop()
        await self._close_listeners()
        for connection in tuple(state.connections):
            connection.shut_down()
        drained = asyncio.ensure_future(state.drained.wait())
        if not await self._wait(drained, self.settings.graceful_timeout):
            logger.warning("cutting %d connections", len(state.connections))
            for connection in tuple(state.connections):
                connection.cut()
            if state.left_behind:
                logger.warning("cancelling %d handlers whose client has gone", len(state.left_behind))
            for task in tuple(state.left_behind):
                task.cancel()
            await asyncio.wait({drained}, timeout=1.0)

    async def _close_listeners(self) -> None:
        """Accept no more. What the kernel has taken in already, connections and requests, is not reset."""
        for listener in self._listeners if self._sockets is None else ():  # others may go on with theirs
            turn_away(listener)
        self._door.close()
        for listener in self._listeners:
            listener.close()
        await _turns(5)

    async def _wait(self, done: asyncio.Future[Any], seconds: float | None = None) -> bool:
        """Wait for `done`, but not beyond a second stop() or `seconds`; whether it came."""
        enough = asyncio.ensure_future(self._at_once.wait())
        await asyncio.wait({done, enough}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        return done.done()


async def _turns(count: int) -> None:
    """Let everything that is ready happen, `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


def parser_factory(name: str) -> Callable[[], Parser]:
    """The class of the parser called `name`; "auto" is httptools where it is installed, else h11."""
    if name != "h11":
        try:
            from .parse_httptools import HttptoolsParser
        except ImportError:
            if name == "httptools":
                raise StartError("httptools is not installed; choose --http h11") from None
        else:
            return HttptoolsParser
    from .parse_h11 import H11Parser

    return H11Parser


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop called `name`; "auto" is uvloop where it is installed, else asyncio's."""
    if name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if name == "uvloop":
                raise StartError("uvloop is not installed; choose --loop asyncio") from None
        else:
            _open_standard_streams()
            return uvloop.new_event_loop
    if sys.platform == "win32":  # its usual loop cannot tell when there is something to accept
        return asyncio.SelectorEventLoop
    return asyncio.new_event_loop


def _open_standard_streams() -> None:
    """Where a service manager has closed one, the loop would take its number for itself, and abort."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _keep_memory() -> None:
    """Let malloc keep 32 MiB of free memory instead of 128 KiB.

    PERF: with each long content glibc takes memory from the system, a page fault for each 4 KiB, and gives it
    back, unless less is free than twice the largest block that was ever freed. So free one, untouched. It
    saves a fifth of the time of 1 MiB that is echoed. Other systems have their own ways, and lose nothing.
    """
    bytes(KEPT // 2)


def serve(application: Application, settings: Settings, sockets: list[socket.socket] | None = None) -> int:
    """Serve until stopped by a signal or a key; return the exit code 0.

    The first SIGINT or SIGTERM stops gracefully, the second at once. Raises as Worker.start.
    """
    from .keys import watch_keys  # for a process of our own only

    configure_logging(settings.log_level)
    if getattr(application, "debug", False) and not is_loopback(settings.host):
        _warn_of_debug(settings.host)
    allow_descriptors(settings.max_connections)
    _keep_memory()
    worker = Worker(application, settings, sockets)
    restarting = False
    signals = 0
    before: dict[int, Any] = {}  # the handlers of signals
    timers: list[threading.Timer] = []

    def exit_after(seconds: float, number: int) -> None:
        timer = threading.Timer(seconds, _end_by_force, (128 + number,))
        timer.daemon = True
        timer.start()
        timers.append(timer)

    def restart() -> None:
        nonlocal restarting
        restarting = True
        worker.stop()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        starting = loop.create_task(worker.start())

        def stop() -> None:
            worker.stop() if starting.done() else starting.cancel()

        def on_signal(number: int, frame: object) -> None:
            nonlocal signals
            signals += 1
            # A loop that is blocked, or a task that will not end, does not keep the process.
            exit_after(LAST_SECONDS if signals > 1 else settings.graceful_timeout + LAST_SECONDS + 1, number)
            loop.call_soon_threadsafe(stop)

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, on_signal)
        await asyncio.wait([starting])
        if starting.cancelled():
            return
        starting.result()
        unwatch = watch_keys(loop, worker.stop, restart)
        try:
            await worker.wait_stopped()
        finally:
            unwatch()

    try:
        with asyncio.Runner(loop_factory=loop_factory(settings.loop)) as runner:
            runner.run(run())
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    if restarting:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    return 0


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach `host`."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _warn_of_debug(host: str) -> None:
    loud, quiet = ("\033[1;31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    text = f"""
weebill: WARNING: debug is on, and {host or "every address"} is open to other machines.
         Whoever reaches it can read tracebacks and pieces of your source.
         Say --no-debug, or listen on 127.0.0.1.
"""
    print(f"{loud}{text}{quiet}", file=sys.stderr, flush=True)


def _end_by_force(code: int) -> None:
    os.write(2, b"weebill: something does not come to its end; the process ends without it\n")
    os._exit(code)


def main(application: Application, settings: Settings) -> None:
    """Serve; what cannot start ends the process with code 3 and one sentence. Does nothing for a program
    that calls its `run` while the command line imports it."""
    if importing:
        return
    try:
        code = serve(application, settings)
    except ConfigurationError as error:
        print(f"weebill: {error}", file=sys.stderr)
        code = 3
    if code:
        raise SystemExit(code)


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
