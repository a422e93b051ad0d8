"""A tour of Weebill: one route for each thing that a program needs first.

Start it with `scripts/run`, or `weebill dev examples/tour/app.py`, and open http://127.0.0.1:8000.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Annotated

from weebill import App, Event, Form, Meta, Request, Response, UploadFile, abort, redirect, render_template

app = App(__name__, templates="templates")
app.static("/static", "static")


@dataclass
class Bird:
    """A value like any other: JSON as an answer, and checked when a client sends it."""

    name: Annotated[str, Meta(min_length=1)]
    grams: Annotated[float, Meta(gt=0)]
    heard: str = "nothing"


BIRDS = [
    Bird("Weebill", 6.0, "wee-bill, wee-bill"),
    Bird("Superb fairywren", 10.0, "a falling trill"),
    Bird("Laughing kookaburra", 350.0, "koo-koo-koo, kaa-kaa-kaa"),
]


@app.get("/")
async def index(request: Request) -> str:
    """A page from a template; what is put into it is escaped."""
    return render_template("index.html", birds=BIRDS, client=request.client)


@app.get("/hello")
async def hello() -> str:
    """Text is text/plain."""
    return "Hello from a small bird.\n"


@app.get("/hello/{name}")
async def hello_name(name: str) -> str:
    """A parameter is a piece of the path, decoded."""
    return f"Hello, {name}.\n"


@app.get("/birds")
async def birds(lighter_than: float = 1000) -> list[Bird]:
    """A parameter that is not in the path is the query. Try ?lighter_than=100, and ?lighter_than=heavy."""
    return [bird for bird in BIRDS if bird.grams < lighter_than]


@app.post("/birds")
async def weigh(bird: Bird) -> tuple[dict[str, object], int]:
    """A class with fields is the JSON that a client sends; what does not fit is 422, with every fault."""
    return {"heard of": bird, "lighter": [other.name for other in BIRDS if other.grams < bird.grams]}, 201


@app.get("/birds/{number:int}", name="bird")
async def bird(number: int) -> Bird:
    """A typed parameter: /birds/one is no route at all."""
    if not 1 <= number <= len(BIRDS):
        abort(404, f"There are birds 1 to {len(BIRDS)}.")
    return BIRDS[number - 1]


@app.get("/smallest")
async def smallest() -> Response:
    """Routes know their addresses."""
    return redirect(app.url_for("bird", number=1))


@app.post("/upload", max_body="64MiB")
def upload(note: Annotated[str, Form()], file: UploadFile) -> tuple[dict[str, object], int]:
    """A form with a file. It has come completely when the handler begins; what is large waits on disk."""
    return {"note": note, "name": file.filename, "bytes": file.size, "kind": file.content_type}, 201


@app.post("/count", stream=True, max_body="1GiB")
async def count_bytes(request: Request) -> dict[str, int]:
    """A route that takes the content as it comes, in a few kilobytes of memory."""
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return {"bytes": total}


@app.get("/sleep")
def sleep() -> str:
    """`def` runs in a worker thread, so it may block: everybody else is served meanwhile."""
    time.sleep(1)
    return "Slept for a second, and nobody noticed.\n"


@app.get("/stream")
async def stream(request: Request) -> AsyncIterator[str]:
    """A generator is a stream: each piece is sent when it is there."""
    for number in range(1, 11):
        yield f"{number}: {BIRDS[number % len(BIRDS)].heard}\n"
        if request.stopping.is_set():
            return
        await asyncio.sleep(0.3)


@app.get("/live")
async def live() -> AsyncIterator[Event]:
    """Server-sent events, for as long as the page is open and the server runs."""
    for number in count():
        yield Event(BIRDS[number % len(BIRDS)].heard, id=number)
        await asyncio.sleep(1)


@app.get("/teapot")
async def teapot() -> None:
    """Errors are raised, and answered in the form that the client reads."""
    abort(418)


@app.get("/fault")
async def fault() -> str:
    """A mistake: its traceback is in the log, and in the page only while you develop."""
    return "1" + 1  # type: ignore[operator, no-any-return]


@app.after_request
async def sign(response: Response) -> None:
    """A hook that sees every answer."""
    response.headers["x-tour"] = "weebill"


if __name__ == "__main__":
    app.run()
