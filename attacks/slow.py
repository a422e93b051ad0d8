"""Clients that take their time: each is closed in due time, however it is spread."""

from __future__ import annotations

import asyncio
import re
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import cycle, islice

from clients import HOST, LINGER, Client, Scale, expect, gather, head, until
from watch import CLIENTS, Target

# A limit counts from a sweep, of which there is one each second, and is enforced by one: so much later.
SWEEP = 1.0
LONG = 1e6  # for ever
JITTER = 0.5  # what a busy machine and the attackers' low priority may add


# -- by slowhttptest


async def slowhttptest_headers(target: Target, scale: Scale) -> str:
    """Slowloris: a field every second."""
    return await _slowhttptest_ends(target, scale, "/", "-H", "-i", "1")


async def slowhttptest_body(target: Target, scale: Scale) -> str:
    """Announces 100,000 bytes and sends a few every second."""
    options = ["-B", "-i", "1", "-s", "100000", "-x", "10"]
    return await _slowhttptest_ends(target, scale, "/echo", *options)


async def slowhttptest_read(target: Target, scale: Scale) -> str:
    """Advertises a small window and reads a few bytes every five seconds. It never notices that it was cut
    off, so the server's sockets tell."""
    limit = scale.write_timeout + 2 * SWEEP + JITTER
    options = f"-X -i 1 -w 256 -y 512 -n 5 -z 32 -l {limit + 20:.0f}".split()
    before = target.sockets()
    process = await _slowhttptest(target, scale, f"/stream/{scale.pieces}", *options)
    try:
        await until(lambda: target.sockets() > before + scale.crowd * 0.9, 10, "they do not come")
        took = await until(lambda: target.sockets() <= before + CLIENTS, 3 * limit, "some are still open")
    finally:
        process.terminate()
        await process.communicate()
    expect(took <= limit, f"the last of them was cut off after {took:.1f}s only")
    return f"{scale.crowd} cut off, the last after {took:.1f}s"


async def _slowhttptest_ends(target: Target, scale: Scale, path: str, *options: str) -> str:
    seconds = 2 * max(scale.header_timeout, scale.body_grace) + 20
    process = await _slowhttptest(target, scale, path, *options, "-l", f"{seconds:.0f}")
    written, _ = await process.communicate()
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", written.decode())
    expect("Exit status: No open connections left" in text, f"it was not rid of them: {text[-400:]}")
    expect("service available:   NO" not in text, "its probe was not answered")
    ended = re.search(r"Test ended on (\d+)", text)
    expect(ended, f"slowhttptest has changed what it says: {text[-400:]}")
    assert ended is not None
    return f"{scale.crowd} closed after {ended[1]}s"


async def _slowhttptest(target: Target, scale: Scale, path: str, *options: str) -> asyncio.subprocess.Process:
    command = f"slowhttptest -c {scale.crowd} -r {scale.crowd} -p 5 -v 1 -u http://{HOST}:{target.port}{path}"
    return await asyncio.create_subprocess_exec(*command.split(), *options, stdout=PIPE)


# -- by our own hand


async def slow_heads(target: Target, scale: Scale) -> str:
    """Nothing, half a head, and heads that come byte by byte or field by field, on new and kept
    connections."""
    begin = b"GET / HTTP/1.1\r\nHost: attacked\r\n"
    kinds: list[tuple[bytes, bytes, bytes]] = [  # before; at first; again and again
        (b"", b"", b""),
        (b"", begin, b""),
        (b"", begin + b"X-Slow: ", b"a"),
        (b"", begin, b"X-Slow: a\r\n"),
        (b"", b"", b"G"),
        (head("GET", "/"), begin, b"b"),
        (head("GET", "/"), b"G", b""),
    ]
    times: list[float] = []

    async def attack(before: bytes, first: bytes, drop: bytes) -> None:
        client = await Client.connect(target)
        if before:
            await client.send(before)
            await client.receive_until(b"world!")
        began = time.monotonic()
        await client.send(first)
        dripping = asyncio.create_task(client.drip(drop, scale.drip, LONG)) if drop else None
        limit = scale.header_timeout + SWEEP + JITTER
        answer = await client.receive_all(2 * limit)
        took = time.monotonic() - began
        expect(took <= limit, f"{first[-20:]!r} and {drop!r} were closed after {took:.1f}s")
        expect(took >= scale.header_timeout - 0.1, f"{first!r} and {drop!r} had only {took:.1f}s")
        if first or drop:
            expect(answer.startswith(b"HTTP/1.1 408 "), f"{first!r} was answered {answer[:60]!r}")
        times.append(took)
        if dripping is not None:  # and go on
            await asyncio.wait({dripping}, timeout=scale.stubborn)
            expect(dripping.done() or scale.stubborn < LINGER, "one that never stops is still listened to")

    await _crowd(attack, kinds, scale.crowd)
    return _told(times, "408 or closed")


