"""Weebill against its peers, in CPU time for each request; see README.md for the method.

Run it as `scripts/bench [--quick]`.
"""

from __future__ import annotations

import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

from measure import CONNECTIONS, PEERS, SERVER_CORE, Load, Server, load

RESULTS = Path(__file__).with_name("RESULTS.md")
WEEBILL, REFERENCE, TYPED = "Weebill", "Starlette on uvicorn", "FastAPI on uvicorn"

# -- what is measured

UVICORN = (
    "python -m uvicorn {} --port {{port}} --loop uvloop --http httptools --no-server-header "
    "--no-access-log --log-level critical"
)
SERVERS = {
    WEEBILL: "python -m weebill run weebill_app.py --port {port} --log-level critical",
    REFERENCE: UVICORN.format("starlette_app:app"),
    TYPED: UVICORN.format("fastapi_app:app"),
    "bare function on uvicorn": UVICORN.format("asgi_app:app"),
    "bare function on Granian": "python -m granian rsgi_app:app --port {port} --interface rsgi --http 1 "
    "--no-ws --loop uvloop --no-log",
    "Flask on gunicorn": "python -m gunicorn flask_app:app --bind 127.0.0.1:{port} --worker-class gthread "
    "--threads 8 --log-level critical",
}
QUICK = list(SERVERS)[:4]


@dataclass(frozen=True)
class Row:
    """One kind of request, and the answer that every server must give to it. With `content` it is a POST."""

    name: str
    path: str
    answer: object
    headers: dict[str, str]
    content: bytes = b""


