"""Tables that read well in a terminal and are Markdown."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from limits import Found, Limit, ratio
from servers import SERVERS, WEEBILL
from works import PIPELINED, WORKS, Work


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells
    )


def tell(found: Found, memory: Mapping[str, list[float]], missing: Mapping[str, str]) -> str:
    parts = [_tell_work(found, work) for work in WORKS if any(work is each for _, each in found)]
    if memory:
        rows = [[name, f"{median(values):.0f}"] for name, values in memory.items()]
        parts.append(f"## Memory after a second of plain GET\n\n{table(['', 'MB'], rows)}")
    if missing:
        parts.append("## Not measured\n\n" + "\n".join(f"- {name}: {why}" for name, why in missing.items()))
    return "\n\n".join(parts)


def _tell_work(found: Found, work: Work) -> str:
    names = [name for name in SERVERS if (name, work) in found]
    names.sort(key=lambda name: median(load.cpu for load in found[name, work].values()))
    base = WEEBILL if WEEBILL in names else names[0]
    head = ["", "CPU, us", f"x {base}", "requests/s", "p99, ms"]
    rows = []
    for name in names:
        loads = found[name, work].values()
        part = ratio(found, Limit(work, 0, base, server=name))
        rows.append(
            [
                name,
                f"{median(load.cpu for load in loads):8.1f}",
                f"{part:6.2f}" if part else "",
                f"{median(load.rate for load in loads):8.0f}",
                f"{median(load.p99 for load in loads) / 1000:7.1f}" if work is not PIPELINED else "",
            ]
        )
    return f"## {work.name}\n\n{table(head, rows)}"


def versions() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = sorted({package for peer in SERVERS.values() for package in peer.packages})
    programs = [_python(), _said("wrk", "-v"), _said("nginx", "-v")]
    programs += [f"{name} {_version(name)}" for name in packages]
    machine = f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}"
    return f"{', '.join(filter(None, programs))}; {machine}, Linux {platform.release().partition('-')[0]}"


def _python() -> str:
    """Its version, and whose build it is, for builds differ by a fifth."""
    owner = f" of {platform.freedesktop_os_release()['PRETTY_NAME']}" if sys.base_prefix == "/usr" else ""
    return f"Python {platform.python_version()}{owner}"


def _said(*command: str) -> str:
    """Name and version, as a program says them of itself."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    found = re.search(r"(wrk|nginx)(?: debian)?[ /](?:version: nginx/)?([\w.]+)", done.stdout + done.stderr)
    return f"{found[1]} {found[2]}" if found else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