async def slow_bodies(target: Target, scale: Scale) -> str:
    """Bodies that stop, or come with ten bytes a second, gathered and streamed, with a length and in
    chunks."""
    length, chunked = "Content-Length: 100000", "Transfer-Encoding: chunked"
    kinds = [
        (head("POST", path, framing) + first, drop)
        for path in ("/echo", "/upload", "/spool")
        for framing, first, drop in [
            (length, b"", b""),
            (length, b"0123456789", b""),
            (length, b"0123456789", b"5"),
            (chunked, b"", b""),
            (chunked, b"5\r\n01234\r\n", b"1\r\n5\r\n"),
            (chunked, b"5;", b"e"),
        ]
    ]
    times: list[float] = []

    async def attack(first: bytes, drop: bytes) -> None:
        client = await Client.connect(target)
        await client.send(first)
        dripping = asyncio.create_task(client.drip(drop, 0.1, LONG)) if drop else None
        # What ten bytes a second buy at 240 is less than another sweep.
        limit = scale.body_grace * 1.1 + 2 * SWEEP + JITTER
        answer = await client.receive_all(2 * limit)
        took = time.monotonic() - client.began
        expect(took <= limit, f"{first!r} and {drop!r} were closed after {took:.1f}s")
        expect(answer.startswith(b"HTTP/1.1 408 "), f"{first!r} was answered {answer[:60]!r}")
        times.append(took)
        if dripping is not None:
            await asyncio.wait({dripping}, timeout=scale.stubborn)
            expect(dripping.done() or scale.stubborn < LINGER, "one that never stops is still listened to")

    await _crowd(attack, kinds, scale.crowd)
    return _told(times, "408")


async def idle(target: Target, scale: Scale) -> str:
    """Connections that say nothing, or nothing more after one request."""
    waiting: list[asyncio.Task[float]] = []

    async def attack(asks: bool) -> None:
        client = await Client.connect(target)
        if asks:
            await client.send(head("GET", "/"))
            await client.receive_until(b"world!")
        limit = scale.idle_timeout if asks else scale.header_timeout
        waiting.append(asyncio.create_task(_is_closed(client, limit)))

    began = time.monotonic()
    await gather((partial(attack, number % 2 == 1) for number in range(scale.idle)), 100)
    opened = time.monotonic() - began
    times = await asyncio.gather(*waiting)
    return f"{scale.idle} opened in {opened:.1f}s, closed after {min(times):.1f} to {max(times):.1f}s"


async def _is_closed(client: Client, limit: float) -> float:
    since = time.monotonic()
    await client.receive_all(limit + SWEEP + JITTER)
    return time.monotonic() - since


async def _crowd(
    attack: Callable[..., Awaitable[None]], kinds: Sequence[tuple[bytes, ...]], count: int
) -> None:
    """`count` attackers at the same time, of all kinds."""
    async with asyncio.TaskGroup() as group:
        for kind in islice(cycle(kinds), count):
            group.create_task(attack(*kind))  # type: ignore[arg-type]


def _told(times: Sequence[float], what: str) -> str:
    return f"{len(times)} got {what} after {min(times):.1f} to {max(times):.1f}s"


# -- readers


async def stopped_readers(target: Target, scale: Scale) -> str:
    """Ask for a stream of 1 GiB, or for many answers, and read nothing, or read a little and stop."""
    before = target.sockets()

    async def attack(number: int) -> None:
        client = await Client.connect(target, receive_buffer=4096 if number % 2 else 0)
        held.append(client)
        await client.send(head("GET", f"/stream/{scale.pieces}"))
        if number % 3 == 0:
            await client.receive(1000)

    held: list[Client] = []
    async with asyncio.TaskGroup() as group:
        for number in range(scale.readers):
            group.create_task(attack(number))
    # Those of the honest clients come and go; `before` may have counted some.
    most = before + scale.readers - CLIENTS
    await until(lambda: target.sockets() >= most, 5, "the server has closed some at once")
    limit = scale.write_timeout + 2 * SWEEP + JITTER
    # The honest clients beside have some connections more at times.
    took = await until(lambda: target.sockets() <= before + CLIENTS, 3 * limit, "some are still open")
    expect(took <= limit, f"the last of them was cut off after {took:.1f}s only")
    return f"{scale.readers} cut off, the last after {took:.1f}s"


async def fast_readers(target: Target, scale: Scale) -> str:
    """Read streams as fast as they come."""
    sizes = []

    async def attack() -> None:
        client = await Client.connect(target)
        await client.send(head("GET", f"/stream/{scale.pieces}", "Connection: close"))
        size = 0
        while piece := await client.receive(1 << 20):
            size += len(piece)
        sizes.append(size)

    began = time.monotonic()
    await gather([attack] * 4, 4)
    took = time.monotonic() - began
    expect(min(sizes) > scale.pieces * 65536, f"a stream broke off after {min(sizes)} bytes")
    return f"4 got their {scale.pieces >> 4:,} MiB, {sum(sizes) / took / 1e6:,.0f} MB/s in all"
