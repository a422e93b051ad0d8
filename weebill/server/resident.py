"""Servers that run beside the main program, and outlive it.

The program starts one and goes on; when it comes to its end, the process stays until the last of its servers
has ended. From the first start on, what ends a process is ours to see:

    SIGINT, SIGTERM            a graceful stop of all servers, and of the main program if it still runs;
                               the second time at once
    q and Enter, r and Enter   the same for the servers alone; or the whole program starts anew
    an error in the program    is shown as ever, and stops them too: half a program is no server

When no server is left, signals and errors mean what they meant before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from ..exchange import Application
from ..settings import Settings
from ..threads import worker_threads
from .background import BackgroundServer
from .keys import watch_keys
from .log import configure_logging
from .worker import Worker

__all__ = ["ResidentServer"]

_serving: list[ResidentServer] = []
_before: dict[object, Any] = {}  # what was called for signals and errors
_restarting = False


class ResidentServer(BackgroundServer):
    """Serves from `start()`, to be called in the main thread, and keeps the process alive until it ends."""

    def __init__(self, application: Application, settings: Settings) -> None:
        super().__init__(application, settings, daemon=False)
        self.stopping = False
        configure_logging(settings.log_level)

    def start(self) -> None:
        """As BackgroundServer.start."""
        if threading.current_thread() is threading.main_thread():
            _take_charge()
        try:
            super().start()
        except KeyboardInterrupt:
            self._ready.wait()
            self.begin_stop()
            raise

    def begin_stop(self) -> None:
        """As BackgroundServer.begin_stop."""
        self.stopping = True
        super().begin_stop()

    def _run(self) -> None:
        super()._run()
        if self in _serving:
            _serving.remove(self)
        if _restarting and not _serving:
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606

    async def _serve(self) -> None:
        self.worker = Worker(*self._given)
        await self.worker.start()
        if sys.version_info[:3] in ((3, 12, 0), (3, 12, 1)):
            worker_threads().start_all()  # for there none can be started once the main thread has ended
        _serving.append(self)
        unwatch = watch_keys(asyncio.get_running_loop(), _stop_all, _restart)
        self._ready.set()
        try:
            await self.worker.wait_stopped()
        finally:
            unwatch()


def _take_charge() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not _on_signal:
            _before[number] = signal.signal(number, _on_signal)
    if sys.excepthook is not _on_error:
        _before[_on_error], sys.excepthook = sys.excepthook, _on_error


def _stop_all() -> None:
    for server in tuple(_serving):
        server.begin_stop()


def _restart() -> None:
    global _restarting
    _restarting = True
    _stop_all()


def _on_signal(number: int, frame: FrameType | None) -> None:
    if not _serving:
        signal.signal(number, _before[number] or signal.SIG_DFL)
        signal.raise_signal(number)
        return
    _stop_all()
    # It may sleep, or wait for a line to be typed. At its end it waits for our threads, or for those of an
    # executor: to break that off would end the process under them.
    if threading.main_thread().is_alive() and not _is_at_its_end(frame):
        raise SystemExit(0)


def _is_at_its_end(frame: FrameType | None) -> bool:
    """Whether the main program has ended, and Python waits for the other threads."""
    waits = getattr(threading, "_shutdown").__code__  # noqa: B009 (what it is called in CPython, all versions)
    while frame is not None and frame.f_code is not waits:
        frame = frame.f_back
    return frame is not None


def _on_error(*error: Any) -> None:
    _before[_on_error](*error)
    if not hasattr(sys, "ps1"):  # at the prompt of a console the program goes on
        _stop_all()
