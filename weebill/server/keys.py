"""Keys of a person at the terminal: q quits, r restarts, h lists the keys.

They are read by line (`q` and Enter), so the terminal's own settings stay as they are: whatever way the
process ends, nothing has to be put back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable

__all__ = ["watch_keys"]

HELP = "weebill: q + Enter stops, r + Enter restarts, h + Enter shows this"
PAUSE = 1.0  # seconds between looks at a terminal that belongs to another program for now


def watch_keys(
    loop: asyncio.AbstractEventLoop,
    on_quit: Callable[[], object],
    on_restart: Callable[[], object],
    fd: int = 0,
) -> Callable[[], None]:
    """Call `on_quit` and `on_restart` on the loop when somebody types q or r; returns what ends that.

    Does nothing where `fd`, standard input by default, is no terminal, or the loop cannot watch one.
    """
    keys = _Keys(loop, {"q": on_quit, "r": on_restart, "h": _help}, fd)
    try:
        if os.isatty(fd):
            keys.watch()
    except (OSError, NotImplementedError):  # Windows
        return lambda: None
    return keys.stop


class _Keys:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, actions: dict[str, Callable[[], object]], fd: int
    ) -> None:
        self._loop = loop
        self._actions = actions
        self._fd = fd
        self._watching = False
        self._later: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        self._loop.add_reader(self._fd, self._readable)
        self._watching = True

    def stop(self) -> None:
        if self._later is not None:
            self._later.cancel()
        if self._watching:
            self._watching = False
            with contextlib.suppress(OSError):
                self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        if not self._in_foreground():
            # To read now would stop the whole process (SIGTTIN): what is typed is for the shell.
            self.stop()
            self._later = self._loop.call_later(PAUSE, self.watch)
            return
        try:
            text = os.read(self._fd, 1024)
        except BlockingIOError:
            return
        except OSError:  # the terminal has gone
            text = b""
        if not text:  # end of file, which is no reason to stop
            self.stop()
            return
        for word in text.decode("utf-8", "replace").split():
            self._actions.get(word.lower(), _help)()

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # not our controlling terminal: then nothing is kept from us
            return True


def _help() -> None:
    print(HELP, file=sys.stderr, flush=True)
