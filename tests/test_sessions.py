"""Sessions: what is remembered, of whom, how long, and what caches are told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode

from weebill import App, HTTPException, Request, Response, StreamingResponse, redirect
from weebill.compression import CompressionMiddleware
from weebill.errors import ConfigurationError
from weebill.sessions import (
    MemoryStore,
    SessionMiddleware,
    SQLiteStore,
    flash,
    get_flashed_messages,
)
from weebill.testing import TestClient

KEY, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4
DAY = 24 * 3600
STORES: dict[str, Callable[[Path], Any]] = {
    "cookie": lambda folder: None,
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SQLiteStore(folder / "sessions.db"),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each place for sessions in turn."""
    return STORES[request.param](tmp_path)


@pytest.fixture(params=["memory", "sqlite"])
def own_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each place on the server."""
    return STORES[request.param](tmp_path)


def quiet(app: App) -> TestClient:
    """A client that gets what is answered to failures."""
    return TestClient(app, raise_server_exceptions=False)


def make_app(middleware: SessionMiddleware | None = None, keys: str | list[str] = KEY) -> App:
    app = App(__name__, secret_key=keys)
    app.middleware(middleware or SessionMiddleware())

    @app.get("/set/{name}/{value}")
    async def set_value(request: Request, name: str, value: str) -> str:
        request.session[name] = value
        return "set"

    @app.get("/all")
    async def everything(request: Request) -> dict[str, Any]:
        return dict(request.session)

    @app.get("/all-in-thread")
    def everything_in_thread(request: Request) -> dict[str, Any]:
        request.session.setdefault("list", []).append("x")
        return dict(request.session)

    @app.get("/is-new")
    async def is_new(request: Request) -> list[bool]:
        return [request.session.is_new]

    @app.get("/append")
    async def append(request: Request) -> str:
        request.session["deep"]["list"].append(1)
        return "appended"

    @app.get("/start-deep")
    async def start_deep(request: Request) -> str:
        request.session["deep"] = {"list": []}
        return "started"

    @app.get("/login")
    async def login(request: Request) -> str:
        request.session["user"] = "ada"
        request.session.renew()
        return "in"

    @app.get("/logout")
    async def logout(request: Request) -> str:
        request.session.clear()
        return "out"

    @app.get("/logout-and-say")
    async def logout_and_say(request: Request) -> str:
        request.session.clear()
        request.session["said"] = "goodbye"
        return "out"

    @app.get("/drop/{name}")
    async def drop(request: Request, name: str) -> str:
        del request.session[name]
        return "dropped"

    @app.get("/untouched")
    async def untouched(request: Request) -> str:
        assert request.session is not None
        return "nothing"

    @app.get("/big/{size:int}")
    async def big(request: Request, size: int) -> str:
        request.session["big"] = "x" * size
        return "big"

    @app.get("/abort")
    async def abort_with_session(request: Request) -> str:
        request.session["tried"] = True
        raise HTTPException(409, f"not for {request.session.get('user')}")

    @app.get("/crash")
    async def crash(request: Request) -> str:
        request.session["crashed"] = True
        raise ZeroDivisionError

    return app


def signed(data: bytes, age: float = 0.0, key: str = KEY, purpose: str = "weebill.sessions.session") -> str:
    """A session cookie as it was made so many seconds ago."""

    class Past(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time.time() - age)

    signer = Past(key, salt=purpose, key_derivation="hmac", digest_method=sha256)
    return signer.sign(base64_encode(data)).decode()


# -- on every wire


def test_a_session_is_remembered_changed_and_forgotten(serve: Any, store: Any) -> None:
    client = serve(make_app(SessionMiddleware(store)))
    assert client.get("/is-new").json() == [True]
    client.get("/set/name/ada")
    assert client.get("/all").json() == {"name": "ada"}
    assert client.get("/is-new").json() == [False]
    client.get("/start-deep")
    client.get("/append")
    client.get("/append")
    assert client.get("/all").json() == {"name": "ada", "deep": {"list": [1, 1]}}
    assert client.get("/all-in-thread").json()["list"] == ["x"]
    assert client.get("/all-in-thread").json()["list"] == ["x", "x"]
    answer = client.get("/logout")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert client.get("/all").json() == {}
    assert client.get("/is-new").json() == [True]


def test_a_stream_saves_the_session_before_its_head(serve: Any, store: Any) -> None:
    app = make_app(SessionMiddleware(store))

    @app.get("/stream/async")
    async def stream(request: Request) -> AsyncIterator[str]:
        request.session["streamed"] = "async"
        yield "a"
        yield request.session["streamed"]

    @app.get("/stream/def")
    def stream_in_thread(request: Request) -> Iterator[str]:
        request.session["streamed"] = "def"
        yield "a"
        yield request.session["streamed"]

    @app.get("/stream/empty")
    async def stream_empty(request: Request) -> AsyncIterator[str]:
        request.session["streamed"] = "empty"
        for piece in ():
            yield piece

    client = serve(app)
    for kind, text in (("async", "aasync"), ("def", "adef"), ("empty", "")):
        answer = client.get(f"/stream/{kind}")
        assert answer.text == text
        assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Cookie", "no-store")
        assert client.get("/all").json() == {"streamed": kind}


# -- what caches are told


def test_an_answer_that_touches_the_session_is_nobody_elses(store: Any) -> None:
    with TestClient(make_app(SessionMiddleware(store))) as client:
        for path in ("/all", "/is-new", "/set/a/b", "/abort", "/logout"):
            answer = client.get(path)
            fields = {*answer.headers["vary"].split(", ")} - {"Accept"}, answer.headers["cache-control"]
            assert fields == ({"Cookie"}, "no-store"), path


def test_an_answer_that_does_not_touch_it_gets_nothing(store: Any) -> None:
    with TestClient(make_app(SessionMiddleware(store))) as client:
        client.get("/set/a/b")
        for path in ("/untouched", "/nowhere"):
            names = [name.lower() for name in client.get(path).headers]
            assert not {"cache-control", "set-cookie"} & set(names)
            assert "Cookie" not in client.get(path).headers.get("vary", "")


def test_reading_alone_sets_no_cookie(store: Any) -> None:
    with TestClient(make_app(SessionMiddleware(store))) as client:
        assert "set-cookie" not in client.get("/all").headers
        client.get("/set/a/b")
        assert "set-cookie" not in client.get("/all").headers
        assert "set-cookie" not in client.get("/set/a/b").headers  # what it was already


def test_errors_keep_the_session_and_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    with quiet(make_app()) as client:
        for path, status in (("/abort", 409), ("/crash", 500)):
            answer = client.get(path)
            assert answer.status_code == status
            assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Accept, Cookie", "no-store")
        assert client.get("/all").json() == {"tried": True, "crashed": True}


def test_the_answer_to_what_breaks_in_a_middleware_inside_keeps_the_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app()

    @app.middleware
    async def breaks(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        raise ZeroDivisionError(request.session.get("a"))

    answer = quiet(app).get("/untouched")
    assert answer.status_code == 500
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Accept, Cookie", "no-store")


@pytest.mark.parametrize(
    ("own", "sent"),
    [
        ("public, max-age=60", "private, max-age=60"),
        ("max-age=60, s-maxage=600, must-revalidate", "private, max-age=60, must-revalidate"),
        ("no-cache", "private, no-cache"),
        ('private="x-user", max-age=60', "private, max-age=60"),
        ("Private, max-age=60", "Private, max-age=60"),
        ("no-store", "no-store"),
        ("", "private"),
    ],
)
def test_the_authors_cache_control_keeps_its_ages_and_loses_its_public(own: str, sent: str) -> None:
    app = make_app()

    @app.get("/own")
    async def own_control(request: Request) -> Response:
        return Response(str(len(request.session)), headers={"cache-control": own})

    assert TestClient(app).get("/own").headers["cache-control"] == sent


@pytest.mark.parametrize("own", [{}, {"cache-control": "public, s-maxage=60, max-age=9"}])
def test_a_mounted_application_that_may_be_cached_is_not_beside_a_session(own: dict[str, str]) -> None:
    """A shared cache would hand one client's cookie to all others."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        headers = [(name.encode(), value.encode()) for name, value in own.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    app, inner = make_app(), App(__name__)
    inner.get("/")(lambda: Response("inner", headers=own))
    app.mount("/inner", inner)
    app.mount("/asgi", asgi)
    client = TestClient(app)
    assert "Cookie" not in client.get("/inner/").headers.get("vary", "")

    @app.before_request
    def count(request: Request) -> None:
        request.session["visits"] = request.session.get("visits", 0) + 1

    for path in ("/inner/", "/asgi/"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["vary"]) == (200, "Cookie")
        assert answer.headers["cache-control"] == ("private, max-age=9" if own else "no-store")
        assert "session=" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("own", "sent"), [("Accept", "Accept, Cookie"), ("accept, cookie", "accept, cookie"), ("*", "*, Cookie")]
)
def test_vary_is_added_to(own: str, sent: str) -> None:
    app = make_app()

    @app.get("/own")
    async def own_vary(request: Request) -> Response:
        return Response(str(len(request.session)), headers={"vary": own})

    assert TestClient(app).get("/own").headers["vary"] == sent


