"""What a benchmark needs of the system (Linux): a server on one core, a load on another, the server's bill.

The bill is CPU time, user and system, of the server's whole process tree as /proc counts it. It
depends far less than the rate on how fast the load comes and on what else the machine does.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import IO

TICKS = os.sysconf("SC_CLK_TCK")
PEERS = Path(__file__).parent / "peers"
CONNECTIONS = 64
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def two_cores() -> tuple[int, int]:
    """The core of the server and the core of the load."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("scripts/bench: there must be two cores, one for the server and one for the load")
    return cores[0], cores[1]


SERVER_CORE, LOAD_CORE = two_cores()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Server:
    """A server process on its core, from entering to leaving the context. `{port}` in `command` is its port.

    It sees none of the variables by which servers are configured, and runs in `folder`. What it says on
    standard error goes to `log`, if there is one.
    """

    def __init__(self, command: Sequence[str], folder: Path = PEERS, log: IO[bytes] | None = None) -> None:
        self.port = free_port()
        self.command = [part.format(port=self.port) for part in command]
        self.folder = folder
        self.log = log

    def __enter__(self) -> Server:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *self.command],
            cwd=self.folder,
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tree = self.tree()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in tree:
                os.kill(pid, 9)
            self.process.wait()

    def first_answer(self) -> float:
        """Seconds from the start of the process to its first answer."""
        while time.perf_counter() < self.started + 20:
            if self.process.poll() is not None:
                raise SystemExit(f"scripts/bench: {' '.join(self.command)} ended by itself")
            try:
                self.ask("/")
            except ConnectionError:
                continue
            return time.perf_counter() - self.started
        raise SystemExit(f"scripts/bench: {' '.join(self.command)} did not answer within 20 s")

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> tuple[int, str, bytes]:
        """Status, content type and content of the answer to a GET, with `content` to a POST."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST" if content else "GET", path, content or None, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.getheader("content-type", ""), response.read()
        finally:
            connection.close()

    def tree(self) -> list[int]:
        """The ids of its processes, the oldest first."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*"):
            if stat := _stat(int(path.name)):
                parents[int(path.name)] = int(stat[1])
        found = [self.process.pid]
        for pid in found:
            found.extend(child for child, parent in parents.items() if parent == pid)
        return found

    def cpu(self) -> float:
        """Seconds of CPU time that it has used, the children that have ended included."""
        stats = [_stat(pid) for pid in self.tree()]
        return sum(int(field) for stat in stats for field in stat[11:15]) / TICKS

    def memory(self) -> float:
        """Resident memory in MB. What its processes share counts for each."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.tree()]
        return sum(int(kb) for text in texts for kb in re.findall(r"VmRSS:\s+(\d+)", text)) / 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third, the state; none for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@dataclass
class Load:
    """One measurement: CPU and p99 in microseconds, rate in requests a second."""

    cpu: float
    rate: float
    p99: float


def load(server: Server, path: str, headers: Mapping[str, str], seconds: int, content: bytes = b"") -> Load:
    """Ask for `path` over keep-alive connections for `seconds`, as fast as the answers come; with `content`
    by POST."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "--threads", "1", "--connections", str(CONNECTIONS)]
    command += ["--duration", str(seconds), "--latency"]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    url = f"http://127.0.0.1:{server.port}{path}"
    with NamedTemporaryFile("w", suffix=".lua") as script:
        if content:  # wrk has no option for it
            script.write(f'wrk.method = "POST"\nwrk.body = [==[{content.decode()}]==]\n')
            script.flush()
            command += ["--script", script.name]
        before = server.cpu()
        done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
        used = server.cpu() - before
    requests = re.search(r"(\d+) requests in", done.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", done.stdout)
    if not (requests and rate and p99) or re.search("Non-2xx|Socket errors", done.stdout):
        raise SystemExit(f"scripts/bench: {' '.join(server.command)} failed under load:\n{done.stdout}")
    return Load(used / int(requests[1]) * 1e6, float(rate[1]), float(p99[1]) * _UNITS[p99[2]] * 1e6)
