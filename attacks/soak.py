"""A million requests of mixed kinds to one server: its memory stays where it was after the first tenth.

Prints a sample after each tenth; exits 1 if resident memory has grown by more than 5 MB since the first, if
anything is left over, if an answer was wrong, or if the log has a traceback.

Run it as `scripts/soak [number of requests]`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Awaitable, Callable

import measure
from clients import expect, head
from watch import HOST, Server, allow_descriptors

GROWTH = 5.0  # MB
AT_ONCE = 32  # clients
KEEP = 50  # requests on one connection, about

Kind = Callable[["Client"], Awaitable[int]]


class Client:
    """A client with a connection that is made when it is needed, and kept for some time."""

    reader: StreamReader
    writer: StreamWriter

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_open = False

    async def open(self) -> None:
        if not self.is_open:
            self.reader, self.writer = await asyncio.open_connection(HOST, self.port)
            self.is_open = True

    async def ask(self, data: bytes) -> None:
        await self.open()
        self.writer.write(data)

    async def answer(self, status: int, content: bytes | None = None, bare: bool = False) -> bytes:
        """Read one answer and check it; `bare` is one to HEAD."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        expect(lines.startswith(b"http/1.1 %d " % status), f"instead of {status}: {lines[:80]!r}")
        if bare:
            found = b""
        elif b"transfer-encoding: chunked" in lines:
            found = await self._chunks()
        else:
            length = int(lines.split(b"content-length: ")[1].split(b"\r\n")[0])
            found = await self.reader.readexactly(length)
        expect(content is None or found == content, f"instead of {content!r:.60}: {found!r:.60}")
        if b"connection: close" in lines:
            expect(await self.reader.read() == b"", "something comes behind the last answer")
            self.close()
        return found

    async def _chunks(self) -> bytes:
        pieces = []
        while size := int(await self.reader.readline(), 16):
            pieces.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readline()
        return b"".join(pieces)

    def close(self) -> None:
        if self.is_open:
            self.writer.close()
            self.is_open = False

    def reset(self) -> None:
        self.writer.transport.abort()
        self.is_open = False


# -- the kinds; each returns how many requests it has made


def get(path: str, content: bytes | None = None, status: int = 200) -> Kind:
    request = head("GET", path)

    async def kind(client: Client) -> int:
        await client.ask(request)
        await client.answer(status, content)
        return 1

    return kind


async def of_a_user(client: Client) -> int:
    number = random.randrange(10**9)
    await client.ask(head("GET", f"/user/{number}?greeting=Hi%20{number}", f"X-Number: {number}"))
    await client.answer(200, b"Hi %d, %d!" % (number, number))
    return 1


async def to_nowhere(client: Client) -> int:
    await client.ask(head("GET", f"/nowhere/{random.randrange(10**9)}"))
    await client.answer(404)
    return 1


async def with_head(client: Client) -> int:
    await client.ask(head("HEAD", "/"))
    await client.answer(200, bare=True)
    return 1


def post(path: str, size: int, status: int = 200, echoes: bool = True) -> Kind:
    content = os.urandom(size)
    request = head("POST", path, f"Content-Length: {size}") + content
    expected = content if echoes else b"%d" % size

    async def kind(client: Client) -> int:
        await client.ask(request)
        await client.answer(status, expected if status == 200 else None)
        return 1

    return kind


async def in_chunks(client: Client) -> int:
    pieces = [b"a" * random.randrange(1, 3000) for _ in range(random.randrange(1, 9))]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    await client.ask(head("POST", "/echo", "Transfer-Encoding: chunked") + framed + b"0\r\n\r\n")
    await client.answer(200, b"".join(pieces))
    return 1