def test_an_answer_that_is_used_again_carries_nobodys_cookie() -> None:
    app = make_app()
    same = Response("the same for all")

    @app.get("/same")
    async def give_same(request: Request) -> Response:
        request.session["user"] = "ada"
        return same

    assert "session" in TestClient(app).get("/same").cookies
    assert same.headers.getlist("set-cookie") == []
    assert "cache-control" not in same.headers


# -- the cookie


def test_the_cookie_is_careful() -> None:
    line = TestClient(make_app()).get("/set/a/b").headers["set-cookie"]
    assert line.partition("; ")[2] == "Max-Age=1209600; Path=/; HttpOnly; SameSite=Lax"
    line = TestClient(make_app(), "https://testserver").get("/set/a/b").headers["set-cookie"]
    assert line.partition("; ")[2] == "Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_the_cookie_has_the_attributes_that_it_is_given_when_it_is_deleted_too() -> None:
    middleware = SessionMiddleware(
        cookie="__Secure-id", max_age=60, samesite="strict", path="/all", domain="testserver.local"
    )
    app = make_app(middleware)
    own = {"cookie": "__Secure-id=" + signed(b'{"a":1}', purpose="weebill.sessions.__Secure-id")}
    client = TestClient(app)
    attributes = "Domain=testserver.local; Path=/all; Secure; HttpOnly; SameSite=Strict"
    line = client.get("/set/a/b", headers=own).headers["set-cookie"]
    assert line.startswith("__Secure-id=")
    assert line.endswith(f"; Max-Age=60; {attributes}")
    line = client.get("/logout", headers=own).headers["set-cookie"]
    assert line.startswith("__Secure-id=; Max-Age=0; ")
    assert line.endswith(attributes)


