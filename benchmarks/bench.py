"""Weebill against its peers, in CPU time for each request; see README.md for the method.

Run it as `scripts/bench [--quick]`.
"""

from __future__ import annotations

import json
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

from measure import CONNECTIONS, PEERS, SERVER_CORE, Load, Server, load

RESULTS = Path(__file__).with_name("RESULTS.md")
WEEBILL, REFERENCE = "Weebill", "Starlette on uvicorn"

# -- what is measured

UVICORN = "uvicorn {} --port {{port}} --loop uvloop --http httptools --no-access-log --log-level critical --no-server-header"
GRANIAN = "granian rsgi_app:app --port {port} --interface rsgi --http 1 --no-ws --loop uvloop --no-log"
GUNICORN = "gunicorn flask_app:app --bind 127.0.0.1:{port} --worker-class gthread --threads 8 --log-level critical"
SERVERS = {
    WEEBILL: "weebill run weebill_app.py --port {port} --log-level critical",
    REFERENCE: UVICORN.format("starlette_app:app"),
    "bare function on uvicorn": UVICORN.format("asgi_app:app"),
    "bare function on Granian": GRANIAN,
    "Flask on gunicorn": GUNICORN,
}
QUICK = list(SERVERS)[:3]
WITHOUT_DEF = ("bare function on uvicorn", "bare function on Granian")  # nothing there runs a `def` in a thread


@dataclass(frozen=True)
class Row:
    """One kind of request, and the answer that every server must give to it."""

    name: str
    path: str
    answer: object
    headers: dict[str, str]


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
ROWS = [
    Row("plain GET", "/", "Hello, world!", {}),
    Row("GET /user/{name}, 11 headers", "/user/bob", "Hello, bob!", BROWSER),
    Row("`def` handler", "/def", "Hello, world!", {}),
    Row("JSON", "/json", BIRD, {}),
]

# -- what must hold

CPU_LIMITS = {"plain GET": 0.5}  # times the CPU of Starlette on uvicorn, in the same run
IMPORT_LIMIT = 0.100  # seconds for `import weebill`
START_LIMIT = 0.400  # seconds from starting `weebill run` to its first answer


# -- measuring

Loads = dict[tuple[str, str], list[Load]]


def check_answers(name: str, server: Server, rows: Iterable[Row]) -> None:
    """Equal work: every server gives the same answers."""
    for row in rows:
        status, content_type, content = server.get(row.path)
        text = isinstance(row.answer, str)
        answer = content.decode() if text else json.loads(content)
        kind = "text/plain; charset=utf-8" if text else "application/json"
        if (status, content_type.lower(), answer) != (200, kind, row.answer):
            raise SystemExit(f"scripts/bench: {name} answers {row.path} with {status} {content_type} {answer}")


def measure_loads(names: Sequence[str], rounds: int, seconds: int) -> tuple[Loads, dict[str, list[float]]]:
    """Every server in every round, in random order, each time as a new process; and its memory at the end."""
    loads: Loads = {}
    memory: dict[str, list[float]] = {}
    for number in range(rounds):
        for name in random.sample(names, len(names)):
            progress(f"round {number + 1} of {rounds}: {name}")
            rows = [row for row in ROWS if row.path != "/def" or name not in WITHOUT_DEF]
            with Server(SERVERS[name].split()) as server:
                server.first_answer()
                check_answers(name, server, rows)
                for row in random.sample(rows, len(rows)):
                    load(server, row.path, row.headers, 1)  # warms up
                    loads.setdefault((name, row.name), []).append(
                        load(server, row.path, row.headers, seconds)
                    )
                memory.setdefault(name, []).append(server.memory())
    return loads, memory


def measure_interpreter(statement: str) -> float:
    """Seconds of a fresh process that runs one statement."""
    started = time.perf_counter()
    subprocess.run(["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", statement], check=True, cwd=PEERS)
    return time.perf_counter() - started


def measure_start() -> float:
    with Server(SERVERS[WEEBILL].split()) as server:
        return server.first_answer()


def medians(measures: Sequence[Callable[[], float]], rounds: int) -> list[float]:
    """The median of each, taken in turns; the first round warms the file cache and does not count."""
    found = [[measure() for measure in measures] for _ in range(rounds + 1)][1:]
    return [median(column) for column in zip(*found, strict=True)]


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


def tell_loads(names: Sequence[str], loads: Loads, memory: dict[str, list[float]]) -> str:
    def cpu(name: str, row: Row) -> str:
        if (name, row.name) not in loads:
            return ""
        cost, reference = median_of(loads, name, row.name), median_of(loads, REFERENCE, row.name)
        return f"{cost:5.1f} ({cost / reference:.2f})"

    def rate(name: str, row: Row) -> str:
        if (name, row.name) not in loads:
            return ""
        found = loads[name, row.name]
        return f"{median(x.rate for x in found):6.0f}/s {median(x.p99 for x in found) / 1000:5.1f} ms"

    heads = [row.name for row in ROWS]
    first = table(["CPU us (ratio)", *heads], [[n, *(cpu(n, row) for row in ROWS)] for n in names])
    second = table(
        ["rate and p99", *heads, "memory"],
        [[n, *(rate(n, row) for row in ROWS), f"{median(memory[n]):.0f} MB"] for n in names],
    )
    return f"""Server CPU for each request, in microseconds (as a ratio to {REFERENCE}):

{first}

Requests a second and 99th percentile of latency at full load; resident memory afterwards:

{second}"""


def median_of(loads: Loads, name: str, row: str) -> float:
    return median(x.cpu for x in loads[name, row])


def versions() -> str:
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = ["weebill", "httptools", "uvloop", "uvicorn", "starlette", "granian", "flask", "gunicorn"]
    programs = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    return f"{', '.join(programs)}, wrk {wrk.split()[1]}; {model[1] if model else platform.machine()}"


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--quick"]):
        print("usage: scripts/bench [--quick]", file=sys.stderr)
        return 2
    quick = bool(arguments)
    names, rounds, seconds = (QUICK, 1, 1) if quick else (list(SERVERS), 7, 3)
    loads, memory = measure_loads(names, rounds, seconds)
    progress("starting processes")
    turns = [lambda: measure_interpreter("pass"), lambda: measure_interpreter("import weebill"), measure_start]
    bare, imported, started = medians(turns, 5 if quick else 21)

    tables = tell_loads(names, loads, memory)
    facts = f"""- `import weebill`: {(imported - bare) * 1000:.0f} ms, and {imported * 1000:.0f} ms with the start of the interpreter
- `weebill run` to its first answer: {started * 1000:.0f} ms"""
    print(f"\n{tables}\n\n{facts}\n")
    if quick:
        return 0
    verdicts = [
        (f"{row}: at most {limit} of {REFERENCE}", median_of(loads, WEEBILL, row) / median_of(loads, REFERENCE, row), limit)
        for row, limit in CPU_LIMITS.items()
    ]
    verdicts.append((f"import: at most {IMPORT_LIMIT} s", imported - bare, IMPORT_LIMIT))
    verdicts.append((f"first answer: at most {START_LIMIT} s", started, START_LIMIT))
    lines = [f"- {'holds' if found <= limit else 'MISSED'}: {text}, found {found:.3f}" for text, found, limit in verdicts]
    judged = "\n".join(lines)
    print(judged)
    RESULTS.write_text(
        f"""# Results

Written by `scripts/bench` on {date.today()}: {rounds} rounds of {seconds} s, {CONNECTIONS} connections.
{versions()}.

{tables}

{facts}

{judged}
""",
        encoding="utf-8",
    )
    return 0 if all(found <= limit for _, found, limit in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
