"""Real `weebill` processes, watched through what they print."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

import httpx

WEEBILL = (sys.executable, "-m", "weebill")
PATIENCE = 20.0  # seconds; nothing takes so long but on a machine that is stuck


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without anything that sets an option, and `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WEEBILL_") and k not in ("HOST", "PORT")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **extra}


def weebill(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*WEEBILL, *arguments],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )


class Running:
    """A process that goes on, `weebill` by default, and what it says on standard error."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        stdin: int = subprocess.DEVNULL,
        command: tuple[str, ...] = WEEBILL,
        new_session: bool = False,
        **env: str,
    ) -> None:
        self.said: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=cwd,
            env=environment(**env),
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=new_session,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put("")

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def wait_for(self, text: str) -> str:
        """The next line with `text` in it."""
        while line := self._lines.get(timeout=PATIENCE):
            self.said.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without saying {text!r} but {''.join(self.said)!r}")

    def wait_for_silence(self) -> None:
        """Return when nobody has its standard error open any more: it and its children have ended."""
        while line := self._lines.get(timeout=PATIENCE):
            self.said.append(line)

    def url(self) -> str:
        """Where it listens, once it does."""
        found = re.search(r"http://\S+", self.wait_for("listening on"))
        assert found is not None
        return found[0]

    def get(self, url: str) -> str:
        """The content of an answer of this process."""
        return httpx.get(url, timeout=PATIENCE).raise_for_status().text

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)