@pytest.mark.parametrize(
    "options",
    [
        {"cookie": "a b"},
        {"cookie": "__Host-a", "path": "/x"},
        {"path": "x"},
        {"domain": "a b"},
        {"samesite": "no"},
        {"samesite": "none", "https_only": False},
        {"max_age": 0},
        {"max_age": float("nan")},
    ],
)
def test_attributes_that_make_no_cookie_are_refused_at_registration(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        SessionMiddleware(**options)


def test_the_client_cannot_change_what_is_signed() -> None:
    client = TestClient(make_app())
    payload, rest = signed(b'{"user":"ada"}').split(".", 1)
    assert base64_decode(payload) == b'{"user":"ada"}'
    good = {"cookie": f"session={payload}.{rest}"}
    assert client.get("/all", headers=good).json() == {"user": "ada"}
    forged = base64_encode(b'{"user":"root"}').decode()
    time_, signature = rest.split(".")
    later = base64_encode(b"\x7f\xff\xff\xff").decode()
    for bad in (
        f"{forged}.{rest}",
        f"{payload}.{later}.{signature}",
        f"{payload}.{time_}.{signature[:-1]}",
        f"{payload}.{time_}.",
        f"{payload}.{time_}",
        payload,
        "",
        ".",
        "..",
        "é.é.é",
        "x" * 5000,
        signed(b'{"user":"root"}', key=OTHER),
        signed(b'{"user":"root"}', purpose="weebill.sessions.other"),
        signed(b"[1]"),
        signed(b"no json"),
        signed(b'"\xff"'),
        signed(b"[" * 2000),
    ):
        answer = client.get("/all", headers={"cookie": f"session={bad}".encode().decode("latin-1")})
        assert answer.json() == {}, bad
        assert "set-cookie" not in answer.headers


def test_the_age_is_checked_by_the_server() -> None:
    client = TestClient(make_app(SessionMiddleware(max_age=10 * DAY)))

    def ask(age: float) -> Any:
        return client.get("/all", headers={"cookie": "session=" + signed(b'{"a":1}', age)})

    assert ask(9.9 * DAY).json() == {"a": 1}
    assert ask(10 * DAY + 2).json() == {}
    assert ask(-30).json() == {"a": 1}  # a clock of another machine
    assert ask(-3600).json() == {}


def test_a_session_in_use_is_written_anew_when_it_has_become_old() -> None:
    client = TestClient(make_app(SessionMiddleware(max_age=10 * DAY)))
    for age, is_written in ((0, False), (0.9 * DAY, False), (1.1 * DAY, True)):
        own = {"cookie": "session=" + signed(b'{"a":1}', age)}
        assert ("set-cookie" in client.get("/all", headers=own).headers) is is_written
        assert "set-cookie" not in client.get("/untouched", headers=own).headers


def test_keys_are_changed_without_logging_anybody_out() -> None:
    own = {"cookie": "session=" + signed(b'{"a":1}', key=OTHER)}
    assert TestClient(make_app(keys=KEY)).get("/all", headers=own).json() == {}
    client = TestClient(make_app(keys=[KEY, OTHER]))
    answer = client.get("/all", headers=own)
    assert answer.json() == {"a": 1}
    anew = {"cookie": f"session={answer.cookies['session']}"}  # signed by the first key
    assert TestClient(make_app(keys=KEY)).get("/all", headers=anew).json() == {"a": 1}


def test_a_session_too_large_for_a_cookie_says_so_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    client = quiet(make_app())
    assert client.get("/big/2800").status_code == 200
    answer = client.get("/big/4000")
    assert answer.status_code == 500
    assert answer.headers["cache-control"] == "no-store"
    [record] = caplog.records
    assert "bytes as a cookie, and browsers keep 4096" in record.getMessage()
    assert "SessionMiddleware(SQLiteStore(" in record.getMessage()
    assert "xxxx" not in caplog.text


# -- the key


def test_a_missing_key_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEEBILL_SECRET_KEY", raising=False)
    app = App(__name__)
    app.middleware(SessionMiddleware())
    with pytest.raises(ConfigurationError, match="WEEBILL_SECRET_KEY"), TestClient(app):
        pass
    monkeypatch.setenv("WEEBILL_SECRET_KEY", KEY)
    with TestClient(app) as client:
        assert client.get("/nowhere").status_code == 404


def test_a_missing_key_is_told_without_a_start_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WEEBILL_SECRET_KEY", raising=False)
    app = App(__name__)
    app.middleware(SessionMiddleware())
    assert quiet(app).get("/").status_code == 500
    assert "set WEEBILL_SECRET_KEY" in caplog.text


def test_a_store_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEEBILL_SECRET_KEY", raising=False)
    app = App(__name__)
    app.middleware(SessionMiddleware(MemoryStore()))

    @app.get("/")
    async def index(request: Request) -> str:
        request.session["n"] = request.session.get("n", 0) + 1
        return str(request.session["n"])

    with TestClient(app) as client:
        assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]


