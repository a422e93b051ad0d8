"""Birdlog on each wire: in memory, and as a process of its own on our server, on uvicorn and on granian."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
from processes import PATIENCE, Running

from weebill import TestClient

PROGRAM = Path(__file__).parent.parent / "examples" / "birdlog" / "app.py"
WIRES = ("memory", "httptools", "h11", "uvicorn", "granian")
BROWSER = {"accept": "text/html", "sec-fetch-site": "same-origin"}
PASSWORD = "correct horse"


def load(folder: Path) -> ModuleType:
    """The program, imported anew, with its data in `folder`."""
    before = os.environ.get("BIRDLOG_DATA")
    os.environ["BIRDLOG_DATA"] = str(folder)
    try:
        spec = importlib.util.spec_from_file_location("birdlog", PROGRAM)
        module = sys.modules["birdlog"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        del os.environ["BIRDLOG_DATA"]
        if before is not None:
            os.environ["BIRDLOG_DATA"] = before
    return module


def process(wire: str, folder: Path) -> Running:
    """The program on a server, which may not listen yet."""
    data = {"BIRDLOG_DATA": str(folder)}
    if wire in ("httptools", "h11"):
        return Running("run", str(PROGRAM), "--port", "0", "--http", wire, cwd=folder, **data)
    # On a server of others a page that is open is cut when the time for stopping is over.
    if wire == "uvicorn":
        options = ["app:app", "--port", "0", "--timeout-graceful-shutdown", "1"]
    else:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        options = ["app:app", "--interface", "asgi", "--host", "127.0.0.1", "--port", port]
        options += ["--workers-kill-timeout", "1"]
    here = ("sh", "-c", 'exec "$0" "$@" >&2', sys.executable)  # granian speaks on standard output
    return Running("-m", wire, *options, command=here, cwd=PROGRAM.parent, **data)


def url(wire: str, server: Running) -> str:
    """Where it listens, once it does."""
    if wire == "uvicorn":
        line = server.wait_for("Uvicorn running on")
    elif wire == "granian":
        line = server.wait_for("Listening at:")
        server.wait_for("Started worker")
    else:
        return server.url()
    return re.search(r"http://[\d.:]+", line)[0]


class Birdlog:
    """The program on one wire, in memory or as a server that listens."""

    def __init__(self, wire: str, memory: TestClient | None = None, server: Running | None = None) -> None:
        self.wire = wire
        self.memory = memory
        self.server = server
        self.url = url(wire, server) if server else ""
        self.clients = ExitStack()
        self._members = 0

    def visitor(self) -> Any:
        """A browser, as far as that can be told from its fields: a TestClient or an httpx.Client."""
        if self.memory is not None:
            return self.memory.visitor()
        options: Any = {"headers": BROWSER, "follow_redirects": True, "timeout": PATIENCE}
        # No certificate is asked for, and reading those of all authorities takes its time.
        return self.clients.enter_context(httpx.Client(base_url=self.url, verify=False, **options))

    def member(self) -> Any:
        """Somebody who has just signed up, with a `name`."""
        self._members += 1
        client = self.visitor()
        client.name = f"member-{self._members}"
        answer = client.post("/members", data=login(client, client.name))
        assert f"Welcome, {client.name}." in answer.text
        return client


def token(client: Any) -> str:
    """The token of the forms on the page."""
    return re.search(r'name="csrf_token" value="([^"]+)"', client.get("/").text)[1]


def login(client: Any, name: str, password: str = PASSWORD) -> dict[str, str]:
    """What the form for logging in and signing up sends."""
    return {"csrf_token": token(client), "name": name, "password": password}


@contextmanager
def live(client: Any, after: int = 0, **options: Any) -> Iterator[Iterator[tuple[str, int, str]]]:
    """The name, the number and the data of each event of the live page, as it comes."""
    with client.stream("GET", f"/live?after={after}", **options) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, int, str]]:
    fields: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields.setdefault(name, []).append(value)
        elif "data" in fields:
            yield fields["event"][0], int(fields["id"][0]), "\n".join(fields["data"])
        fields = fields if line else {}


def newest(client: Any) -> int:
    """The number of the last sighting, 0 before the first."""
    return max((sighting["id"] for sighting in client.get("/api/sightings").json()), default=0)


def png(width: int = 64, height: int = 48) -> bytes:
    """A photograph of a green field."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (
        b"\0" + bytes((90 + x, 140 + y, 70)[c] for x in range(width) for c in range(3)) for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pieces = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)
