"""What the tests of the bridges share: a client that speaks ASGI in memory, and live servers of others."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from weebill.bridges.asgi import serve_scope
from weebill.server.background import BackgroundServer
from weebill.settings import Settings


@dataclass
class Answer:
    """The messages that an application sent to one request."""

    messages: list[Any] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {n.decode(): v.decode("latin-1") for n, v in self.messages[0]["headers"]}

    @property
    def pieces(self) -> list[bytes]:
        return [m.get("body", b"") for m in self.messages if m["type"] == "http.response.body"]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def complete(self) -> bool:
        last = self.messages[-1]
        return last["type"] == "http.response.body" and not last.get("more_body", False)


def scope_of(target: str, method: str = "GET", headers: Any = (), **more: Any) -> dict[str, Any]:
    """An "http" scope as a server of today makes it."""
    from urllib.parse import unquote

    raw_path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        "client": ("192.0.2.7", 50000),
        "server": ("example.org", 8080),
    }
    return scope | more


class Peer:
    """The server's side of one request: what the application receives, and what it sends.

    `pieces` are the content. When they are used up, `receive` waits until `leave` is called.
    """

    def __init__(self, *pieces: bytes) -> None:
        self.answer = Answer()
        self.received = 0  # messages that the application took
        self._pieces = list(pieces) or [b""]
        self._gone = asyncio.Event()

    def leave(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self._gone.is_set():
            raise OSError
        self.answer.messages.append(message)


async def exchange(
    application: Any,
    target: str = "/",
    method: str = "GET",
    headers: Any = (),
    content: tuple[bytes, ...] = (),
    **options: Any,
) -> Answer:
    """Ask a Weebill application through our own ASGIExchange."""
    peer = Peer(*content)
    limits = {k: options.pop(k) for k in ("max_body", "spool") if k in options}
    scope = scope_of(target, method, headers, **options)
    await asyncio.wait_for(serve_scope(application, scope, peer.receive, peer.send, **limits), 10)
    return peer.answer


def ask(application: Any, *args: Any, **options: Any) -> Answer:
    """`exchange`, with the application's start and end around it."""

    async def main() -> Answer:
        await application.__startup__()
        try:
            return await exchange(application, *args, **options)
        finally:
            await application.__shutdown__()

    return asyncio.run(main())


@contextmanager
def on_weebill(application: Any, http: str, **options: Any) -> Iterator[str]:
    """Serve an application of the waist on our own server; gives the server's URL."""
    server = BackgroundServer(application, Settings(port=0, http=http, **options))
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


@contextmanager
def on_uvicorn(app: Any, **options: Any) -> Iterator[str]:
    """Serve an ASGI application on uvicorn in a thread; gives the server's URL."""
    listener = socket.create_server(("127.0.0.1", 0))  # listens at once, so clients need not wait for it
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


@contextmanager
def on_granian(program: str, folder: Any) -> Iterator[str]:
    """Serve "module:app" of `folder` on granian in a process of its own; gives the server's URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port), program],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "Started worker" in line:
                break
        else:
            raise AssertionError("granian did not start: " + "".join(seen))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)