async def expecting(client: Client) -> int:
    await client.ask(head("POST", "/echo", "Content-Length: 5", "Expect: 100-continue"))
    expect((await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 "), "no 100")
    await client.ask(b"01234")
    await client.answer(200, b"01234")
    return 1


async def pipelined(client: Client) -> int:
    count = random.randrange(2, 20)
    requests = [
        head("GET", "/user/bob"),
        head("POST", "/echo", "Content-Length: 3") + b"abc",
        head("GET", "/def"),
    ]
    await client.ask(b"".join(requests[number % 3] for number in range(count)))
    for number in range(count):
        await client.answer(200, (b"Hello, bob!", b"abc", b"Hello, thread!")[number % 3])
    return count


async def closing(client: Client) -> int:
    await client.ask(head("GET", "/", "Connection: close"))
    await client.answer(200, b"Hello, world!")
    return 1


async def too_large(client: Client) -> int:
    await client.ask(head("POST", "/echo", f"Content-Length: {1 << 30}") + b"a" * 1000)
    await client.answer(413)
    return 1


async def not_allowed(client: Client) -> int:
    await client.ask(head("DELETE", "/"))
    await client.answer(405)
    return 1


GARBAGE = [
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    (b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0123456", 400),
]


async def garbage(client: Client) -> int:
    data, status = random.choice(GARBAGE)
    await client.ask(data)
    await client.answer(status)
    return 1


ABANDONED = [
    head("GET", "/")[:30],
    head("GET", "/def"),
    head("POST", "/echo", "Content-Length: 5000") + b"a" * 2000,
    head("POST", "/spool", "Content-Length: 9000000") + b"a" * 1500000,
    head("POST", "/upload", "Content-Length: 5000") + b"a" * 2000,
    head("POST", "/upload", "Transfer-Encoding: chunked") + b"5\r\n012",
    head("GET", "/stream/100"),
    head("GET", "/events"),
]


async def abandoned(client: Client) -> int:
    await client.ask(random.choice(ABANDONED))
    await client.writer.drain()
    if random.random() < 0.5:
        await asyncio.sleep(0)
    client.reset() if random.random() < 0.5 else client.close()
    return 1


async def events_cut_short(client: Client) -> int:
    await client.ask(head("GET", "/events"))
    await client.reader.readuntil(b"data: 0\n\n")
    client.reset() if random.random() < 0.5 else client.close()
    return 1


KINDS: dict[Kind, float] = {  # and how many of a thousand
    get("/", b"Hello, world!"): 250,
    get("/json"): 100,
    get("/def", b"Hello, thread!"): 100,
    of_a_user: 150,
    with_head: 30,
    to_nowhere: 40,
    not_allowed: 20,
    post("/echo", 200): 70,
    post("/echo", 100_000): 10,
    post("/echo", 1_500_000): 1,
    post("/upload", 5000, echoes=False): 30,
    post("/spool", 3_000_000, echoes=False): 1,
    in_chunks: 40,
    expecting: 10,
    get("/stream/3", b"*" * 196608): 5,
    too_large: 10,
    garbage: 30,
    closing: 20,
    pipelined: 30,
    abandoned: 30,
    events_cut_short: 10,
}


async def soak(port: int, count: int) -> Counter[str]:
    """Make `count` requests; return how many of each kind were made."""
    made: Counter[str] = Counter()
    total = 0
    kinds, weights = list(KINDS), list(KINDS.values())

    async def work() -> None:
        nonlocal total
        client = Client(port)
        while total < count:
            kind = random.choices(kinds, weights)[0]
            if kind in FRESH:
                client.close()
            try:
                number = await kind(client)
            except (OSError, asyncio.IncompleteReadError) as error:
                raise AssertionError(f"{kind.__name__} broke off: {error!r}") from error
            total += number
            made[kind.__name__] += number
            if random.random() < 1 / KEEP:
                client.close()
        client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    return made


FRESH = (abandoned,)  # what follows an answer on the same connection would be cut off with it


def main(arguments: list[str]) -> int:
    try:
        total = int(arguments[0].replace(",", "")) if arguments else 1_000_000
    except ValueError:
        print("usage: scripts/soak [NUMBER OF REQUESTS]", file=sys.stderr)
        return 2
    allow_descriptors(2048)
    os.sched_setaffinity(0, {measure.LOAD_CORE})
    with Server(["--threads=8"]) as server:
        server.warm_up()
        return _watch(server, total)


def _watch(server: Server, total: int) -> int:
    import uvloop

    before = server.rest()
    began, cpu = time.monotonic(), server.target.cpu()
    samples: list[float] = []
    faults: list[str] = []
    print(f"{'requests':>10}  resident MB  seconds  left over", flush=True)
    for tenth in range(1, 11):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(soak(server.port, total // 10))
        left = server.left_beyond(before, 10)
        samples.append(server.target.memory())
        took = time.monotonic() - began
        print(
            f"{tenth * total // 10:>10,}  {samples[-1]:>11.2f}  {took:>7.0f}  {left or 'nothing'}", flush=True
        )
        if left:
            faults.append(f"left over: {left}")
    growth = samples[-1] - samples[0]
    if growth > GROWTH:
        faults.append(f"memory grew by more than {GROWTH:g} MB")
    if server.target.lines("Traceback"):
        faults.append("the log has a traceback:\n" + "\n".join(server.target.lines()[-40:]))
    cost = (server.target.cpu() - cpu) / total * 1e6
    print(f"grew by {growth:.2f} MB since the first tenth; {cost:.0f} us of CPU each")
    for fault in faults:
        print(f"FAIL: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
