"""Middleware in general: where it stands, what it sees of errors, and what it may have around it."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from weebill import (
    App,
    FileResponse,
    HTMLResponse,
    HTTPException,
    PlainTextResponse,
    Request,
    Response,
    Router,
    StreamingResponse,
    abort,
)
from weebill.cors import CORSMiddleware
from weebill.errors import ConfigurationError, SignatureError
from weebill.rate_limit import RateLimitMiddleware
from weebill.security_headers import SecurityHeadersMiddleware
from weebill.testing import TestClient

ORIGIN = "https://example.org"


def naming(name: str) -> Any:
    """A middleware that writes its name behind those inside of it."""

    async def layer(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-way"] = f"{response.headers.get('x-way', '')} {name}".strip()
        return response

    return layer


async def breaks(request: Request, call_next: Any) -> Response:
    if "before" in request.query:
        abort(403, "by the middleware")
    await call_next(request)
    raise ValueError("in the middleware")


# -- of a route


def test_middleware_of_a_route_is_inside_of_the_routers() -> None:
    app, router = App(), Router("/r")
    app.middleware(naming("app"))
    router.middleware(naming("router"))
    router.get("/with", middleware=[naming("first"), naming("second")])(lambda: "with")
    router.get("/without")(lambda: "without")
    app.include(router)
    client = TestClient(app)
    assert client.get("/r/with").headers["x-way"] == "second first router app"
    assert client.get("/r/without").headers["x-way"] == "router app"
    assert client.get("/nowhere").headers["x-way"] == "app"


def test_it_comes_along_when_a_router_is_included_later_or_again() -> None:
    inner, outer = Router("/inner"), Router("/outer")
    outer.include(inner)
    inner.post("/", middleware=[naming("own")])(lambda: "x")
    app = App()
    app.include(outer)
    assert TestClient(app).post("/outer/inner/").headers["x-way"] == "own"


def test_it_sees_what_the_wire_refuses_of_its_route() -> None:
    app = App()
    app.post("/", max_body=1, middleware=[naming("own")])(lambda: "x")
    answer = TestClient(app).post("/", content=b"too long")
    assert (answer.status_code, answer.headers["x-way"]) == (413, "own")


def test_its_startup_and_shutdown_are_called_once() -> None:
    seen: list[Any] = []

    class Life:
        async def __call__(self, request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            return response

        def startup(self, app: App) -> None:
            seen.append(app)

        async def shutdown(self) -> None:
            seen.append("end")

    app, life = App(), Life()
    app.get("/a", middleware=[life])(lambda: "a")
    app.get("/b", middleware=[life])(lambda: "b")
    with TestClient(app) as client:
        assert client.get("/a").text == "a"
        assert seen == [app]
    assert seen == [app, "end"]


@dataclass
class Started:
    """Equal to others of its kind, and not hashable."""

    times: int = 0

    async def __call__(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    def startup(self, app: App) -> None:
        self.times += 1


def test_each_has_a_life_of_its_own_even_if_it_is_a_dataclass() -> None:
    app, both = App(), [Started(), Started()]
    for middleware in (*both, both[0]):
        app.middleware(middleware)
    with TestClient(app):
        assert [middleware.times for middleware in both] == [1, 1]


class Unmade:
    async def __call__(self, request: Request, call_next: Any) -> Response:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("middleware", "sentence"),
    [
        ([Unmade], r"Unmade is a class; write Unmade\(\)"),
        (naming("x"), r"middleware= of '/' is a list; write middleware=\[\.\.\.\]"),
        ([lambda request, call_next: None], r"<lambda> \(.*must be `async def \(request, call_next\)`"),
    ],
)
def test_a_mistake_is_a_sentence_at_registration(middleware: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        App().get("/", middleware=middleware)(lambda: "x")
    if isinstance(middleware, list):
        with pytest.raises(SignatureError, match=sentence):
            App().middleware(middleware[0])


# -- errors


def test_what_a_middleware_raises_is_an_answer_for_those_outside(
    serve: Callable[[App], Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    app.middleware(CORSMiddleware([ORIGIN]))
    app.middleware(naming("outer"))
    app.middleware(breaks)
    app.middleware(naming("inner"))
    app.get("/")(lambda: "fine")
    client = serve(app)
    for target, status, logged in (("/?before", 403, 0), ("/", 500, 1)):
        answer = client.get(target, headers={"origin": ORIGIN})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["x-way"] == "outer"
        assert len([r for r in caplog.records if r.name == "weebill"]) == logged


def test_error_handlers_answer_for_middleware_of_a_route_too() -> None:
    app = App()
    app.errorhandler(ValueError)(lambda error: PlainTextResponse(str(error), 418))
    app.get("/", middleware=[naming("outer"), breaks])(lambda: "fine")
    answer = TestClient(app).get("/")
    assert (answer.status_code, answer.text, answer.headers["x-way"]) == (418, "in the middleware", "outer")


def test_a_middleware_never_has_to_catch_and_cannot_swallow() -> None:
    app, caught = App(), []

    @app.middleware
    async def watch(request: Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except Exception as error:
            caught.append(error)
            return "swallowed"

    app.middleware(breaks)
    app.get("/")(lambda: 1 / 0)
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    assert caught == []


def test_a_500_has_the_fields_of_cors_wherever_it_comes_from(
    serve: Callable[[App], Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    app.middleware(CORSMiddleware([ORIGIN]))

    @app.get("/handler")
    async def handler() -> None:
        raise ValueError

    @app.get("/stream")
    def stream() -> Iterator[str]:
        raise ValueError
        yield ""

    @app.get("/value")
    def value() -> object:
        return object()

    @app.get("/field")
    def field() -> Response:
        response = Response("x", headers={"etag": '"1"', "cache-control": "max-age=99"})
        response.raw_headers.append((b"x-bad", b"a\r\nb: c"))
        return response

    client = serve(app)
    for path in ("/handler", "/stream", "/value", "/field"):
        answer = client.get(path, headers={"origin": ORIGIN})
        assert answer.status_code == 500
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "Accept, Origin"
        assert not {"x-bad", "b", "etag", "cache-control"} & set(answer.headers)
        assert answer.json()["title"] == "Internal Server Error"


def test_a_file_that_is_not_there_keeps_the_fields_of_middleware() -> None:
    app = App()
    app.middleware(naming("app"))
    app.get("/")(lambda: FileResponse("/nonexistent/file"))
    answer = TestClient(app).get("/")
    assert (answer.status_code, answer.headers["x-way"]) == (404, "app")


def test_hooks_and_the_handlers_of_errors_come_before_fields_that_are_kept() -> None:
    app = App()
    app.middleware(naming("app"))
    app.errorhandler(ValueError)(lambda error: Response("x", 500, {"x-way": "handler"}))
    app.after_request(lambda response: response.headers.update({"x-hook": str(response.status_code)}))

    def fails() -> Iterator[str]:
        raise ValueError
        yield ""

    app.get("/")(lambda: StreamingResponse(fails()))
    answer = TestClient(app).get("/")
    assert (answer.headers["x-way"], answer.headers["x-hook"]) == ("handler", "500")


# -- what it shares with the handler


def test_context_variables_go_in_and_come_back() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    app, seen = App(), []

    @app.middleware
    async def outer(request: Request, call_next: Any) -> Response:
        variable.set("from outside")
        response: Response = await call_next(request)
        seen.append(variable.get())
        return response

    @app.get("/")
    async def index() -> str:
        seen.append(variable.get())
        variable.set("from inside")
        return ""

    TestClient(app).get("/")
    assert seen == ["from outside", "from inside"]


def test_an_answer_without_the_handler_leaves_the_handler_alone() -> None:
    app, called = App(), []

    async def closed(request: Request, call_next: Any) -> str:
        return "closed"

    @app.get("/", middleware=[closed])
    async def index() -> None:
        called.append(1)

    assert TestClient(app).get("/").text == "closed"
    assert called == []


def test_middleware_may_wrap_a_stream() -> None:
    async def louder(request: Request, call_next: Any) -> Response:
        response: StreamingResponse = await call_next(request)
        pieces: Any = response.pieces

        async def loud() -> AsyncIterator[str]:
            async for piece in pieces:
                yield piece.upper()

        response.pieces = loud()
        return response

    app = App()

    @app.get("/", middleware=[louder])
    async def index() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert TestClient(app).get("/").text == "AB"


# -- preflights, which no route answers


def test_a_preflight_passes_the_middleware_of_the_route_that_it_asks_for() -> None:
    app, router = App(), Router("/api")
    router.middleware(CORSMiddleware([ORIGIN], allow_methods=["PUT"]))
    router.put("/{name}")(lambda name: name)
    app.include(router)
    app.get("/api/{name}")(lambda name: name)
    app.delete("/own", middleware=[CORSMiddleware([ORIGIN], allow_methods=["DELETE"])])(lambda: "x")
    client = TestClient(app)

    def preflight(path: str, method: str) -> Any:
        return client.options(path, headers={"origin": ORIGIN, "access-control-request-method": method})

    assert preflight("/api/x", "PUT").headers["access-control-allow-methods"] == "PUT"
    assert "access-control-allow-methods" not in preflight("/api/x", "GET").headers
    assert preflight("/own", "DELETE").headers["access-control-allow-methods"] == "DELETE"
    assert preflight("/own", "PATCH").headers["allow"] == "DELETE, OPTIONS"
    assert client.options("/own").headers["allow"] == "DELETE, OPTIONS"


# -- mounted applications


async def foreign(scope: Any, receive: Any, send: Any) -> None:
    headers = [
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"vary", b"Cookie"),
        (b"x-root", scope["root_path"].encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"foreign"})


def test_a_mounted_applications_own_field_wins_and_lists_are_joined() -> None:
    app = App()

    @app.middleware
    async def adds(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update({"x-frame-options": "DENY", "x-more": "yes"})
        response.headers.vary("Origin")
        return response

    app.mount("/foreign", foreign)
    answer = TestClient(app).get("/foreign/")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert (answer.headers["vary"], answer.headers["x-more"]) == ("Cookie, Origin", "yes")


def test_a_failure_before_a_mounted_application_is_an_answer_with_fields() -> None:
    app = App()
    app.middleware(naming("outer"))

    @app.middleware
    async def refuses(request: Request, call_next: Any) -> Response:
        raise HTTPException(401)

    app.mount("/foreign", foreign)
    answer = TestClient(app).get("/foreign/")
    assert (answer.status_code, answer.headers["x-way"]) == (401, "outer")


def test_an_answer_that_is_used_again_has_nothing_of_the_client_before() -> None:
    app, kept = App(), HTMLResponse("the same")
    app.middleware(SecurityHeadersMiddleware(content_security_policy="script-src 'nonce-{nonce}'"))
    app.middleware(CORSMiddleware(allow_origins=["https://a.example"]))
    app.middleware(RateLimitMiddleware("9/s", key=lambda request: request.query.get("key")))

    @app.middleware
    async def cache(request: Request, call_next: Any) -> Response:
        return kept if request.path == "/kept" else await call_next(request)

    @app.after_request
    def greet(request: Request, response: Response) -> None:
        if "origin" in request.headers:
            response.set_cookie("greeted", "yes")

    app.get("/whole")(lambda: kept)
    app.get("/part")(lambda: (kept, 201, {"x-part": "1"}))
    client = TestClient(app)
    for path in ("/whole", "/part", "/kept"):
        first = client.get(f"{path}?key=1", headers={"origin": "https://a.example"})
        second = client.get(path, headers={"origin": "https://b.example"})
        third = client.get("/whole")
        assert first.headers["content-security-policy"] != second.headers["content-security-policy"]
        assert first.headers["access-control-allow-origin"] == "https://a.example"
        assert not {"access-control-allow-origin", "ratelimit"} & set(second.headers)
        assert not {"set-cookie", "x-part"} & set(third.headers)
        assert third.status_code == 200
    assert (kept.status_code, kept.raw_headers) == (200, HTMLResponse("the same").raw_headers)


KEEPING: dict[str, Any] = {
    "the answer": lambda response: response,
    "its fields": lambda response: response.headers,
    "its raw fields": lambda response: response.raw_headers,
    "a weak reference to it": weakref.ref,
    "a method of it": lambda response: response.set_cookie,
}


@pytest.mark.parametrize("what", KEEPING)
@pytest.mark.parametrize("who", ["middleware", "hook", "def hook", "hook that returns it"])
def test_what_is_kept_of_an_answer_has_nothing_that_others_set_later(what: str, who: str) -> None:
    app, inner, kept = App(), Router(), []
    app.middleware(naming("outer"))

    @app.after_request
    async def outer(request: Request, response: Response) -> None:
        response.headers["x-outer"] = "yes"

    def keep(response: Response) -> None:
        kept[:] = [response.raw_headers.copy(), KEEPING[what](response)]

    async def keeping_middleware(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        keep(response)
        return response

    async def keeping_hook(request: Request, response: Response) -> Response | None:
        keep(response)
        return response if "returns" in who else None

    def keeping_def(response: Response) -> None:
        keep(response)

    if who == "middleware":
        inner.middleware(keeping_middleware)
    else:
        inner.after_request(keeping_def if who == "def hook" else keeping_hook)
    inner.get("/")(lambda: "hello")
    app.include(inner)
    assert TestClient(app).get("/").headers["x-way"] == "outer"
    then, now = kept
    now = now() if isinstance(now, weakref.ref) else getattr(now, "__self__", now)
    if now is not None:  # a weak reference whose answer is gone
        assert then == (now if isinstance(now, list) else getattr(now, "raw", None) or now.raw_headers)


class Drawn(Response):
    """Its content is made as it is sent, and its status is a constant of the class."""

    status_code = 201

    def __init__(self, bird: str) -> None:
        self.bird = bird
        self.raw_headers = [(b"content-type", b"text/plain")]

    @property
    def content(self) -> bytes:
        return self.bird.encode()


class Marked(Response):
    pass


def test_an_answer_of_ones_own_kind_keeps_what_it_has_in_each_layer() -> None:
    app, drawn, marked = App(), Drawn("wren"), Marked("hello")
    marked.note = "mine"  # type: ignore[attr-defined]
    notes: list[object] = []
    app.middleware(naming("outer"))

    @app.middleware
    async def look(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        notes.append((type(response), getattr(response, "note", None)))
        return response

    app.get("/drawn")(lambda: drawn)
    app.get("/marked")(lambda: marked)
    client = TestClient(app)
    answer = client.get("/drawn")
    assert (answer.status_code, answer.text, answer.headers["x-way"]) == (201, "wren", "outer")
    assert client.get("/marked").text == "hello"
    assert notes == [(Drawn, None), (Marked, "mine")]
    assert len(drawn.raw_headers) == len(marked.raw_headers) == 1
    again = copy.copy(marked)
    assert (again.content, again.status_code, vars(again)) == (b"hello", 200, {"note": "mine"})
    assert pickle.loads(pickle.dumps(marked)).content == b"hello"
