"""What a benchmark needs of the system (Linux): a server on one core, a load on another, the server's bill.

The bill is CPU time, user and system, of the server's whole process tree as the kernel counts it. It
depends far less than the rate on how fast the load comes and on what else the machine does.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from types import TracebackType

from works import Work

TICKS = os.sysconf("SC_CLK_TCK")
PEERS = Path(__file__).parent / "peers"
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class Failed(SystemExit):
    """A server that could not be measured, and why. Where nobody can do without it, that is the end."""


def two_cores() -> tuple[int, int]:
    """The core of the server and the core of the load."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("scripts/bench: there must be two cores, one for the server and one for the load")
    return cores[0], cores[1]


SERVER_CORE, LOAD_CORE = two_cores()


def clean_environment(files: str = "") -> dict[str, str]:
    """Without the variables by which servers and Python are configured."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PEERS.parent),  # for answers.py
        "LC_ALL": "C.UTF-8",
        "BENCH_FILES": files,
    }


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Server:
    """A server process on its core, from entering to leaving the context. `{port}` in `command` is its port.

    It sees none of the variables by which servers are configured, and runs in `folder`; `files` is the folder
    that it serves. What it says on standard error goes to `said`, a file that has no name. It has `patience`
    seconds to end when it is asked to.
    """

    def __init__(self, command: str, folder: Path = PEERS, files: str = "", patience: float = 10) -> None:
        self.port = free_port()
        self.command = command.format(port=self.port).split()
        self.folder = folder
        self.files = files
        self.patience = patience

    def __enter__(self) -> Server:
        self.said = TemporaryFile("a+b")
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *self.command],
            cwd=self.folder,
            env=clean_environment(self.files),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.said,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tree = self.tree()
        self.process.terminate()
        self.wake()
        try:
            self.process.wait(self.patience)
        except subprocess.TimeoutExpired:
            for pid in tree:
                os.kill(pid, 9)
            self.process.wait()
        self.said.close()

    def first_answer(self) -> float:
        """Seconds from the start of the process to its first answer."""
        while time.perf_counter() < self.started + 20:
            if self.process.poll() is not None:
                self.said.seek(0)
                said = self.said.read().decode(errors="replace").split("\n")
                raise Failed(f"{' '.join(self.command)} ended by itself: {said[-2:][0]}")
            try:
                self.ask("/")
            except ConnectionError:
                continue
            return time.perf_counter() - self.started
        raise Failed(f"{' '.join(self.command)} did not answer within 20 s")

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and content of the answer to a GET, with `content` to a POST."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST" if content else "GET", path, content or None, dict(headers or {}))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read()
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

    def sleep(self) -> None:
        """Stop all its processes until they are woken, so that it takes nothing from what runs beside it."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process.poll() is not None:  # its number may be another's by now
            return
        for pid in self.tree():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def cpu(self) -> float:
        """Seconds of CPU time that it has used, its threads and children that have ended included."""
        pids = self.tree()
        ended = sum(int(ticks) for pid in pids for ticks in _stat(pid)[13:15])
        return ended / TICKS + sum(map(_clock, pids))

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


def _clock(pid: int) -> float:
    """Seconds of CPU time of all threads of a process. /proc counts the same in ticks of 10 ms, this clock in
    nanoseconds; its number is that of clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it has ended
        return 0.0


@dataclass
class Load:
    """One measurement: CPU and p99 in microseconds, rate in requests a second."""

    cpu: float
    rate: float
    p99: float


def load(server: Server, work: Work, seconds: int) -> Load:
    """Ask over keep-alive connections for `seconds`, as fast as the answers come."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "--threads", "1", "--latency", "--timeout", "20"]
    command += ["--connections", str(work.connections), "--duration", str(seconds)]
    command += [part for name, value in work.headers.items() for part in ("--header", f"{name}: {value}")]
    url = f"http://127.0.0.1:{server.port}{work.path}"
    with NamedTemporaryFile(suffix=".lua") as script, NamedTemporaryFile() as content:
        if work.content:  # wrk has no option for it
            content.write(work.content)
            content.flush()
            script.write(f'wrk.method = "POST"\nwrk.body = io.open("{content.name}"):read("*a")\n'.encode())
        script.write(work.script.encode())
        script.flush()
        before = server.cpu()
        done = subprocess.run([*command, "--script", script.name, url], capture_output=True, text=True)
        used = server.cpu() - before
    return _result(done.stdout + done.stderr, used, work.connections)


def _result(said: str, used: float, connections: int) -> Load:
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said)
    if not (requests and int(requests[1]) and rate and p99) or re.search("Non-2xx|Socket errors", said):
        raise Failed(f"it failed under load: {' '.join(said.split())}")
    # When the time is over every connection has a request under way, which is half done on average.
    answered = int(requests[1]) + connections / 2
    return Load(used / answered * 1e6, float(rate[1]), float(p99[1]) * _UNITS[p99[2]])
