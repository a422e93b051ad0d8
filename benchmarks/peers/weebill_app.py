import os
from collections.abc import AsyncIterator, Awaitable, Callable

import answers
from msgspec import Struct

from weebill import App, Request, Response, Router, StreamingResponse, UploadFile

CallNext = Callable[[Request], Awaitable[Response]]
Middleware = Callable[[Request, CallNext], Awaitable[Response]]

app = App(__name__)
app.static("/static", os.environ["BENCH_FILES"])


@app.get("/")
async def plain() -> str:
    return "Hello, world!"


@app.get("/user/{name}")
async def user(name: str) -> str:
    return f"Hello, {name}!"


@app.get("/def")
def sync() -> str:
    return "Hello, world!"


@app.get("/json")
async def json() -> dict[str, object]:
    return answers.BIRD


@app.get("/rows")
async def rows() -> list[dict[str, object]]:
    return answers.rows()


class Bird(Struct):
    id: int
    name: str
    grams: float
    heard: bool
    places: list[str]


class Sighting(Struct):
    site: str
    birds: list[Bird]
    note: str = ""


@app.post("/birds")
async def birds(sighting: Sighting) -> dict[str, int]:
    return {"sum": sum(bird.id for bird in sighting.birds)}


@app.post("/echo")
async def echo(request: Request) -> bytes:
    return request.body


@app.post("/upload", max_body="20MiB")
async def upload(file: UploadFile) -> dict[str, int]:
    return {"size": file.size}


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield answers.CHUNK


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(pieces(), media_type="application/octet-stream")


hooked = Router("/hooks")


@hooked.before_request
async def before(request: Request) -> None:
    request.state.agent = request.headers.get("user-agent")


@hooked.after_request
async def after(request: Request, response: Response) -> Response:
    response.headers["X-After"] = "weebill"
    return response


def adding(name: str) -> Middleware:
    async def add(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers[name] = "weebill"
        return response

    return add


for name in ("X-One", "X-Two", "X-Three"):
    hooked.middleware(adding(name))


@hooked.get("/")
async def behind() -> str:
    return "Hello, world!"


app.include(hooked)
