"""Too much of everything: connections, garbage, heads, chunks, requests."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from clients import LINGER, Client, Scale, expect, gather, head
from watch import Target

RATE = 5000  # connections a second
AT_ONCE = 20  # clients that flood


async def _keep_on(attack: Callable[[], Awaitable[None]], seconds: float, at_once: int = AT_ONCE) -> int:
    """Do `attack` over and over in `at_once` clients; return how often."""
    end = time.monotonic() + seconds
    count = 0

    async def work() -> None:
        nonlocal count
        while time.monotonic() < end:
            await attack()
            count += 1

    await gather([work] * at_once, at_once)
    return count


# -- connections


async def connections(target: Target, scale: Scale) -> str:
    """Connect and go, without a word: by a FIN, by a RST."""
    began = time.monotonic()
    count = 0
    while (elapsed := time.monotonic() - began) < scale.seconds:
        # At a steady rate: more of them than it can accept would fill the kernel's queue, and then it is the
        # kernel that keeps the honest client out.
        if count > elapsed * RATE:
            await asyncio.sleep(0.001)
            continue
        client = await Client.connect(target)
        client.reset() if count % 2 else client.close()
        count += 1
    return f"{count:,} connected, {count / elapsed:,.0f} a second"


# -- bytes


HELLO_OF_TLS = bytes.fromhex("16030100c4010000c00303") + bytes(range(180))
PREFACE_OF_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


async def garbage(target: Target, scale: Scale) -> str:
    """What is no HTTP: random bytes, other protocols, words in place of a request."""
    noise = random.Random(7).randbytes(1 << 20)
    beginnings = (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", head("POST", "/echo")[:-2])
    chunked = head("POST", "/echo", "Transfer-Encoding: chunked")
    answers: Counter[str] = Counter()

    async def attack() -> None:
        at = random.randrange(len(noise) - 4096)
        kinds = [first + noise[at : at + 4096] + b"\r\n\r\n" for first in (*beginnings, chunked)]
        data = random.choice([*kinds, HELLO_OF_TLS, PREFACE_OF_HTTP2, b"HELO attacked\r\n", b"\0" * 70000])
        client = await Client.connect(target)
        await client.send(data)
        client.shut()
        answer = await client.receive_all(5)
        client.close()
        status = answer[9:12].decode("latin-1") or "none"
        expect(answer[:9] in (b"HTTP/1.1 ", b""), f"garbage was answered {answer[:60]!r}")
        expect(status in ("none", "400", "405", "413", "414", "431", "501", "505"), f"answered {status}")
        answers[status] += 1

    count = await _keep_on(attack, scale.seconds)
    return f"{count:,} answered: {_told(answers)}"


async def endless(target: Target, scale: Scale) -> str:
    """Bytes that never make a head, from clients that go on whatever they are told, until they are reset."""
    junk = os.urandom(1 << 16)
    beginnings = {
        "request line": (b"GET /", b"a" * 65536),
        "field": (b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ", b"a" * 65536),
        "fields": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-Many: 1\r\n" * 6000),
        "empty lines": (b"", b"\r\n" * 30000),
        "garbage": (b"", junk),
        "chunk size": (head("POST", "/echo", "Transfer-Encoding: chunked"), b"0" * 65536),
    }
    times: list[float] = []

    async def attack(first: bytes, more: bytes) -> None:
        client = await Client.connect(target)
        await client.send(first)
        # A little at a time, for most attackers come through a network.
        reset = await client.drip(more, 0.02, scale.stubborn)
        expect(reset or scale.stubborn < LINGER, "one that never stops is still listened to")
        times.append(time.monotonic() - client.began)

    await gather([partial(attack, *kind) for kind in beginnings.values()], len(beginnings))
    return f"{len(times)} reset after {min(times):.1f} to {max(times):.1f}s, or left"


async def heads(target: Target, scale: Scale) -> str:
    """Heads beyond every limit, and those just below, as fast as they go."""
    bombs = {
        b"414": [b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"],
        b"431": [
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * (1 << 20) + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Many: 1\r\n" * 90000 + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A:\r\n" * 101 + b"\r\n",
        ],
        b"200": [
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 64000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Many: %s\r\n" % (b"a" * 500) * 98 + b"\r\n",
        ],
    }
    answers: Counter[str] = Counter()

    async def attack() -> None:
        status = random.choice(list(bombs))
        client = await Client.connect(target)
        await client.send(random.choice(bombs[status]))
        client.shut()
        answer = await client.receive_all(5)
        client.close()
        expect(answer.startswith(b"HTTP/1.1 " + status), f"instead of {status!r}: {answer[:60]!r}")
        answers[status.decode()] += 1

    count = await _keep_on(attack, scale.seconds)
    return f"{count:,} answered: {_told(answers)}"


def _told(answers: Counter[str]) -> str:
    return ", ".join(f"{status} {count:,}" for status, count in sorted(answers.items()))


# -- chunks


COST = 0.2  # seconds of CPU that one bomb may cost


async def chunks(target: Target, scale: Scale) -> str:
    """Chunked content that costs much to read: each bomb by itself for its CPU time, then many."""
    begin = head("POST", "/echo", "Transfer-Encoding: chunked")
    streamed = head("POST", "/upload", "Transfer-Encoding: chunked")
    tiny, much = b"1\r\na\r\n" * 20000 + b"0\r\n\r\n", b"a" * (1 << 20)
    bombs = [
        (begin + b"5;" + much + b"\r\n01234\r\n0\r\n\r\n", b"400"),
        (begin + tiny, b"200"),
        (streamed + tiny, b"200"),
        (begin + b"1;" + b"b" * 250 + b"\r\na\r\n" + (b"1;" + b"b" * 250 + b"\r\na\r\n") * 4000, b"400"),
        (begin + b"0\r\nX-Long: " + much + b"\r\n\r\n", b"431"),
        (begin + b"0\r\n" + b"X-Many: 1\r\n" * 90000 + b"\r\n", b"431"),
        (begin + b"0" * 100000 + b"\r\n\r\n", b"400"),
        (begin + b"f" * 100000 + b"\r\n\r\n", b"400"),
    ]

    return await _each_by_itself(target, scale, bombs)


async def forms(target: Target, scale: Scale) -> str:
    """The same of forms, to a route that reads them as they come."""
    bombs = []
    part = b'--film\r\nContent-Disposition: form-data; name="a"'
    file, much = part + b"; filename=a\r\n\r\n", 1 << 20
    for content, status in [
        ((part + b"\r\n\r\n\r\n") * 100_000 + b"--film--", b"413"),
        (b"\r" * much + b"\r\n--film--", b"400"),
        (file + b"\r" * much + b"\r\n--film--", b"200"),
        (file + b"\r\n--fil" * (much // 7) + b"\r\n--film--", b"200"),
        (part + b"\r\nX: " + b"a" * much, b"413"),
        (part + b"\r\nX: a" * (much // 6), b"413"),
        (file + b"a" * 4 * much, b"400"),
    ]:
        kind = "Content-Type: multipart/form-data; boundary=film"
        bombs.append((head("POST", "/form", kind, f"Content-Length: {len(content)}") + content, status))
    return await _each_by_itself(target, scale, bombs)


async def _each_by_itself(target: Target, scale: Scale, bombs: list[tuple[bytes, bytes]]) -> str:
    async def attack(bomb: bytes, status: bytes) -> None:
        client = await Client.connect(target)
        await client.send(bomb)
        client.shut()
        answer = await client.receive_all(10)
        client.close()
        expect(answer.startswith(b"HTTP/1.1 " + status), f"{bomb[90:99]!r}... was answered {answer[:60]!r}")

    costs = []
    for bomb, status in bombs:
        before = target.cpu()
        await attack(bomb, status)
        costs.append(target.cpu() - before)
    expect(max(costs) < COST, f"one took {max(costs):.2f}s of CPU")
    count = await _keep_on(lambda: attack(*random.choice(bombs)), scale.seconds, 5)
    return f"at most {max(costs):.2f}s of CPU each; {count:,} refused or answered"


# -- requests


async def pipelines(target: Target, scale: Scale) -> str:
    """Pipelined requests without end, whose answers nobody reads."""
    requests = head("GET", "/") * 100
    cut: list[tuple[float, int]] = []

    async def attack() -> None:
        client = await Client.connect(target, receive_buffer=65536)
        sent = 0
        while await client.send(requests):
            sent += 100
        cut.append((time.monotonic() - client.began, sent))

    async with asyncio.timeout(4 * scale.write_timeout + 20):
        await gather([attack] * (scale.readers // 10), scale.readers)
    times, counts = zip(*cut, strict=True)
    return f"{len(cut)} cut off after {min(times):.1f} to {max(times):.1f}s and {sum(counts):,} requests"


async def read_pipelines(target: Target, scale: Scale) -> str:
    """The same, read to the end: each is answered, in order."""
    count = scale.pipelined // AT_ONCE

    async def attack() -> None:
        client = await Client.connect(target)
        sending = asyncio.create_task(_send_numbered(client, count))
        answers = b""
        number = 0
        while number < count:
            piece = await client.receive()
            expect(piece, f"the connection ended after {number:,} answers")
            answers += piece
            *whole, answers = answers.split(b"\r\n\r\nHello, ")
            if not whole:
                continue
            for answer in whole[1:]:
                expect(answer.startswith(b"%d!" % number), f"{answer[:20]!r} came as answer {number}")
                number += 1
            answers = b"\r\n\r\nHello, " + answers
            if answers.endswith(b"%d!" % number) and number == count - 1:
                number += 1
        await sending
        client.close()

    began = time.monotonic()
    await gather([attack] * AT_ONCE, AT_ONCE)
    return f"{count * AT_ONCE:,} answered, {count * AT_ONCE / (time.monotonic() - began):,.0f} a second"


async def _send_numbered(client: Client, count: int) -> None:
    for start in range(0, count, 50):
        data = b"".join(head("GET", f"/user/{n}") for n in range(start, min(start + 50, count)))
        await client.send(data)


async def threads(target: Target, scale: Scale) -> str:
    """More calls of a `def` handler that takes its time than there are threads: each is answered, or
    refused at once."""
    answers: Counter[str] = Counter()

    async def attack() -> None:
        client = await Client.connect(target)
        await client.send(head("GET", "/wait", "Connection: close"))
        answer = await client.receive_all(20)
        client.close()
        status = answer[9:12].decode("latin-1")
        expect(status in ("200", "503"), f"answered {answer[:60]!r}")
        expect(status == "200" or b"retry-after: " in answer.lower(), f"no Retry-After in {answer!r}")
        answers[status] += 1

    await _keep_on(attack, scale.seconds, 200)
    expect(answers["200"] and answers["503"], f"answered only {dict(answers)}")
    return f"answered: {_told(answers)}"
