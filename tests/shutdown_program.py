"""A server in a process of its own, to be stopped: `python -m shutdown_program LOOP GRACEFUL_TIMEOUT`."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

from weebill import App, Request
from weebill.server.worker import serve
from weebill.settings import Settings

app = App(__name__)


@app.get("/work")
async def work(request: Request) -> str:
    await asyncio.sleep(int(request.query["ms"]) / 1000)
    return "x" * 5000


@app.get("/block")
def block(request: Request) -> str:
    time.sleep(int(request.query["ms"]) / 1000)
    return "x" * 5000


@app.get("/stream")
async def stream(request: Request):  # type: ignore[no-untyped-def]
    for _ in range(5):
        await asyncio.sleep(int(request.query["ms"]) / 5000)
        yield "x" * 1000


@app.get("/endless")
async def endless(request: Request):  # type: ignore[no-untyped-def]
    yield "begun"
    await request.stopping.wait()
    yield "ended"


@app.get("/deaf")
async def deaf():  # type: ignore[no-untyped-def]
    yield "begun"
    await asyncio.Event().wait()


@app.get("/interrupt")
async def interrupt() -> str:
    raise KeyboardInterrupt


@app.post("/upload")
def upload(request: Request) -> str:
    return f"{len(request.body)} bytes"


@app.get("/stubborn")
async def stubborn():  # type: ignore[no-untyped-def]
    yield "begun"
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


@app.on_shutdown
async def shutdown() -> None:
    print("the application has shut down", file=sys.stderr, flush=True)
    if "stuck" in sys.argv:
        await asyncio.Event().wait()


if __name__ == "__main__":
    settings = Settings(port=0, loop=sys.argv[1], graceful_timeout=float(sys.argv[2]), max_pipelined=1000)
    sys.exit(serve(app, settings))
