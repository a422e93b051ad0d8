"""Reloading: a parent that starts the serving process again when a file has changed.

    parent                                            child
    watches the folder, the keys, the signals         `weebill dev` once more, told of its end of a channel
    opens the sockets when a child first asks   <──   "?"
    lends them                                  ──>   serves on them until SIGTERM
    a change: SIGTERM, waits, starts another          end of file on the channel: the parent has gone,
                                                      so it stops as well

The parent keeps the sockets: between two children a connection waits in the kernel, none is refused. It
does not import the program, so a program that cannot be imported does not end it. The child is a process
group of its own, or Ctrl+C would reach it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from pathlib import Path

from ..errors import StartError
from ..settings import Settings
from .keys import watch_keys
from .listen import open_sockets
from .log import configure_logging

__all__ = ["ParentLink", "reload"]

logger = logging.getLogger("weebill")

CHANNEL = "WEEBILL_RELOADER"  # the environment variable that tells a child the descriptor of its end
SUFFIXES = (".py", ".html", ".htm", ".xml", ".jinja", ".jinja2", ".j2")
PATIENCE = 2.0  # seconds beyond graceful_timeout before a child that does not stop is killed


def reload(folder: Path, settings: Settings, command: list[str]) -> int:
    """Run `command` again whenever a Python file or a template below `folder` changes; blocks until it is
    stopped by a signal or a key, or the command ends with 0. Returns the exit code.

    Raises StartError when the address of `settings` cannot be had. Unix only.
    """
    configure_logging(settings.log_level)
    with asyncio.Runner() as runner:
        return runner.run(_Reloader(folder, settings, command).run())


class _Reloader:
    def __init__(self, folder: Path, settings: Settings, command: list[str]) -> None:
        self._folder = folder
        self._settings = settings
        self._command = command
        self._sockets: list[socket.socket] = []
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._failure: StartError | None = None
        self._wake = asyncio.Event()  # something has changed, or it is time to stop

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        unwatch_keys = watch_keys(loop, self._stop, self._wake.set)
        watching = loop.create_task(self._watch())
        await asyncio.sleep(0)  # it watches before the first child reads a file
        try:
            return await self._run_children()
        finally:
            unwatch_keys()
            watching.cancel()
            await asyncio.wait((watching,))
            for opened in self._sockets:
                opened.close()

    def _stop(self) -> None:
        if self._stopping and self._child is not None:
            self._signal_child(signal.SIGTERM)  # the second time: now
        self._stopping = True
        self._wake.set()

    def _signal_child(self, number: signal.Signals) -> None:
        assert self._child is not None
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(number)

    async def _run_children(self) -> int:
        while True:
            self._wake.clear()
            code = await self._run_child()
            if self._failure is not None:
                raise self._failure
            if self._stopping or code == 0:
                return 0
            if code is not None:
                logger.info("waiting for a change (r + Enter tries again)")
                await self._wake.wait()
                if self._stopping:
                    return 0

    async def _run_child(self) -> int | None:
        """Start the command; return its exit code once it has ended by itself, None if we have ended it."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            with theirs:
                self._child = await asyncio.create_subprocess_exec(
                    *self._command,
                    env={**os.environ, CHANNEL: str(theirs.fileno())},
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
            loop = asyncio.get_running_loop()
            ended = loop.create_task(self._child.wait())
            woken = loop.create_task(self._wake.wait())
            lending = loop.create_task(self._lend(ours))
            await asyncio.wait((ended, woken), return_when=asyncio.FIRST_COMPLETED)
            by_itself = ended.done()
            if not by_itself:
                await self._end_child(ended)
            woken.cancel()
            lending.cancel()
            await asyncio.wait((woken, lending))
        return ended.result() if by_itself else None

    async def _end_child(self, ended: asyncio.Task[int]) -> None:
        self._signal_child(signal.SIGTERM)
        await asyncio.wait((ended,), timeout=self._settings.graceful_timeout + PATIENCE)
        if not ended.done():
            logger.warning("the program does not stop; killing it")
            self._signal_child(signal.SIGKILL)
            await ended

    async def _lend(self, channel: socket.socket) -> None:
        """Give the child the sockets if it asks."""
        if not await asyncio.get_running_loop().sock_recv(channel, 1):
            return
        try:
            self._sockets = self._sockets or open_sockets(self._settings)
        except StartError as error:
            self._failure = error
            self._wake.set()
            return
        with contextlib.suppress(OSError):  # it has ended in the meantime
            socket.send_fds(channel, [b"!"], [opened.fileno() for opened in self._sockets])

    async def _watch(self) -> None:
        from watchfiles import DefaultFilter, awatch  # nobody else needs it

        usual = DefaultFilter()
        try:
            async for changes in awatch(
                self._folder, watch_filter=lambda change, path: is_source(path) and usual(change, path)
            ):
                logger.info("%s changed, restarting", self._names({path for _, path in changes}))
                self._wake.set()
        except OSError as error:  # the system's limit of watches, above all
            logger.error("%s cannot be watched: %s; r + Enter restarts", self._folder, error)

    def _names(self, paths: set[str]) -> str:
        names = sorted(os.path.relpath(path, self._folder) for path in paths)
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def is_source(path: str) -> bool:
    """Whether a change of this file changes the program: Python, a template, pyproject.toml."""
    return path.endswith((*SUFFIXES, "pyproject.toml")) or "templates" in Path(path).parts[:-1]


class ParentLink:
    """A child's end of the channel to the reloading parent."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    @classmethod
    def of_this_process(cls) -> ParentLink | None:
        """The link, or None if this process is no reloader's child. The environment forgets it."""
        number = os.environ.pop(CHANNEL, "")
        if not number.isdigit():
            return None
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)))

    def borrow_sockets(self) -> list[socket.socket]:
        """The parent's listening sockets. Raises StartError if it has gone."""
        try:
            self._channel.sendall(b"?")
            _, numbers, _, _ = socket.recv_fds(self._channel, 1, 64)
        except OSError:
            numbers = []
        if not numbers:
            raise StartError("the process that watches the files has gone")
        for number in numbers:
            os.set_inheritable(number, False)
        return [socket.socket(fileno=number) for number in numbers]

    def follow(self) -> None:
        """From now on, stop gracefully when the parent goes. After `borrow_sockets`, if at all."""
        threading.Thread(target=self._wait, name="weebill-parent", daemon=True).start()

    def _wait(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)
