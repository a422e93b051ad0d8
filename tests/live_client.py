"""A client of bare sockets, and a small application to be served to it."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, BinaryIO, cast

from weebill.exchange import BUFFERED, Exchange, Intake
from weebill.server.background import BackgroundServer
from weebill.settings import Settings

PATIENCE = 15.0  # seconds

Program = Callable[[Exchange], Awaitable[None]]


class Programs:
    """An application of a program for each path, and how each takes its content."""

    def __init__(self, **programs: Program | tuple[Program, Intake]) -> None:
        self.programs = programs

    async def __startup__(self) -> None: ...

    async def __shutdown__(self) -> None: ...

    def __intake__(self, exchange: Exchange) -> Intake:
        program = self.programs.get(exchange.path[1:])
        return program[1] if isinstance(program, tuple) else BUFFERED

    async def __exchange__(self, exchange: Exchange) -> None:
        if (refusal := exchange.refusal) is not None:
            await exchange.respond(refusal.status_code, [], refusal.detail.encode())
            return
        program = self.programs[exchange.path[1:]]
        await (program[0] if isinstance(program, tuple) else program)(exchange)


async def hello(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"content-type", b"text/plain")], b"hello")


async def echo(exchange: Exchange) -> None:
    await exchange.respond(200, [], exchange.query_string.encode() + exchange.body.read_all())


class Answer:
    """An answer, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.content = response.read()


class _KeptOpen:
    """The socket that HTTPResponse wants: it closes its file, and must not close ours."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def makefile(self, mode: str) -> BinaryIO:
        return cast(BinaryIO, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None: ...


class Client:
    """One connection."""

    def __init__(self, port: int, **options: int) -> None:
        self.socket = socket.socket()
        for name, value in options.items():
            self.socket.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(
        self, target: str = "/hello", method: str = "GET", fields: str = "", version: str = "1.1"
    ) -> None:
        self.send(f"{method} {target} HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode())

    def answer(self, method: str = "GET") -> Answer:
        response = http.client.HTTPResponse(cast(socket.socket, _KeptOpen(self.file)), method=method)
        response.begin()
        return Answer(response)

    def get(self, target: str = "/hello", **options: Any) -> Answer:
        self.ask(target, **options)
        return self.answer(options.get("method", "GET"))

    def shut(self) -> None:
        """Send no more."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a reset instead of a clean end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.file.close()
        self.socket.close()

    def is_ended(self) -> bool:
        """Wait for the server's end; whether it came without another byte and without a reset."""
        return self.file.read(1) == b""


class Server(BackgroundServer):
    """Our server in a thread, whose loop a test may ask."""

    def __init__(self, application: Any, **settings: Any) -> None:
        super().__init__(application, Settings(port=0, **settings))

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def client(self, **options: int) -> Client:
        return Client(self.port, **options)

    def on_loop(self, function: Callable[[], Any]) -> Any:
        """Call on the server's loop."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.worker.state.loop).result(PATIENCE)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` holds, looking at each turn of the server's loop."""

        async def wait() -> None:
            async with asyncio.timeout(PATIENCE):
                while not condition():  # noqa: ASYNC110 (it may be about the kernel, of which no event tells)
                    await asyncio.sleep(0.001)

        asyncio.run_coroutine_threadsafe(wait(), self.worker.state.loop).result(PATIENCE + 1)

    @property
    def connections(self) -> list[Any]:
        return list(self.worker.state.connections)
