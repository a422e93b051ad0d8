import os
from collections.abc import AsyncIterator

import answers
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello, world!")


async def user(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Hello, {request.path_params['name']}!")


def sync(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello, world!")


async def json(request: Request) -> JSONResponse:
    return JSONResponse(answers.BIRD)


async def rows(request: Request) -> JSONResponse:
    return JSONResponse(answers.rows())


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def upload(request: Request) -> JSONResponse:
    async with request.form() as form:
        file = form["file"]
        assert isinstance(file, UploadFile)
        return JSONResponse({"size": file.size})


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield answers.CHUNK


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(pieces(), media_type="application/octet-stream")


class Agent:
    """Keeps a header of the request, as a hook before it does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        agent = None
        for name, value in scope["headers"]:
            if name == b"user-agent":
                agent = value.decode("latin-1")
        scope.setdefault("state", {})["agent"] = agent
        await self.app(scope, receive, send)


class Adding:
    """Adds a header to the answer."""

    def __init__(self, app: ASGIApp, name: bytes) -> None:
        self.app = app
        self.field = (name, b"weebill")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append(self.field)
            await send(message)

        await self.app(scope, receive, add)


FIVE = [
    Middleware(Agent),
    *(Middleware(Adding, name) for name in (b"x-after", b"x-one", b"x-two", b"x-three")),
]

app = Starlette(
    routes=[
        Route("/", plain),
        Route("/user/{name}", user),
        Route("/def", sync),
        Route("/json", json),
        Route("/rows", rows),
        Route("/echo", echo, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/stream", stream),
        Route("/hooks/", plain, middleware=FIVE),
        Mount("/static", StaticFiles(directory=os.environ["BENCH_FILES"])),
    ]
)
