"""The program under attack: a route for each way in which a server can be hurt.

It is run by `weebill run`, in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator

from weebill import App, Request
from weebill.server.http1 import HTTP1Connection
from weebill.server.http1_exchange import HTTP1Exchange

app = App(__name__)

PIECE = b"*" * 65536
BIG = 3 << 30


@app.get("/")
async def plain() -> str:
    return "Hello, world!"


@app.get("/def")
def in_a_thread() -> str:
    return "Hello, thread!"


@app.get("/wait")
def wait() -> str:
    """Holds a thread up."""
    time.sleep(0.2)
    return "Hello at last!"


@app.get("/user/{name}")
async def user(request: Request, name: str) -> str:
    return f"{request.query.get('greeting', 'Hello')}, {name}!"


@app.get("/json")
async def json() -> dict[str, object]:
    return {"name": "Weebill", "grams": 6.0, "places": ["mallee", "woodland"]}


@app.post("/echo")
async def echo(request: Request) -> bytes:
    return request.body


@app.get("/stream/{pieces:int}")
async def stream(pieces: int) -> AsyncIterator[bytes]:
    """So many pieces of 64 KiB: 16,384 are 1 GiB."""
    for _ in range(pieces):
        yield PIECE


@app.get("/events")
async def events(request: Request) -> AsyncIterator[str]:
    """An event every tenth of a second, for as long as somebody listens."""
    number = 0
    while not request.stopping.is_set():
        yield f"data: {number}\n\n"
        number += 1
        await asyncio.sleep(0.1)


async def size_of_content(request: Request) -> str:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return str(size)


@app.post("/upload", stream=True, max_body=BIG)
async def upload(request: Request) -> str:
    """Reads the content as it comes."""
    return await size_of_content(request)


@app.post("/spool", max_body=BIG)
async def spool(request: Request) -> str:
    """Reads it when it has come, from its file."""
    return await size_of_content(request)


@app.post("/form", stream=True, max_body=BIG)
async def form(request: Request) -> str:
    """Reads a form as it comes; how long are its files?"""
    sent = await request.load_form()
    return str(sum(upload.size for _, upload in sent.files.multi_items()))


@app.get("/left")
async def left() -> dict[str, int]:
    """What is alive in this process, this request included. It holds the loop up: not to be asked for while
    anybody's time is measured."""
    gc.collect()
    found = gc.get_objects()
    return {
        "tasks": len(asyncio.all_tasks()),
        "connections": sum(isinstance(thing, HTTP1Connection) for thing in found),
        "exchanges": sum(isinstance(thing, HTTP1Exchange) for thing in found),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