def test_without_a_middleware_it_is_said_what_to_write(caplog: pytest.LogCaptureFixture) -> None:
    app = App(__name__)

    @app.get("/")
    async def index(request: Request) -> str:
        return str(request.session)

    assert quiet(app).get("/").status_code == 500
    assert "write app.middleware(SessionMiddleware()), from weebill.sessions" in caplog.text


# -- values


@pytest.mark.parametrize(
    "value", [None, True, 1, -(2**70), 1.5, "ü\U0001f426", [1, [2]], {"a": {"b": [None]}}]
)
def test_a_value_of_json_comes_back_as_it_was(value: Any) -> None:
    app = make_app()

    @app.get("/keep")
    async def keep(request: Request) -> str:
        request.session["value"] = value
        return "kept"

    client = TestClient(app)
    client.get("/keep")
    assert client.get("/all").json() == {"value": value}


DEEP: list[Any] = []
DEEP.append(DEEP)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"bytes", "session['value'] is bytes"),
        ({1: 2}, "session['value'] is dict"),
        ({"a": [0, {1, 2}]}, "session['value']['a'][1] is set"),
        (float("nan"), "is float"),
        (float("inf"), "is float"),
        (object(), "is object"),
        ("\ud800", "half a surrogate pair"),
        (DEEP, "64 deep"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_any_other_value_is_refused_with_its_place(
    value: Any, words: str, nested: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.get("/keep")
    async def keep(request: Request) -> str:
        if nested:
            request.session["list"] = values = []
            values.append(value)
        else:
            request.session["value"] = value
        return "kept"

    assert quiet(app).get("/keep").status_code == 500
    place = "session['list'][0]" if nested else "session['value']"
    assert words.replace("session['value']", place) in caplog.text


def test_a_name_is_text(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    @app.get("/keep")
    async def keep(request: Request) -> str:
        request.session[1] = 2  # type: ignore[index]
        return "kept"

    assert quiet(app).get("/keep").status_code == 500
    assert "session[1]: names are text" in caplog.text


def test_a_tuple_is_kept_as_a_list_and_text_of_a_kind_as_text() -> None:
    import enum

    class Colour(str, enum.Enum):  # noqa: UP042 (whose str() is another text)
        RED = "red"

    app = make_app()

    @app.get("/keep")
    async def keep(request: Request) -> str:
        request.session.update({"tuple": (1, (2,)), "colour": Colour.RED})
        return "kept"

    client = TestClient(app)
    client.get("/keep")
    assert client.get("/all").json() == {"tuple": [1, [2]], "colour": "red"}


def test_a_session_does_not_show_what_it_holds() -> None:
    app = make_app()

    @app.get("/repr")
    async def show(request: Request) -> list[str]:
        before = repr(request.session)
        request.session["secret"] = "hidden"
        return [before, repr(request.session)]

    assert TestClient(app).get("/repr").json() == ["<Session>", "<Session of 1 values>"]


def test_a_change_that_comes_too_late_is_an_error_and_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    told: list[str] = []

    @app.get("/late-stream")
    async def late(request: Request) -> AsyncIterator[str]:
        yield "a"
        request.session["late"] = True

    @app.get("/late-work")
    async def late_work(request: Request) -> str:
        def work() -> None:
            try:
                request.session["late"] = True
            except ConfigurationError as error:
                told.append(str(error))

        request.background(work)
        return "done"

    with quiet(app) as client:
        with pytest.raises(ConnectionError):
            client.get("/late-stream")
        assert "changed after it had been saved" in caplog.text
        assert client.get("/late-work").text == "done"
    assert "changed after it had been saved" in told[0]


def test_a_stream_with_a_send_of_its_own_saves_the_session_before_its_head_too() -> None:
    class Early(StreamingResponse):
        async def send(self, exchange: Any) -> None:
            await exchange.start(200, self.raw_headers)
            async for piece in self.pieces:  # type: ignore[union-attr]
                await exchange.write(piece)
            await exchange.finish()

    app = make_app()

    @app.get("/early")
    async def early(request: Request) -> Response:
        request.session["early"] = True

        async def pieces() -> AsyncIterator[bytes]:
            yield str(request.session["early"]).encode()

        return Early(pieces())

    client = TestClient(app)
    answer = client.get("/early")
    assert answer.text == "True"
    assert answer.headers["vary"] == "Cookie"
    assert client.get("/all").json() == {"early": True}


@pytest.mark.parametrize("is_outside", [True, False])
def test_a_compressed_stream_saves_the_session_whichever_middleware_is_outside(is_outside: bool) -> None:
    app = App(__name__, secret_key=KEY)
    both = [CompressionMiddleware(), SessionMiddleware()]
    for middleware in both if is_outside else reversed(both):
        app.middleware(middleware)

    @app.get("/stream")
    async def stream(request: Request) -> AsyncIterator[str]:
        request.session["user"] = "ada"
        yield "a weebill " * 100

    answer = TestClient(app, headers={"accept-encoding": "gzip"}).get("/stream")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "no-store"
    assert "session" in answer.cookies
    assert {"cookie", "accept-encoding"} == set(answer.headers["vary"].lower().split(", "))


# -- ids of stores


def test_an_id_that_nobody_gave_out_is_not_taken_over(own_store: Any) -> None:
    with TestClient(make_app(SessionMiddleware(own_store))) as client:
        for fixed in ("A" * 43, "x", "", "../" * 20, "A" * 5000, "é" * 43, "%00"):
            own = {"cookie": f"session={fixed}"}
            assert client.get("/is-new", headers=own).json() == [True]
            given = client.get("/set/a/b", headers=own).cookies["session"]
            assert given != fixed
            assert len(given) == 43
            assert client.get("/all", headers=own).json() == {}
            client.cookies.clear()


def test_ids_are_random_and_the_store_does_not_know_them(tmp_path: Path) -> None:
    kept = SQLiteStore(tmp_path / "sessions.db")
    with TestClient(make_app(SessionMiddleware(kept))) as client:
        given = set()
        for _ in range(20):
            client.cookies.clear()
            given.add(client.get("/set/a/b").cookies["session"])
        assert len(given) == 20
        content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert not any(value.encode() in content for value in given)
        assert all(sha256(value.encode()).hexdigest().encode() in content for value in given)


def test_login_gives_another_id_and_the_old_one_is_worth_nothing(own_store: Any) -> None:
    with TestClient(make_app(SessionMiddleware(own_store))) as client:
        before = client.get("/set/cart/full").cookies["session"]
        after = client.get("/login").cookies["session"]
        assert after != before
        assert client.get("/all").json() == {"cart": "full", "user": "ada"}
        client.cookies.clear()
        assert client.get("/all", headers={"cookie": f"session={before}"}).json() == {}


@pytest.mark.parametrize("path", ["/logout", "/logout-and-say", "/drop/user"])
def test_logging_out_destroys_the_session_in_the_store(own_store: Any, path: str) -> None:
    with TestClient(make_app(SessionMiddleware(own_store))) as client:
        client.get("/set/user/ada")
        old = {"cookie": f"session={client.cookies.get('session')}"}
        client.get(path)
        assert client.get("/all").json() == ({"said": "goodbye"} if "say" in path else {})
        client.cookies.clear()
        assert client.get("/all", headers=old).json() == {}


def test_a_slower_request_does_not_bring_back_who_has_logged_out(own_store: Any) -> None:
    app = make_app(SessionMiddleware(own_store))
    begun, go = threading.Event(), threading.Event()

    @app.get("/slow")
    def slow(request: Request) -> str:
        request.session["slow"] = True
        begun.set()
        go.wait(10)
        return "slow"

    with TestClient(app) as client:
        client.get("/login")
        old = {"cookie": f"session={client.cookies.get('session')}"}
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(client.get("/slow", headers=old)))
        asking.start()
        assert begun.wait(10)
        client.get("/logout", headers=old)
        go.set()
        asking.join()
        assert answers[0].text == "slow"
        assert "set-cookie" not in answers[0].headers
        client.cookies.clear()
        assert client.get("/all", headers=old).json() == {}


def test_of_two_requests_at_once_the_last_writes(own_store: Any) -> None:
    app = make_app(SessionMiddleware(own_store))
    begun, go = threading.Event(), threading.Event()

    @app.get("/slow")
    def slow(request: Request) -> str:
        request.session["slow"] = True
        begun.set()
        go.wait(10)
        return "slow"

    with TestClient(app) as client:
        client.get("/set/first/1")
        asking = threading.Thread(target=lambda: client.get("/slow"))
        asking.start()
        assert begun.wait(10)
        client.get("/set/quick/1")
        go.set()
        asking.join()
        assert client.get("/all").json() == {"first": "1", "slow": True}


def test_a_session_has_a_size_in_a_store_too(caplog: pytest.LogCaptureFixture) -> None:
    client = quiet(make_app(SessionMiddleware(MemoryStore())))
    assert client.get("/big/1000000").status_code == 200
    assert client.get("/big/1100000").status_code == 500
    assert "a store keeps 1048576" in caplog.text


def test_the_age_of_what_a_store_gives_is_checked_too() -> None:
    class Forgetful(MemoryStore):
        async def load(self, key: str) -> bytes | None:
            data = await super().load(key)
            return data and b"%d:%s" % (time.time() - 100, data.partition(b":")[2])

    store = Forgetful()
    client = TestClient(make_app(SessionMiddleware(store, max_age=99)))
    client.get("/set/a/b")
    assert len(store) == 1
    assert client.get("/all").json() == {}


# -- stores


def test_what_is_over_is_gone_and_what_was_forgotten_stays_so(own_store: Any) -> None:
    async def main() -> None:
        key = "0" * 64
        assert await own_store.load(key) is None
        assert not await own_store.save(key, b"1", 60, create=False)
        assert await own_store.load(key) is None
        assert await own_store.save(key, b"1", 60, create=True)
        assert await own_store.load(key) == b"1"
        assert await own_store.save(key, b"2", 60, create=False)
        assert await own_store.load(key) == b"2"
        assert await own_store.save(key, b"3", -1, create=False)
        assert await own_store.load(key) is None
        assert not await own_store.save(key, b"4", 60, create=False)
        await own_store.delete(key)
        await own_store.delete(key)
        if isinstance(own_store, SQLiteStore):
            await own_store.close()

    asyncio.run(main())


def test_a_memory_store_is_bounded_and_drops_the_longest_unsaved() -> None:
    async def main() -> None:
        store = MemoryStore(max_sessions=3)
        for key in ("a", "b", "c"):
            await store.save(key, b"1", 60, create=True)
        await store.save("a", b"2", 60, create=False)
        await store.save("d", b"1", 60, create=True)
        assert len(store) == 3
        assert await store.load("b") is None
        assert await store.load("a") == b"2"
        for n in range(10):
            await store.save(str(n), b"1", -1, create=True)
            await store.save(f"x{n}", b"1", 60, create=True)
        assert len(store) == 3

    asyncio.run(main())


def test_a_file_outlives_its_process_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "sessions.db"
    with TestClient(make_app(SessionMiddleware(SQLiteStore(file)))) as client:
        value = client.get("/set/a/b").cookies["session"]
        assert file.stat().st_mode & 0o777 == 0o600
    with TestClient(make_app(SessionMiddleware(SQLiteStore(str(file))))) as client:
        assert client.get("/all", headers={"cookie": f"session={value}"}).json() == {"a": "b"}


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    stores = [SQLiteStore(tmp_path / "sessions.db") for _ in range(2)]  # each has a connection of its own
    first, second = (TestClient(make_app(SessionMiddleware(store))) for store in stores)
    with first, second:
        own = {"cookie": f"session={first.get('/set/a/b').cookies['session']}"}
        second.get("/set/c/d", headers=own)
        assert first.get("/all", headers=own).json() == {"a": "b", "c": "d"}
        second.get("/logout", headers=own)
        first.cookies.clear()
        assert first.get("/all", headers=own).json() == {}


def test_what_is_over_is_swept_out_of_the_file(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    async def main() -> None:
        store = SQLiteStore(tmp_path / "sessions.db")
        for n in range(5):
            await store.save(str(n), b"1", -1, create=True)
        await store.close()
        store = SQLiteStore(tmp_path / "sessions.db")
        await store.save("new", b"1", 60, create=True)
        await store.close()

    asyncio.run(main())
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as connection:
        assert connection.execute("SELECT key FROM sessions").fetchall() == [("new",)]


def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database " * 100)
    for path in (tmp_path / "nowhere" / "sessions.db", tmp_path, tmp_path / "text"):
        app = make_app(SessionMiddleware(SQLiteStore(path)))
        with (
            pytest.raises(ConfigurationError, match=r"the file of sessions .* cannot be used"),
            TestClient(app),
        ):
            pass


def test_the_file_is_not_touched_on_the_loop(tmp_path: Path) -> None:
    threads: set[str] = set()

    class Watched(SQLiteStore):
        def _execute(self, sql: str, *values: object) -> Any:
            threads.add(threading.current_thread().name.rpartition("-")[0])
            return super()._execute(sql, *values)

    with TestClient(make_app(SessionMiddleware(Watched(tmp_path / "sessions.db")))) as client:
        client.get("/set/a/b")
        client.get("/login")
        client.get("/logout")
    assert threads == {"weebill-file"}


# -- flash


def make_flashing_app() -> App:
    app = make_app()

    @app.post("/save")
    def save(request: Request) -> Response:
        flash("saved")
        flash("but late", "warning")
        return redirect("/", 303)

    @app.get("/")
    async def index(request: Request) -> list[Any]:
        return [get_flashed_messages(), get_flashed_messages(with_categories=True)]

    @app.get("/warnings")
    async def warnings() -> list[Any]:
        return get_flashed_messages(category_filter=["warning"])

    return app


def test_messages_are_shown_once_on_the_next_page(serve: Any) -> None:
    client = serve(make_flashing_app())
    shown = client.post("/save", follow_redirects=True).json()
    assert shown == [["saved", "but late"], [["message", "saved"], ["warning", "but late"]]]
    answer = client.get("/")
    assert answer.json() == [[], []]
    assert answer.headers["vary"] == "Cookie"
    client.post("/save")
    assert client.get("/warnings").json() == ["but late"]
    assert client.get("/").json() == [[], []]


def test_messages_need_a_request_and_a_session(caplog: pytest.LogCaptureFixture) -> None:
    for ask in (lambda: flash("x"), get_flashed_messages):
        with pytest.raises(ConfigurationError, match="outside a request"):
            ask()
    app = App(__name__)

    @app.get("/")
    async def index() -> str:
        flash("x")
        return ""

    assert quiet(app).get("/").status_code == 500
    assert "SessionMiddleware" in caplog.text
