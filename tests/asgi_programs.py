"""ASGI messages and a Starlette program for the tests of the bridge."""

import contextlib

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(content: bytes = b"", more: bool = False) -> dict:
    return {"type": "http.response.body", "body": content, "more_body": more}


def starlette_app() -> Starlette:
    async def hello(request):
        return PlainTextResponse(f"hello {request.query_params.get('name', 'world')}")

    async def echo(request):
        return JSONResponse({"content": (await request.body()).decode(), "state": request.state.word})

    async def stream(request):
        async def numbers():
            for n in range(3):
                yield f"{n};"

        return StreamingResponse(numbers())

    async def upload(request):
        size = 0
        async for piece in request.stream():
            size += len(piece)
        return PlainTextResponse(str(size))

    async def later(request):
        return PlainTextResponse("now", background=BackgroundTask(request.state.log.append, "later"))

    async def broken(request):
        raise ZeroDivisionError

    async def layer(request, call_next):
        response = await call_next(request)
        response.headers["x-layer"] = "1"
        return response

    @contextlib.asynccontextmanager
    async def lifespan(app):
        log = []
        yield {"word": "kept", "log": log}
        log.append("end")

    routes = [
        Route("/hello", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/stream", stream),
        Route("/upload", upload, methods=["POST"]),
        Route("/later", later),
        Route("/broken", broken),
        Mount("/in", routes=[Route("/hello", hello, name="inner")]),
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(BaseHTTPMiddleware, layer)])
