"""The wires that one suite runs on: in memory, our server with either parser, and uvicorn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from bridge_helpers import on_uvicorn

from weebill.testing import LiveServer, TestClient

LIVE = ("httptools", "h11", "uvicorn")
WIRES = ("memory", *LIVE)

# What a client raises when an answer breaks off.
BROKEN = (httpx.TransportError, ConnectionError)


@contextmanager
def connected(app: Any, wire: str) -> Iterator[Any]:
    """A client of `app` on this wire: TestClient or httpx.Client, which share what a test needs of them."""
    if wire == "memory":
        with TestClient(app, raise_server_exceptions=False) as client:
            yield client
        return
    with (
        on_uvicorn(app) if wire == "uvicorn" else LiveServer(app, http=wire) as server,
        httpx.Client(base_url=getattr(server, "url", server), timeout=20) as client,
    ):
        yield client


def raw(client: Any, method: str, target: str, **options: Any) -> Any:
    """Send `target` as it stands, with the dot segments and bad escapes that clients otherwise repair."""
    if isinstance(client, httpx.Client):
        return client.request(method, "/", extensions={"target": target.encode("ascii")}, **options)
    return client.request(method, target, **options)
