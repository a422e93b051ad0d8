"""What attackers have in common: raw sockets on the loop, and ways to be rude with them."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle

from watch import HOST, Target

__all__ = ["HOST", "LINGER", "Client", "Failed", "Scale", "expect", "gather", "head", "until"]

LINGER = 32.0  # seconds for which a server may go on listening to a client that it has refused

_RESET = struct.pack("ii", 1, 0)  # struct linger: on, and for no time
_LATE_PORT = 24  # IP_BIND_ADDRESS_NO_PORT: connect() takes the port, which many connections may share

# Each address has some 28,000 ports, and one that was used is not free for a while.
_sources = cycle(f"127.0.0.{number}" for number in range(2, 34))


class Failed(Exception):
    """The server did not do to an attacker what it should have done."""


def expect(condition: object, text: str) -> None:
    """Raise Failed unless `condition` holds."""
    if not condition:
        raise Failed(text)


@dataclass(frozen=True, slots=True)
class Scale:
    """How hard everything is tried, and the deadlines that the server is given, in seconds."""

    crowd: int  # slow connections
    idle: int  # idle connections
    seconds: float  # that a flood lasts
    repeats: int  # of clients that go away
    readers: int  # of a stream that stop reading
    upload: int  # MiB
    pieces: int  # of 64 KiB in a stream
    pipelined: int  # requests
    drip: float  # seconds between two bytes
    stubborn: float  # seconds for which clients go on once they are refused
    header_timeout: float
    body_grace: float
    idle_timeout: float
    write_timeout: float

    def options(self) -> list[str]:
        """The deadlines as options of `weebill run`."""
        names = ("header_timeout", "body_grace", "idle_timeout", "write_timeout")
        return [f"--{name.replace('_', '-')}={getattr(self, name):g}s" for name in names]


class Client:
    """One connection of an attacker. It is closed with the process, if nobody says so before."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.began = time.monotonic()
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, target: Target, receive_buffer: int = 0) -> Client:
        """`receive_buffer` in bytes: the smaller, the sooner the server has to wait for a client."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _LATE_PORT, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((next(_sources), 0))
        await asyncio.get_running_loop().sock_connect(sock, (HOST, target.port))
        return cls(sock)

    async def send(self, data: bytes) -> bool:
        """Whether the server takes it; False once it has reset the connection."""
        try:
            await self._loop.sock_sendall(self.sock, data)
        except OSError:
            return False
        return True

    async def receive(self, size: int = 65536) -> bytes:
        """What has come; b"" at the end, be it a reset."""
        try:
            return await self._loop.sock_recv(self.sock, size)
        except OSError:
            return b""

    async def receive_until(self, end: bytes) -> bytes:
        """What comes up to `end`, and no less. Raises Failed if the connection ends before."""
        answer = b""
        while end not in answer:
            piece = await self.receive()
            expect(piece, f"the connection ended after {answer[:100]!r}, before {end!r}")
            answer += piece
        return answer

    async def receive_all(self, seconds: float) -> bytes:
        """What comes until the server has shut its side. Raises Failed if that takes too long."""
        pieces = []
        try:
            async with asyncio.timeout(seconds):
                while piece := await self.receive():
                    pieces.append(piece)
        except TimeoutError:
            raise Failed(f"still open after {seconds:g}s and {b''.join(pieces)[:60]!r}") from None
        return b"".join(pieces)

    async def drip(self, piece: bytes, every: float, seconds: float) -> bool:
        """Send `piece` again and again, for `seconds` at most; whether the server has reset it."""
        end = time.monotonic() + seconds
        while await self.send(piece):
            await asyncio.sleep(every)
            if time.monotonic() > end:
                return False
        return True

    def shut(self) -> None:
        """Send no more, but go on reading (a FIN)."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Go away rudely (a RST)."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


def head(method: str, path: str, *lines: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: attacked", *lines, "", ""]).encode()


async def gather(jobs: Iterable[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Do all, `at_once` at a time; the first that fails ends it."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


async def until(condition: Callable[[], bool], seconds: float, text: str) -> float:
    """Wait for `condition`; return for how long. Raises Failed with `text` if it takes too long."""
    began = time.monotonic()
    while not condition():
        expect(time.monotonic() < began + seconds, text)
        await asyncio.sleep(0.05)
    return time.monotonic() - began