BROWSER = {  # with Host, which wrk adds, eleven
    "Connection": "keep-alive",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=eyJ1c2VyIjoiYm9iIn0; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
BIRD = {"id": 17, "name": "Weebill", "grams": 6.0, "heard": True, "places": ["mallee", "woodland"]}
BIRDS = json.dumps(  # 1 KiB
    {
        "site": "Mallee, Victoria",
        "birds": [
            {"id": n, "name": f"Weebill {n}", "grams": 6.5, "heard": True, "places": ["mallee", "woodland"]}
            for n in range(9)
        ],
        "note": "Heard far, seen rarely. " * 5,
    }
).encode()
ROWS = [
    Row("plain GET", "/", "Hello, world!", {}),
    Row("GET /user/{name}, 11 headers", "/user/bob", "Hello, bob!", BROWSER),
    Row("`def` handler", "/def", "Hello, world!", {}),
    Row("JSON", "/json", BIRD, {}),
    Row("typed JSON POST of 1 KiB", "/birds", {"sum": 36}, {"Content-Type": "application/json"}, BIRDS),
]


def rows_of(name: str) -> list[Row]:
    """What `name` is asked for; in a bare function nothing runs a `def` in a thread or reads types."""
    rows = {WEEBILL: ROWS, TYPED: [row for row in ROWS if row.content]}
    plain = [row for row in ROWS if not row.content]
    return rows.get(name) or [row for row in plain if not (row.path == "/def" and name.startswith("bare"))]


# -- what must hold

CPU_LIMITS = {  # times the CPU of another, in the same run
    "plain GET": (0.5, REFERENCE),
    "typed JSON POST of 1 KiB": (0.35, TYPED),
}
IMPORT_LIMIT = 0.100  # seconds for `import weebill`
START_LIMIT = 0.400  # seconds from starting `weebill run` to its first answer


# -- measuring


@dataclass
class Measured:
    """What one server has shown, a value for each round."""

    loads: dict[str, list[Load]] = field(default_factory=lambda: {row.name: [] for row in ROWS})
    memory: list[float] = field(default_factory=list)


def check_answers(name: str, server: Server, rows: Iterable[Row]) -> None:
    """Equal work: every server gives the same answers."""
    for row in rows:
        status, content_type, content = server.ask(row.path, row.headers if row.content else {}, row.content)
        text = isinstance(row.answer, str)
        answer = content.decode() if text else json.loads(content)
        kind = "text/plain; charset=utf-8" if text else "application/json"
        if (status, content_type.lower(), answer) != (200, kind, row.answer):
            raise SystemExit(
                f"scripts/bench: {name} answers {row.path} with {status} {content_type} {answer}"
            )


def measure_loads(names: Sequence[str], rounds: int) -> dict[str, Measured]:
    """In every round all servers start anew, and each kind of request goes to one after the other.

    So what is compared is measured within seconds, for the speed of a machine wanders over minutes.
    """
    found = {name: Measured() for name in names}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        with ExitStack() as stack:
            servers = {name: stack.enter_context(Server(SERVERS[name].split())) for name in names}
            for name, server in servers.items():
                server.first_answer()
                check_answers(name, server, rows_of(name))
                load(server, "/", {}, 1)  # warms up
            for row in random.sample(ROWS, len(ROWS)):
                for name in random.sample(names, len(names)):
                    if row in rows_of(name):
                        measured = load(servers[name], row.path, row.headers, 1, row.content)
                        found[name].loads[row.name].append(measured)
            for name, server in servers.items():
                found[name].memory.append(server.memory())
    return found


def measure_interpreter(statement: str) -> float:
    """Seconds of a fresh process that runs one statement."""
    started = time.perf_counter()
    subprocess.run(
        ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", statement], check=True, cwd=PEERS
    )
    return time.perf_counter() - started


def measure_first_answer() -> float:
    with Server(SERVERS[WEEBILL].split()) as server:
        return server.first_answer()


def measure_starts(rounds: int) -> list[float]:
    """Median seconds of Python's start, of it with `import weebill`, and until the first answer.

    They take turns; the first round warms the file cache and does not count.
    """
    found = [
        (measure_interpreter("pass"), measure_interpreter("import weebill"), measure_first_answer())
        for _ in range(rounds + 1)
    ]
    return [median(column) for column in zip(*found[1:], strict=True)]


# -- telling


def progress(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that reads well in a terminal and is Markdown."""
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells
    )


def tell_loads(found: dict[str, Measured]) -> str:
    heads = [row.name for row in ROWS]
    costs = [[name, *(tell_cost(found, name, head) for head in heads)] for name in found]
    rates = [
        [name, *(tell_rate(measured.loads[head]) for head in heads), f"{median(measured.memory):.0f} MB"]
        for name, measured in found.items()
    ]
    return f"""CPU of the server for each request in microseconds (and as a ratio to {REFERENCE}):

{table(["", *heads], costs)}

Requests a second and 99th percentile of latency at full load; resident memory afterwards:

{table(["", *heads, "memory"], rates)}"""


def tell_cost(found: dict[str, Measured], name: str, row: str) -> str:
    if not (loads := found[name].loads[row]):
        return ""
    cost = f"{median(load.cpu for load in loads):5.1f}"
    return f"{cost} ({ratio(found, name, row):.2f})" if found[REFERENCE].loads[row] else cost


def tell_rate(loads: list[Load]) -> str:
    if not loads:
        return ""
    return f"{median(load.rate for load in loads):6.0f}/s {median(load.p99 for load in loads) / 1000:5.1f} ms"


def ratio(found: dict[str, Measured], name: str, row: str, other: str = REFERENCE) -> float:
    """The median over the rounds of the ratio of the costs in one round."""
    pairs = zip(found[name].loads[row], found[other].loads[row], strict=True)
    return median(own.cpu / reference.cpu for own, reference in pairs)


def versions() -> str:
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = [
        "weebill",
        "httptools",
        "uvloop",
        "uvicorn",
        "starlette",
        "fastapi",
        "granian",
        "flask",
        "gunicorn",
    ]
    programs = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    return f"{', '.join(programs)}, wrk {wrk.split()[1]}; {model[1] if model else platform.machine()}"


# -- judging


@dataclass(frozen=True)
class Verdict:
    text: str
    found: float
    limit: float

    @property
    def holds(self) -> bool:
        return self.found <= self.limit

    def __str__(self) -> str:
        return (
            f"- {'holds' if self.holds else 'MISSED'}: {self.text} {self.found:.3f}, limit {self.limit:.3f}"
        )


def judge(found: dict[str, Measured], imported: float, started: float) -> list[Verdict]:
    return [
        *(
            Verdict(f"CPU of {row} as a ratio to {other}", ratio(found, WEEBILL, row, other), limit)
            for row, (limit, other) in CPU_LIMITS.items()
        ),
        Verdict("seconds of `import weebill`", imported, IMPORT_LIMIT),
        Verdict("seconds from `weebill run` to its first answer", started, START_LIMIT),
    ]


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--quick"]):
        print("usage: scripts/bench [--quick]", file=sys.stderr)
        return 2
    quick = bool(arguments)
    if not quick and (busy := os.getloadavg()[0]) > 0.5:
        progress(f"in the last minute the machine was busy (load {busy:.1f}); if it still is, figures wander")
    names, rounds, starts = (QUICK, 1, 5) if quick else (list(SERVERS), 15, 21)
    found = measure_loads(names, rounds)
    progress("starting processes")
    bare, imported, started = measure_starts(starts)
    report = f"""{tell_loads(found)}

Medians of {starts} new processes:

- `import weebill`: {(imported - bare) * 1000:.0f} ms, {imported * 1000:.0f} ms with the start of Python
- `weebill run` until its first answer: {started * 1000:.0f} ms"""
    print(f"\n{report}")
    if quick:
        return 0
    verdicts = judge(found, imported - bare, started)
    judged = "\n".join(map(str, verdicts))
    print(f"\n{judged}")
    method = f"Medians of {rounds} rounds with {CONNECTIONS} keep-alive connections"
    head = f"Written by `scripts/bench` on {date.today()}. {method}.\n{versions()}."
    RESULTS.write_text(f"# Results\n\n{head}\n\n{report}\n\n## Limits\n\n{judged}\n", encoding="utf-8")
    return 0 if all(verdict.holds for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
