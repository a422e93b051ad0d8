"""What is measured otherwise than by wrk: open connections, and processes that start."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median

from limits import Verdict
from measure import PEERS, SERVER_CORE, Failed, Server, clean_environment

MANY, RATE = 10_000, 3_000
_HELLO = "python -m weebill run weebill_hello.py --port {port} --log-level critical"
_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def trials(quick: bool, progress: Callable[[str], None]) -> list[Verdict]:
    progress(f"{MANY:,} connections")
    found = _connections(1 if quick else 5, 2 if quick else 4)
    progress("starting processes")
    return found + _starts(5 if quick else 21)


# -- open connections


def _connections(rounds: int, seconds: int) -> list[Verdict]:
    """What a request costs, and what a connection holds, when there are many that are mostly idle."""
    costs, memory = [], []
    for _ in range(rounds if _allow_descriptors(MANY + 100) else 0):
        with Server(f"{_HELLO} --max-connections {MANY + 100}") as server:
            server.first_answer()
            one, _ = _paced(server, 1, seconds)
            many, held = _paced(server, MANY, seconds)
        costs.append(many / one)
        memory.append(held / MANY * 1024)
    return [
        Verdict(f"{MANY:,} open connections", _median(costs), 1.3, " x one"),
        Verdict("an idle connection", _median(memory), 6, " KiB"),
    ]


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _allow_descriptors(wanted: int) -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return False
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def _paced(server: Server, connections: int, seconds: int) -> tuple[float, float]:
    """Seconds of CPU for each request at RATE, sent over one connection after the other, and by how many MB
    the server has grown when each had one answer."""
    with ExitStack() as stack:
        before = server.memory()
        clients = []
        for _ in range(connections):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            clients.append(client)
            _ask(client)
        held = server.memory() - before
        _ask_paced(clients, RATE // 4)
        used = server.cpu()
        _ask_paced(clients, RATE * seconds)
        return (server.cpu() - used) / (RATE * seconds), held


def _ask_paced(clients: Sequence[socket.socket], requests: int) -> None:
    begun = time.perf_counter()
    for number in range(requests):
        if (early := begun + number / RATE - time.perf_counter()) > 0:
            time.sleep(early)
        _ask(clients[number % len(clients)])


def _ask(client: socket.socket) -> None:
    client.sendall(_REQUEST)
    if b"200 OK" not in client.recv(4096):
        raise Failed("a connection had no answer")


# -- processes that start


def _starts(count: int) -> list[Verdict]:
    """Medians of new processes, which take turns; the first ones warm the file cache and do not count."""
    found = [
        (_interpreter("pass"), _interpreter("import weebill"), *_first_answer()) for _ in range(count + 1)
    ]
    bare, imported, started, memory = (median(column) for column in zip(*found[1:], strict=True))
    return [
        Verdict("`import weebill`", (imported - bare) * 1000, 80, " ms"),
        Verdict("`weebill run` until its first answer", started * 1000, 300, " ms"),
        Verdict("memory of an idle worker", memory, 35, " MB"),
    ]


def _interpreter(statement: str) -> float:
    """Seconds of a fresh process that runs one statement."""
    started = time.perf_counter()
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", statement]
    subprocess.run(command, check=True, cwd=PEERS, env=clean_environment())
    return time.perf_counter() - started


def _first_answer() -> tuple[float, float]:
    """Seconds until the first answer, and MB of memory."""
    with Server(_HELLO) as server:
        return server.first_answer(), server.memory()
