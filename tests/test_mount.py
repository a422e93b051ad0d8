"""Other applications below a prefix: what goes to them, what is around them, and their lives."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from wires import connected

from weebill import App, Router
from weebill.errors import ConfigurationError, StartError
from weebill.testing import TestClient


def outer(inner: Any) -> App:
    app = App(__name__)
    app.mount("/inner", inner)

    @app.after_request
    def sign(response: Any) -> None:
        response.headers["x-outer"] = "seen"

    return app


def test_fields_that_the_outer_app_sets_are_on_the_answer_of_a_mounted_app() -> None:
    inner = App(__name__)

    @inner.get("/a")
    async def a() -> str:
        return "a"

    answer = TestClient(outer(inner)).get("/inner/a")
    assert (answer.text, answer.headers["x-outer"]) == ("a", "seen")


def test_fields_that_the_outer_app_sets_are_on_a_mounted_stream() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"too")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    answer = TestClient(outer(asgi)).get("/inner/")
    assert (answer.content, answer.headers["x-outer"], answer.headers["x-inner"]) == (b"ab", "seen", "too")


def test_a_refusal_inside_a_mounted_app_passes_the_outer_hooks_too() -> None:
    answer = TestClient(outer(App(__name__))).get("/inner/nowhere")
    assert (answer.status_code, answer.headers["x-outer"]) == (404, "seen")


# -- what goes there


def paths() -> App:
    """An App that answers everything with the two halves of the path."""
    app = App()
    app.get("/{rest:path}")(lambda request, rest: f"{request.root_path}|{request.path}")
    return app


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a/x", "/a|/x"),
        ("/a", "/a|/"),
        ("/a/", "/a|/"),
        ("/a/b/x", "/a/b|/x"),
        ("/a/bx", "/a|/bx"),
        ("/a%2Fb/x", "everything|/a%2Fb/x"),
        ("/%61/x", "/a|/x"),
        ("/ax", "everything|/ax"),
        ("/a/own", "own"),
        ("/a/own/5", "own 5"),
        ("/in/r/m/x", "/in/r/m|/x"),
    ],
)
def test_a_mount_has_what_is_below_it_but_for_routes_that_begin_with_its_prefix(path: str, text: str) -> None:
    app, router = App(), Router("/r")
    app.get("/{rest:path}")(lambda request, rest: f"everything|{request.path}")  # first, and yet no obstacle
    app.mount("/a", paths())
    app.mount("/a/b", paths())
    app.get("/a/own")(lambda: "own")
    app.get("/a/own/{n:int}")(lambda n: f"own {n}")
    router.mount("/m", paths())
    app.include(router, "/in")
    assert TestClient(app).get(path).text == text


@pytest.mark.parametrize("prefix", ["", "/"])
def test_a_mount_at_the_root_has_what_nobody_else_has(prefix: str) -> None:
    app, router = App(), Router("/api")
    app.mount(prefix, paths())
    app.get("/mine")(lambda: "mine")
    router.get("/{x}")(lambda x: x)
    app.include(router)
    client = TestClient(app)
    assert [client.get(p).text for p in ("/mine", "/api/y", "/", "/b/c")] == ["mine", "y", "|/", "|/b/c"]
    assert client.get("/api").text == "|/api"


def test_a_path_that_has_a_route_of_ours_is_ours_for_all_methods() -> None:
    app = App()
    app.mount("/", paths())
    app.post("/mine")(lambda: "mine")
    refused = TestClient(app).get("/mine")
    assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, POST")


def test_the_head_of_a_route_below_a_mount_is_our_own() -> None:
    app = App()
    app.get("/{rest:path}")(lambda rest: "everything")
    app.mount("/a", paths())
    app.get("/a/{x}")(lambda x: ("", 200, {"own": "yes"}))
    assert TestClient(app).head("/a/1").headers["own"] == "yes"


def test_hooks_middleware_and_error_handlers_of_a_router_are_around_its_mounts() -> None:
    app, admin = App(), Router("/admin")
    admin.before_request(lambda request: None if "key" in request.query else ("closed", 403))
    admin.mount("/panel", paths())
    app.include(admin)
    client = TestClient(app)
    assert client.get("/admin/panel/x").status_code == 403
    assert client.get("/admin/panel/x?key").text == "/admin/panel|/x"


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda app: Router("/{x}").mount("/a", App()), r"the mount '/\{x\}/a' must not have parameters"),
        (lambda app: app.mount("/a/", App()), "the mount '/a/' must begin with a slash and not end with one"),
        (
            lambda app: (app.mount("/a", App()), app.mount("/a", App())),
            "something is mounted at '/a' already",
        ),
        (lambda app: (app.mount("/", App()), app.mount("", App())), "something is mounted at '/' already"),
        (lambda app: Router().mount("/a", 42), "ASGI"),
    ],
)
def test_a_mistake_in_a_mount_is_one_sentence(mistake: Callable[[App], Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        mistake(App())


# -- lives


def living(log: list[str], name: str) -> App:
    app = App()
    app.on_startup(lambda: log.append(f"{name} up"))
    app.on_shutdown(lambda: log.append(f"{name} down"))
    app.get("/")(lambda: name)
    return app


def asgi_living(log: list[str]) -> Any:
    async def program(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "full"
            log.append("asgi up")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            log.append("asgi down")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["state"]["pool"].encode()})

    return program


def test_what_is_mounted_twice_lives_once(wire: str) -> None:
    log: list[str] = []
    app, middle, shared, program = (
        living(log, "outer"),
        living(log, "middle"),
        living(log, "shared"),
        asgi_living(log),
    )
    for prefix in ("/a", "/b"):
        app.mount(prefix, shared)
        app.mount(prefix + "/asgi", program)
    app.mount("/middle", middle)
    middle.mount("/c", shared)
    with connected(app, wire) as client:
        assert [client.get(p + "/").text for p in ("/a", "/b", "/middle/c")] == ["shared"] * 3
        assert [client.get(p).text for p in ("/a/asgi", "/b/asgi/x")] == ["full", "full"]
    assert log == [
        *("shared up", "asgi up", "middle up", "outer up"),
        *("outer down", "middle down", "asgi down", "shared down"),
    ]


def test_an_app_with_mounts_may_be_started_again() -> None:
    log: list[str] = []
    app = App()
    app.mount("/a", living(log, "a"))
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/a/").text == "a"
    assert log == ["a up", "a down"] * 2


def test_a_mounted_app_that_cannot_start_is_named(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    app, broken = living(log, "outer"), App()

    @broken.on_startup
    def connect() -> None:
        raise OSError("no database")

    app.mount("/fine", living(log, "fine"))
    app.mount("/broken", broken)
    with pytest.raises(StartError, match=r"^the application mounted at '/broken' cannot start: no database$"):
        TestClient(app).__enter__()
    assert log == ["fine up", "fine down"]
    [record] = [record for record in caplog.records if record.name == "weebill"]
    assert isinstance(record.exc_info[1], OSError)


def test_a_mounted_asgi_program_that_cannot_start_is_named() -> None:
    async def program(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no licence"})

    app = App()
    app.mount("/x", program)
    with pytest.raises(StartError, match=r"mounted at '/x' cannot start: .*startup failed: no licence"):
        TestClient(app).__enter__()


def test_a_mount_after_the_start_is_refused() -> None:
    app = App()
    with TestClient(app), pytest.raises(ConfigurationError, match="the mount '/late' comes after the start"):
        app.mount("/late", App())
    app.mount("/early", App())


# -- programs of other frameworks


def make_starlette(log: list[str]) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        log.append("up")
        yield {"pool": "full"}
        log.append("down")

    async def show(request: Any) -> JSONResponse:
        name = request.path_params["name"]
        return JSONResponse([name, str(request.url_for("show", name="b")), request.state.pool])

    return Starlette(routes=[Route("/show/{name}", show, name="show")], lifespan=lifespan)


def make_fastapi(log: list[str]) -> Any:
    import fastapi

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        log.append("up")
        yield {"pool": "full"}
        log.append("down")

    app = fastapi.FastAPI(lifespan=lifespan)

    def show(name: str, request: Any) -> list[str]:
        return [name, str(request.url_for("show", name="b")), request.state.pool]

    show.__annotations__["request"] = fastapi.Request
    app.get("/show/{name}")(show)
    return app


def make_flask(log: list[str]) -> Any:
    from flask import Flask, jsonify, url_for

    app = Flask("flask_program")
    app.add_url_rule(
        "/show/<name>", "show", lambda name: jsonify([name, url_for("show", name="b", _external=True)])
    )
    return app


def make_django(interface: str) -> Any:
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x" * 50, USE_TZ=True)
        django.setup()
        from django.http import JsonResponse
        from django.urls import path, reverse

        def show(request: Any, name: str) -> Any:
            return JsonResponse([name, request.build_absolute_uri(reverse("show", args=["b"]))], safe=False)

        sys.modules[__name__].urlpatterns = [path("show/<name>", show, name="show")]
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    return get_asgi_application() if interface == "asgi" else get_wsgi_application()


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize(
    ("make", "lives"),
    [
        (make_starlette, True),
        (make_fastapi, True),
        (make_flask, False),
        (lambda log: make_django("asgi"), False),
        (lambda log: make_django("wsgi"), False),
    ],
    ids=["starlette", "fastapi", "flask", "django asgi", "django wsgi"],
)
def test_programs_of_others_are_mounted_with_their_lives_and_their_urls(
    wire: str, make: Callable[[list[str]], Any], lives: bool
) -> None:
    log: list[str] = []
    program = make(log)
    app, router = App(), Router("/r")
    app.mount("/one", program)
    router.mount("/two", program)
    app.include(router)
    with connected(app, wire) as client:
        for prefix in ("/one", "/r/two"):
            name, url, *pool = client.get(f"{prefix}/show/a%C3%A9").json()
            assert (name, pool) == ("aé", ["full"] if lives else [])
            assert url == f"{str(client.base_url).rstrip('/')}{prefix}/show/b"
            assert client.get(f"{prefix}/none").status_code == 404
        assert log == (["up"] if lives else [])
    assert log == (["up", "down"] if lives else [])
