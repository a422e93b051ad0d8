"""What the tests of the dialects share: a client that sends what it is told, a log, and real programs."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from processes import Running

PARSERS = ["httptools", "h11"]
EXAMPLES = Path(__file__).parent.parent / "examples" / "dialects"


@dataclass
class Answer:
    """One answer, as it came."""

    status: int
    reason: str
    headers: HTTPMessage
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


def read_answer(answer: HTTPResponse) -> Answer:
    return Answer(answer.status, answer.reason, answer.headers, answer.read())


class Client:
    """One connection for each request, unless it is given one."""

    def __init__(self, port: int) -> None:
        self.port = port

    @classmethod
    def of(cls, url: str) -> Client:
        port = urlsplit(url).port
        assert port is not None
        return cls(port)

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | str | None = None,
        connection: HTTPConnection | None = None,
        **headers: str,
    ) -> Answer:
        """Fields are given as arguments: `accept_encoding` is Accept-Encoding."""
        own = connection or self.connect()
        try:
            content = body.encode() if isinstance(body, str) else body
            own.request(method, target, content, {k.replace("_", "-"): v for k, v in headers.items()})
            return read_answer(own.getresponse())
        finally:
            if connection is None:
                own.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask("GET", target, **headers)

    def raw(self, request: bytes) -> bytes:
        """All that comes back on a connection that is ours to half-close."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as peer:
            peer.sendall(request)
            peer.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: peer.recv(65536), b""))


class Log(logging.Handler):
    """What "weebill" and what is below it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def errors(self) -> list[str]:
        return [record.getMessage() for record in self.records if record.levelno >= logging.ERROR]


@contextmanager
def logged() -> Iterator[Log]:
    """Because the logger has a handler, a server installs none that would outlive the test."""
    logger, handler = logging.getLogger("weebill"), Log()
    level = logger.level
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until `condition()` is true, and give it back."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.002)
    return value


def program(path: Path, *arguments: str, cwd: Path | None = None, **options: Any) -> Running:
    """A real process of its own: `python path arguments...`."""
    return Running(*arguments, command=(sys.executable, str(path)), cwd=cwd or path.parent, **options)
