"""Clients that go away in the middle, send what nobody wants, or leave no room for others."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections import Counter
from collections.abc import Sized
from functools import partial

from clients import Client, Scale, expect, gather, head, until
from watch import CLIENTS, Target

MIB = b"\xa5" * (1 << 20)
FORM = "Content-Type: multipart/form-data; boundary=film"
FILE = b'--film\r\nContent-Disposition: form-data; name="film"; filename="bird.mov"\r\n\r\n'

# -- going away


async def gone(target: Target, scale: Scale) -> str:
    """Go away at every moment, by a FIN or by a RST."""
    moments = [
        (b"", b""),  # what is sent; up to what its answer is read
        (head("GET", "/")[:20], b""),
        (head("GET", "/"), b""),
        (head("GET", "/") * 50, b"world!"),
        (head("GET", "/wait"), b""),
        (head("GET", "/def") + head("GET", "/")[:20], b"thread!"),
        (head("POST", "/echo", "Content-Length: 1000") + b"a" * 500, b""),
        (head("POST", "/echo", "Content-Length: 1000", "Expect: 100-continue"), b"100 Continue\r\n\r\n"),
        (head("POST", "/echo", "Transfer-Encoding: chunked") + b"5\r\n012", b""),
        (head("POST", "/spool", "Content-Length: 9000000") + MIB + MIB, b""),
        (head("POST", "/upload", "Content-Length: 9000000") + b"a" * 100000, b""),
        (head("POST", "/upload", "Transfer-Encoding: chunked") + b"5\r\n01234\r\n", b""),
        (head("POST", "/form", "Content-Length: 9000000", FORM) + FILE + MIB + MIB + MIB, b""),
        (head("GET", f"/stream/{scale.pieces}"), b"***"),
        (head("GET", f"/stream/{scale.pieces}"), b""),
        (head("GET", "/events"), b"data: 0"),
        (b"nonsense\r\n\r\n", b"400 "),
    ]
    endings = (Client.reset, Client.close, Client.shut)
    count: Counter[str] = Counter()

    async def attack() -> None:
        data, answer = random.choice(moments)
        ending = random.choice(endings)
        client = await Client.connect(target)
        await client.send(data)
        if answer:
            await client.receive_until(answer)
        ending(client)
        count[ending.__name__] += 1
        if ending is Client.shut:
            await asyncio.sleep(0.02)
            client.close()

    await gather([attack] * scale.repeats, 20)
    return ", ".join(f"{count[ending.__name__]:,} by {ending.__name__}" for ending in endings)


async def half_closed(target: Target, scale: Scale) -> str:
    """Send a whole request, and a FIN behind it: the answer comes nevertheless, as one of half a request
    does."""
    requests = [
        (head("GET", "/"), b"Hello, world!"),
        (head("GET", "/wait"), b"Hello at last!"),
        (head("GET", "/") * 20, b"Hello, world!"),
        (head("POST", "/echo", "Content-Length: 5") + b"01234", b"01234"),
        (head("POST", "/upload", "Content-Length: 5") + b"01234", b"5"),
        (head("POST", "/spool", "Content-Length: 2097152") + MIB + MIB, b"2097152"),
        (head("GET", "/stream/20"), b"0\r\n\r\n"),
    ]
    broken = [
        head("GET", "/")[:-2],
        head("POST", "/echo", "Content-Length: 5") + b"0123",
        head("POST", "/upload", "Content-Length: 5") + b"0123",
        head("POST", "/echo", "Transfer-Encoding: chunked") + b"5\r\n01234\r\n",
    ]

    async def ask(data: bytes, status: bytes, end: bytes) -> None:
        client = await Client.connect(target)
        await client.send(data)
        client.shut()
        answer = await client.receive_all(10)
        client.close()
        good = answer.startswith(b"HTTP/1.1 " + status) and answer.endswith(end)
        expect(good, f"{data[:60]!r} and a FIN were answered {answer[:60]!r}")

    asked = [partial(ask, data, b"200", end) for data, end in requests]
    asked += [partial(ask, data, b"400", b"") for data in broken]
    jobs = [random.choice(asked) for _ in range(scale.repeats // 5)]
    await gather([*asked, *jobs], 20)
    return f"{len(asked) + len(jobs):,} answered: 200 where it was whole, 400 where it was not"


# -- uploads


async def upload(
    target: Target, scale: Scale, path: str = "/upload", before: bytes = b"", after: bytes = b""
) -> str:
    """Two uploads at a time, one with a length and one in chunks."""
    size = scale.upload << 20
    began = time.monotonic()

    async def attack(framing: str, pieces: list[bytes]) -> None:
        client = await Client.connect(target)
        fields = (framing, FORM if before else "Accept: */*", "Connection: close")
        await client.send(head("POST", path, *fields) + pieces[0])
        for _ in range(scale.upload):
            expect(await client.send(pieces[1]), "the connection was reset")
        await client.send(pieces[2])
        answer = await client.receive_all(60)
        client.close()
        expect(answer.endswith(b"\r\n\r\n%d" % size), f"answered {answer!r}")

    plain = [before, MIB, after]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"" for piece in plain]
    chunks[2] += b"0\r\n\r\n"
    length = size + len(before) + len(after)
    await gather(
        [
            partial(attack, f"Content-Length: {length}", plain),
            partial(attack, "Transfer-Encoding: chunked", chunks),
        ],
        2,
    )
    took = time.monotonic() - began
    return f"2 of {scale.upload:,} MiB taken whole, {2 * size / took / 1e6:,.0f} MB/s in all"


async def spooled_upload(target: Target, scale: Scale) -> str:
    """The same to a route that wants its content whole: it waits in a file."""
    return await upload(target, scale, "/spool")


async def form_upload(target: Target, scale: Scale) -> str:
    """The same as a file of a form."""
    return await upload(target, scale, "/form", FILE, b"\r\n--film--\r\n")


async def unwanted(target: Target, scale: Scale) -> str:
    """Send far more than is wanted, and only then read: the 413 is there."""
    size = scale.upload << 19  # bytes: half of an upload

    async def attack(framing: str, before: bytes, after: bytes, whole: bool) -> None:
        client = await Client.connect(target)
        await client.send(head("POST", "/echo", framing))
        taken = 0
        for _ in range(scale.upload // 2):
            if not await client.send(before + MIB + after):
                break
            taken += 1
        client.shut()
        answer = await client.receive_all(10)
        client.close()
        expect(answer.startswith(b"HTTP/1.1 413 "), f"answered {answer[:60]!r} after {taken} MiB")
        expect(taken == scale.upload // 2 or not whole, f"reset after {taken} MiB")

    kinds = [
        (f"Content-Length: {size}", b"", b"", True),
        ("Transfer-Encoding: chunked", b"100000\r\n", b"\r\n", True),
    ]
    await gather([partial(attack, *kind) for kind in kinds], 2)
    return f"413, after {scale.upload // 2:,} MiB were sent all the same"


# -- no room


CROWD = 200  # connections where there is room for 50 or so
FULL = "connections are open"  # in the log
NO_DESCRIPTORS = "no connection can be accepted"


async def few_descriptors(target: Target, scale: Scale) -> str:
    """More connections than there are descriptors, to a server that was started with few."""
    return await _fill(target, FULL)


async def no_descriptors(target: Target, scale: Scale) -> str:
    """The same, when it learns of it only from the system's refusal."""
    resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (60, 60))
    return await _fill(target, NO_DESCRIPTORS)


