"""A server in a thread of its own, for tests and for programs that go on while they serve."""

from __future__ import annotations

import asyncio
import socket
import threading

from ..exchange import Application
from ..settings import Settings
from .worker import Worker, loop_factory

__all__ = ["BackgroundServer"]


class BackgroundServer:
    """Serves from `start()`, which returns when connections are accepted, until `stop()`.

    `daemon` False keeps the process alive until then. `sockets` are listening sockets opened elsewhere.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        sockets: list[socket.socket] | None = None,
        daemon: bool = True,
    ) -> None:
        self.worker: Worker
        self._given = (application, settings, sockets)
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="weebill-server", daemon=daemon)

    def start(self) -> None:
        """Start. Raises what Worker.start raises."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self.worker.addresses[0][0]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.worker.addresses[0][1]

    def stop(self) -> None:
        """Stop gracefully and return when all has ended; from another thread, called again, at once."""
        self.begin_stop()
        self.wait()

    def wait(self) -> None:
        """Return when all has ended; in the server's own thread at once."""
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def begin_stop(self) -> None:
        """Begin to stop, and return."""
        if self._thread.is_alive() and self._error is None:
            try:
                self.worker.state.loop.call_soon_threadsafe(self.worker.stop)
            except RuntimeError:  # it has just ended by itself
                return

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory(self._given[1].loop)) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._ready.is_set():  # nobody waits for it any more: let the thread show it
                raise
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self.worker = Worker(*self._given)
        await self.worker.start()
        self._ready.set()
        await self.worker.wait_stopped()
