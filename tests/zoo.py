"""An application with one route for each thing that a wire could get wrong."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pydantic

from weebill import (
    App,
    HTMLResponse,
    PlainTextResponse,
    Request,
    Response,
    Router,
    StreamingResponse,
    abort,
    redirect,
    render_template,
)

TEMPLATE = "<p>Hello {{ name }}, from {{ request.path }}</p><a href='{{ url_for('user', name=name) }}'>me</a>"

user_of_hook: contextvars.ContextVar[str] = contextvars.ContextVar("user_of_hook", default="nobody")


@dataclass
class Point:
    x: int
    y: int


class Bird(msgspec.Struct):
    name: str
    grams: float


class Nest(pydantic.BaseModel):
    eggs: int
    id: UUID


class Markup:
    def __html__(self) -> str:
        return "<b>bold</b>"


class Trouble(Exception):
    pass


class DeepTrouble(Trouble):
    pass


def make_app(folder: Path) -> App:
    """The zoo. `folder` gets its templates and its static files."""
    (folder / "templates").mkdir()
    (folder / "templates" / "page.html").write_text(TEMPLATE, encoding="utf-8")
    _fill(folder / "files")
    (folder / "secret.txt").write_text("secret", encoding="utf-8")

    app = App(templates=folder / "templates")
    _returns(app)
    _parameters(app)
    _content(app)
    _streams(app)
    _errors(app)
    _threads(app)
    app.include(_hooks(), prefix="/in")
    app.static("/files", folder / "files")
    app.mount("/inner", _inner())
    app.mount("/asgi", asgi_echo)
    app.mount("/wsgi", wsgi_echo)
    return app


def _fill(files: Path) -> None:
    (files / "sub").mkdir(parents=True)
    (files / "plain.txt").write_text("plain", encoding="utf-8")
    (files / "big.bin").write_bytes(bytes(range(256)) * 4096)
    (files / "sub" / "index.html").write_text("<h1>sub</h1>", encoding="utf-8")
    (files / "with space & ä.txt").write_text("odd", encoding="utf-8")
    (files / ".hidden").write_text("hidden", encoding="utf-8")
    (files / "way-out.txt").symlink_to("../secret.txt")


def _returns(app: App) -> None:
    values: dict[str, Any] = {
        "text": "grüße",
        "markup": Markup(),
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"ab"),
        "dict": {"a": [1, None, "ü"]},
        "list": [1, 2],
        "dataclass": Point(1, 2),
        "struct": Bird("weebill", 5.5),
        "pydantic": Nest(eggs=3, id=UUID(int=7)),
        "none": None,
        "pair": ("made", 201),
        "triple": ({"made": True}, 201, {"x-made": "yes"}),
        "typed": ("a,b\n", 200, {"Content-Type": "text/csv"}),
        "response": PlainTextResponse("as it is", 202, {"x-kind": "plain"}),
        "html": HTMLResponse("<i>page</i>"),
        "number": 42,
        "set": {1},
        "long-tuple": ("a", 200, {}, "more"),
    }

    @app.get("/returns/{kind}")
    async def returns(kind: str) -> Any:
        return values[kind]

    @app.get("/returns-in-thread/{kind}")
    def returns_in_thread(kind: str) -> Any:
        return values[kind]

    @app.get("/returns/stream")
    async def returns_stream() -> Any:
        return (piece for piece in ("a", "b")), 201, {"x-kind": "stream"}

    @app.get("/template")
    def template() -> Any:
        return render_template("page.html", name="<Ann>")


def _parameters(app: App) -> None:
    @app.get("/user/{name}")
    def user(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/typed/{a:int}/{b:float}/{c:uuid}")
    async def typed(a: int, b: float, c: UUID) -> list[str]:
        return [f"{type(value).__name__} {value}" for value in (a, b, c)]

    @app.get("/rest/{rest:path}")
    async def rest(rest: str, request: Request) -> list[str]:
        return [rest, request.path]

    @app.get("/v{version:int}/page-{name}.html")
    async def around(version: int, name: str) -> list[Any]:
        return [version, name]

    @app.route("/both", methods=["GET", "POST"])
    async def both(request: Request) -> str:
        return request.method

    @app.put("/both")
    def put_both() -> str:
        return "put"

    @app.get("/slash/")
    async def slash() -> str:
        return "slash"

    @app.get("/links")
    async def links() -> list[str]:
        return [
            app.url_for("user", name="a b/ü"),
            app.url_for("typed", a=-1, b=2.5, c=UUID(int=1)),
            app.url_for("rest", rest="x/y"),
            app.url_for("both", page=2, tag=["a", "b"], none=None),
            app.url_for("static", file="plain.txt"),
            app.url_for("of_router", n=5),
        ]


def _content(app: App) -> None:
    @app.get("/request")
    async def request_(request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "target": request.target,
            "path": request.path,
            "query": request.query.multi_items(),
            "cookies": request.cookies,
            "x-list": request.headers.getlist("x-list"),
            "x-joined": request.headers.get("X-LIST"),
            "http_version": request.http_version,
            "scheme": request.scheme,
            "url": request.url,
            "client": request.client is not None,
        }

    @app.get("/cookie/{value}")
    async def cookie(value: str) -> Response:
        response = PlainTextResponse("set")
        response.headers.add("set-cookie", f"flavour={value}; Path=/")
        response.headers.add("set-cookie", "other=1; Path=/request")
        return response

    def digest(content: bytes) -> dict[str, Any]:
        return {"size": len(content), "sha": hashlib.sha256(content).hexdigest()}

    @app.post("/body")
    async def body(request: Request) -> dict[str, Any]:
        return digest(request.body)

    @app.post("/body-in-thread")
    def body_in_thread(request: Request) -> dict[str, Any]:
        return digest(request.body)

    @app.post("/json")
    async def json_(request: Request) -> Any:
        return {"got": request.json()}

    @app.post("/text")
    async def text(request: Request) -> str:
        return request.text.upper()

    @app.post("/limited", max_body=1000)
    async def limited(request: Request) -> dict[str, Any]:
        return digest(request.body)

    @app.post("/upload", stream=True)
    async def upload(request: Request) -> dict[str, Any]:
        content = b""
        async for piece in request.stream():
            assert piece
            content += piece
        return digest(content)

    @app.post("/limited-upload", stream=True, max_body=100_000)
    async def limited_upload(request: Request) -> dict[str, Any]:
        return {"size": sum([len(piece) async for piece in request.stream()])}

    @app.post("/unread", stream=True)
    async def unread() -> str:
        return "not read"


def _streams(app: App) -> None:
    @app.get("/stream/def")
    def stream_def() -> Iterator[str]:
        for number in range(5):
            yield f"{number} "

    @app.get("/stream/async")
    async def stream_async() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0)
            yield b"%d " % number

    @app.get("/stream/response")
    def stream_response() -> Response:
        return StreamingResponse((str(n) for n in range(3)), 203, {"x-kind": "lines"}, "text/lines")

    @app.get("/stream/empty")
    async def stream_empty() -> AsyncIterator[str]:
        for piece in ():
            yield piece

    @app.get("/stream/big")
    def stream_big() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    @app.get("/stream/raises-first-async")
    async def raises_first_async() -> AsyncIterator[str]:
        raise Trouble("before the first piece")
        yield ""

    @app.get("/stream/raises-first")
    def raises_first() -> Iterator[str]:
        raise ValueError("before the first piece")
        yield ""

    @app.get("/stream/aborts-first")
    def aborts_first() -> Iterator[str]:
        abort(409, "not now")
        yield ""

    @app.get("/stream/raises-later")
    def raises_later() -> Iterator[str]:
        yield "some"
        raise ValueError("after the first piece")

    @app.get("/stream/raises-later-async")
    async def raises_later_async() -> AsyncIterator[str]:
        yield "some"
        raise ValueError("after the first piece")

    @app.get("/stream/number")
    def stream_number() -> Iterator[Any]:
        yield 42


def _errors(app: App) -> None:
    @app.get("/abort/{status:int}")
    def abort_(status: int) -> None:
        abort(status, "as you wish", {"x-why": "asked"})

    @app.get("/crash")
    async def crash() -> None:
        raise ZeroDivisionError("a detail for the log only")

    @app.get("/crash-in-thread")
    def crash_in_thread() -> None:
        raise ZeroDivisionError("a detail for the log only")

    @app.get("/trouble")
    def trouble() -> None:
        raise DeepTrouble("deep")

    @app.errorhandler(Trouble)
    def on_trouble(error: Trouble) -> tuple[str, int]:
        return f"trouble: {error}", 409

    @app.errorhandler(418)
    async def on_teapot(request: Request, error: Exception) -> dict[str, str]:
        return {"teapot": request.path}

    @app.get("/redirect")
    def redirect_() -> Response:
        return redirect("/user/ann?x=1&y=ü")

    @app.post("/redirect")
    def redirect_post() -> Response:
        return redirect("/request", 303)

    @app.get("/bad-field")
    async def bad_field() -> Response:
        response = PlainTextResponse("x")
        response.raw_headers.append((b"x-bad", b"a\r\nset-cookie: b"))
        return response

    @app.get("/bad-length")
    async def bad_length() -> Response:
        return PlainTextResponse("four", headers={"content-length": "5"})

    @app.get("/short-stream")
    async def short_stream() -> Response:
        return StreamingResponse(iter(["four"]), headers={"content-length": "5"})

    @app.get("/long-stream")
    async def long_stream() -> Response:
        return StreamingResponse(iter(["four", "more"]), headers={"content-length": "5"})


def _threads(app: App) -> None:
    @app.before_request
    async def sets_a_variable(request: Request) -> None:
        user_of_hook.set(request.headers.get("x-user", "nobody"))

    @app.get("/where/def")
    def where_def() -> list[str]:
        return [threading.current_thread().name, user_of_hook.get()]

    @app.get("/where/async")
    async def where_async() -> list[str]:
        return [threading.current_thread().name, user_of_hook.get()]

    @app.get("/where/stream")
    def where_stream() -> Iterator[str]:
        yield threading.current_thread().name
        yield f" {user_of_hook.get()}"


def trail(request: Request, step: str) -> None:
    """Note the step that a request has passed."""
    request.state.trail = [*getattr(request.state, "trail", ()), step]


def _hooks() -> Router:
    """Two routers, one in the other, with hooks of both kinds and middleware; the trail is in a field."""
    outer, inner = Router("/outer"), Router("/inner")

    @outer.before_request
    def outer_before(request: Request) -> str | None:
        trail(request, "outer-before")
        return "short cut" if "stop" in request.query else None

    @outer.before_request
    async def outer_before_async(request: Request) -> None:
        trail(request, "outer-before-async")

    @outer.after_request
    def outer_after(response: Response, request: Request) -> None:
        trail(request, "outer-after")
        response.headers["x-trail"] = " ".join(request.state.trail)

    @outer.middleware
    async def outer_middleware(request: Request, call_next: Any) -> Response:
        trail(request, "outer-middleware")
        response: Response = await call_next(request)
        response.headers["x-outer"] = str(response.status_code)
        return response

    @outer.middleware
    async def second_middleware(request: Request, call_next: Any) -> Response:
        trail(request, "second-middleware")
        if "guard" in request.query:
            abort(401)
        return await call_next(request)

    @inner.before_request
    async def inner_before(request: Request) -> None:
        trail(request, "inner-before")

    @inner.after_request
    async def inner_after(request: Request, response: Response) -> Response | None:
        trail(request, "inner-after")
        return PlainTextResponse("replaced") if "replace" in request.query else None

    @inner.middleware
    async def inner_middleware(request: Request, call_next: Any) -> Response:
        trail(request, "inner-middleware")
        return await call_next(request)

    @inner.errorhandler(404)
    def not_in_inner(error: Exception) -> str:
        return "not in the inner router"

    outer.include(inner, prefix="/more")

    @outer.get("")
    def of_outer(request: Request) -> str:
        trail(request, "handler")
        return "outer"

    @inner.get("/{n:int}")
    async def of_router(request: Request, n: int) -> str:
        trail(request, "handler")
        if n == 404:
            abort(404)
        if n == 500:
            raise ZeroDivisionError
        return f"inner {n}"

    return outer


def _inner() -> App:
    app = App(redirect_slashes=True)

    @app.get("/")
    def root(request: Request) -> list[str]:
        return [request.path, request.root_path, request.url.partition("/inner")[2]]

    @app.get("/item/{name}")
    async def item(request: Request, name: str) -> list[str]:
        return [name, request.path, app.url_for("item", name=name)]

    @app.get("/with/")
    def with_slash() -> str:
        return "with"

    @app.get("/without")
    def without_slash() -> str:
        return "without"

    @app.post("/echo", max_body=100)
    def echo(request: Request) -> bytes:
        return request.body

    @app.after_request
    def stamp(response: Response) -> None:
        response.headers["x-app"] = "inner"

    @app.errorhandler(404)
    def lost(request: Request, error: Exception) -> str:
        return f"lost at {request.path}"

    return app


async def asgi_echo(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application of its own: shows what it got."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    content = b""
    more = True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    seen = [
        scope["method"],
        scope["root_path"],
        scope["path"],
        scope["query_string"].decode(),
        content.decode(),
    ]
    await send({"type": "http.response.start", "status": 203, "headers": [(b"x-app", b"asgi")]})
    await send({"type": "http.response.body", "body": "|".join(seen).encode()})


def wsgi_echo(environ: Any, start_response: Any) -> list[bytes]:
    """A WSGI application of its own: shows what it got."""
    seen = [environ[name] for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")]
    seen.append(environ["wsgi.input"].read().decode())
    start_response("203 Fine", [("X-App", "wsgi"), ("Content-Type", "text/plain")])
    return ["|".join(seen).encode()]