async def _fill(target: Target, text: str) -> str:
    began = time.monotonic()
    clients = [await Client.connect(target) for _ in range(CROWD)]
    await asyncio.sleep(1)
    before, seconds = target.cpu(), 3.0
    await asyncio.sleep(seconds)
    share = (target.cpu() - before) / seconds
    expect(share < 0.1, f"{share:.0%} of the CPU went to nothing")
    for client in clients:
        client.close()
    took = await _answers(target)
    _expect_few_lines(target, text, time.monotonic() - began)
    expect(took < 1, f"it answered again after {took:.1f}s")
    return f"{CROWD} connected, {share:.0%} CPU while full, answers {took * 1000:.0f} ms after they left"


def _expect_few_lines(target: Target, text: str, seconds: float) -> None:
    """One line of the log in a second, and at least one in all."""
    lines = len(target.lines(text))
    expect(1 <= lines <= seconds + 1, f"in {seconds:.1f}s the log says {lines} times that {text}")


async def _answers(target: Target) -> float:
    """For how long a new client has to wait."""
    began = time.monotonic()
    client = await Client.connect(target)
    await client.send(head("GET", "/", "Connection: close"))
    answer = await client.receive_all(10)
    expect(answer.endswith(b"world!"), f"answered {answer[:60]!r}")
    client.close()
    return time.monotonic() - began


MOST = 50  # connections that the server takes
LEAVING = 20


async def too_many(target: Target, scale: Scale) -> str:
    """More connections than the server's limit, each with a request: the others wait, and have their turn
    when some leave."""
    began = time.monotonic()
    room = MOST - CLIENTS  # beside the honest clients
    answered: set[Client] = set()

    async def ask() -> None:
        client = await Client.connect(target)
        await client.send(head("GET", "/"))
        await client.receive_until(b"world!")
        answered.add(client)

    async with asyncio.TaskGroup() as group:
        for _ in range(CROWD):
            group.create_task(ask())
        await until(lambda: len(answered) == room, 2, f"not {room} were answered")
        await asyncio.sleep(1)
        expect(len(answered) == room, f"{len(answered)} were answered where there is room for {room}")
        lines = len(target.lines(FULL))
        expect(lines == 1, f"the log says {lines} times that {FULL}")
        while len(answered) < CROWD:
            seen = set(answered)
            leaving = [client for client in seen if client.sock.fileno() >= 0][:LEAVING]
            turns = min(len(seen) + len(leaving), CROWD)
            for client in leaving:
                client.close()
            await until(partial(_has, answered, turns), 1, f"{turns} should have had a turn by now")
    for client in answered:
        client.close()
    took = await _answers(target)
    expect(took < 1, f"it answered again after {took:.1f}s")
    _expect_few_lines(target, FULL, time.monotonic() - began)
    return f"{room} answered of {CROWD}, the others as those left"


def _has(answered: Sized, count: int) -> bool:
    return len(answered) >= count
