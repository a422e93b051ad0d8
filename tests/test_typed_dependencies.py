"""Depends for requests: what a handler is given by functions that are bound as it is."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest
from test_typed_values import faults
from typing_extensions import TypeAliasType
from wires import LIVE, connected

from weebill import App, Cookie, Depends, Header, HTTPException, Request, Response, Router, abort
from weebill.errors import SignatureError
from weebill.testing import Result, TestClient

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def get(handler: Callable[..., Any], target: str = "/", path: str = "/", **options: Any) -> Result:
    app = App()
    app.get(path)(handler)
    return TestClient(app, raise_server_exceptions=False).get(target, **options)


class Item(msgspec.Struct):
    name: str


# -- of every kind


def plain(limit: int = 10) -> Any:
    return ["plain", limit]


async def waits(limit: int = 10) -> Any:
    return ["waits", limit]


def yields(limit: int = 10) -> Iterator[Any]:
    yield ["yields", limit]


async def waits_and_yields(limit: int = 10) -> AsyncIterator[Any]:
    yield ["waits and yields", limit]


class Made:
    def __init__(self, limit: int = 10) -> None:
        self.limit = limit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Made) and self.limit == other.limit

    async def __call__(self) -> None: ...


@dataclass
class Data:
    limit: int = 10


class Struct(msgspec.Struct):
    limit: int = 10


class Instance:
    def __call__(self, limit: int = 10) -> Any:
        return ["instance", limit]


@dataclass
class Unhashable:
    name: str

    def __call__(self, limit: int = 10) -> Any:
        return [self.name, limit]


class Yielding:
    def __call__(self, limit: int = 10) -> Iterator[Any]:
        yield ["yielding", limit]


KINDS = [
    (plain, ["plain", 3]),
    (waits, ["waits", 3]),
    (yields, ["yields", 3]),
    (waits_and_yields, ["waits and yields", 3]),
    (Made, Made(3)),
    (Data, Data(3)),
    (Struct, Struct(3)),
    (Instance(), ["instance", 3]),
    (Unhashable("no hash"), ["no hash", 3]),
    (Yielding(), ["yielding", 3]),
    (functools.partial(plain), ["plain", 3]),
    (functools.partial(waits_and_yields), ["waits and yields", 3]),
    (lambda limit=10: ["lambda", limit], ["lambda", 10]),
]


@pytest.mark.parametrize(("fn", "value"), KINDS)
def test_everything_that_can_be_called_is_a_dependency(fn: Any, value: Any) -> None:
    def handler(got: Any = Depends(fn)) -> str:
        return repr(got == value)

    async def waiting(got: Any = Depends(fn)) -> str:
        return repr(got == value)

    def streaming(got: Any = Depends(fn)) -> Iterator[str]:
        yield repr(got == value)

    async def waiting_and_streaming(got: Any = Depends(fn)) -> AsyncIterator[str]:
        yield repr(got == value)

    for each in (handler, waiting, streaming, waiting_and_streaming):
        assert get(each, "/?limit=3").text == "True"
        if value != ["lambda", 10]:  # whose parameter has no annotation
            assert faults(get(each, "/?limit=x")) == {"query.limit": 'expected int, got "x"'}


def test_a_dependency_may_stand_in_the_annotation() -> None:
    def handler(a: Annotated[Any, Depends(plain)], b: Annotated[Data, Depends()], c: Made = Depends()) -> Any:
        return [a, b, c.limit]

    assert get(handler, "/?limit=3").json() == [["plain", 3], {"limit": 3}, 3]


def test_a_dependency_may_stand_behind_the_name_of_a_type() -> None:
    named = TypeAliasType("named", Annotated[Any, Depends(plain)])  # `type named = ...` from 3.12 on

    def handler(a: Any, b: Any) -> Any:
        return [a, b]

    handler.__annotations__.update(a=named, b=Annotated[named, "more"])
    assert get(handler, "/?limit=3").json() == [["plain", 3], ["plain", 3]]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the `type` statement")
def test_a_marker_may_stand_behind_the_name_of_a_type() -> None:
    def handler(size: Any) -> Any:
        return [size]

    scope = {"Annotated": Annotated, "Header": Header}
    exec("type Size = Annotated[int, Header('x-size')]", scope)
    handler.__annotations__["size"] = scope["Size"]
    assert get(handler, "/", headers={"x-size": "4"}).json() == [4]
    assert faults(get(handler, "/?size=4")) == {"header.x-size": "missing"}


def test_the_parameters_of_a_dependency_come_from_everywhere() -> None:
    app = App()

    def inner(id: int, x_depth: Annotated[int, Header()], theme: str = Cookie(default="dark")) -> Any:  # noqa: A002
        return [id, x_depth, theme]

    async def outer(request: Request, item: Item, mine: Any = Depends(inner)) -> Any:
        return [request.method, item, mine]

    @app.post("/{id}")
    def handler(all_of_it: Any = Depends(outer)) -> Any:
        return all_of_it

    client = TestClient(app)
    answer = client.post("/5", json={"name": "a"}, headers={"x-depth": "2"}, cookies={"theme": "light"})
    assert answer.json() == ["POST", {"name": "a"}, [5, 2, "light"]]
    assert faults(client.post("/x", json={}, headers={"x-depth": "y"})) == {
        "path.id": 'expected int, got "x"',
        "header.x-depth": 'expected int, got "y"',
        "body.name": "missing",
    }


def test_a_dependency_may_have_the_name_of_a_part_of_the_path() -> None:
    def load(user: str) -> dict[str, str]:
        return {"name": user}

    assert get(lambda user=Depends(load): user, "/users/ann", "/users/{user}").json() == {"name": "ann"}


# -- once per request


def counted() -> int:
    calls.append("counted")
    return len(calls)


async def twice(n: int = Depends(counted)) -> int:
    return n


@pytest.mark.parametrize("is_async", [False, True])
def test_a_dependency_runs_once_per_request_unless_it_is_not_kept(is_async: bool) -> None:
    def also(n: int = Depends(counted)) -> int:
        return n

    second = twice if is_async else also

    def handler(
        a: int = Depends(counted),
        b: int = Depends(second),
        c: int = Depends(counted, use_cache=False),
        d: int = Depends(counted, use_cache=False),
    ) -> list[int]:
        return [a, b, c, d]

    app = App()
    app.get("/")(handler)
    client = TestClient(app)
    assert client.get("/").json() == [1, 1, 2, 3]
    assert client.get("/").json() == [4, 4, 5, 6]


def test_what_many_depend_on_is_planned_once() -> None:
    def make(inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(a: Any = Depends(inner), b: Any = Depends(inner)) -> Any:
            return a + 1

        return outer

    last: Callable[..., Any] = lambda: 0  # noqa: E731
    for _ in range(50):  # 2 ** 50 ways lead to the first
        last = make(last)

    def handler(x: int = Depends(last)) -> list[int]:
        return [x]

    assert get(handler).json() == [50]


def test_a_value_of_none_is_kept_too() -> None:
    def nothing() -> None:
        calls.append(1)

    assert get(lambda a=Depends(nothing), b=Depends(nothing): [a, b]).json() == [None, None]
    assert calls == [1]


def test_requests_at_the_same_time_share_nothing() -> None:
    app, both = App(), threading.Barrier(2)

    def mine(name: str) -> list[str]:
        return [name]

    async def not_yours(mine: list[str] = Depends(mine)) -> list[str]:
        return mine

    @app.get("/{name}")
    def handler(name: str, a: list[str] = Depends(mine), b: list[str] = Depends(not_yours)) -> list[Any]:
        both.wait(10)
        a.append(name)
        return [a is b, a]

    client = TestClient(app)
    answers: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda n=name: answers.update({n: client.get(f"/{n}").json()}))
        for name in ("ann", "bob")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {name: [True, [name, name]] for name in ("ann", "bob")}


def test_equal_methods_are_one_dependency() -> None:
    class Counter:
        def count(self) -> int:
            return counted()

    counter = Counter()
    answer = get(lambda a=Depends(counter.count), b=Depends(counter.count): [a, b])
    assert answer.json() == [1, 1]


# -- where they run


def test_def_runs_in_a_worker_thread_and_async_def_on_the_loop() -> None:
    def here() -> str:
        return threading.current_thread().name

    def opened() -> Iterator[str]:
        yield threading.current_thread().name
        calls.append(threading.current_thread().name)

    async def on_loop() -> bool:
        return asyncio.get_running_loop().is_running()

    async def handler(
        a: str = Depends(here), b: str = Depends(opened), c: bool = Depends(on_loop)
    ) -> list[Any]:
        return [a, b, c]

    a, b, c = get(handler).json()
    assert c is True
    assert all(name.startswith("weebill-worker-") for name in (a, b, *calls))


def test_what_is_def_throughout_runs_in_one_hop() -> None:
    value: contextvars.ContextVar[str] = contextvars.ContextVar("value")

    def sets() -> threading.Thread:
        value.set("seen")
        return threading.current_thread()

    def handler(thread: threading.Thread = Depends(sets)) -> list[Any]:
        return [thread is threading.current_thread(), value.get("lost")]

    assert get(handler).json() == [True, "seen"]


# -- clean-up


def opened(name: str) -> Callable[..., Any]:
    def plain() -> Iterator[str]:
        calls.append(f"open {name}")
        try:
            yield name
        except Exception as error:
            calls.append(f"{type(error).__name__} in {name}")
            raise
        finally:
            calls.append(f"close {name}")

    async def on_loop() -> AsyncIterator[str]:
        calls.append(f"open {name}")
        try:
            yield name
        except Exception as error:
            calls.append(f"{type(error).__name__} in {name}")
            raise
        finally:
            calls.append(f"close {name}")

    return on_loop if name.startswith("async") else plain


@pytest.mark.parametrize("wire", LIVE)
@pytest.mark.parametrize("name", ["plain", "async"])
def test_the_clean_up_runs_when_the_client_has_its_answer(wire: str, name: str) -> None:
    app, answered, closed = App(), threading.Event(), threading.Event()

    def slow_to_close() -> Iterator[str]:
        yield "open"
        closed.state = answered.wait(10)  # type: ignore[attr-defined]
        closed.set()

    async def slow_on_loop() -> AsyncIterator[str]:
        yield "open"
        closed.state = await asyncio.to_thread(answered.wait, 10)  # type: ignore[attr-defined]
        closed.set()

    @app.get("/")
    async def handler(state: str = Depends(slow_to_close if name == "plain" else slow_on_loop)) -> str:
        return state

    with connected(app, wire) as client:
        assert client.get("/").text == "open"
        answered.set()
        assert closed.wait(10)
        assert closed.state is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("kinds", [("a", "b"), ("async a", "async b"), ("async a", "b"), ("a", "async b")])
def test_what_was_opened_last_is_closed_first_with_the_error_that_was_answered(
    kinds: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    a, b = kinds
    first = opened(a)

    async def handler(x: str = Depends(first), y: str = Depends(opened(b)), fail: str = "") -> str:
        calls.append("handle")
        if fail == "abort":
            abort(409)
        if fail:
            raise LookupError
        return x + y

    assert get(handler).text == a + b
    assert calls == [f"open {a}", f"open {b}", "handle", f"close {b}", f"close {a}"]
    calls.clear()
    assert get(handler, "/?fail=abort").status_code == 409
    assert calls[3:] == [f"HTTPException in {b}", f"close {b}", f"HTTPException in {a}", f"close {a}"]
    calls.clear()
    assert get(handler, "/?fail=yes").status_code == 500
    assert calls[3:] == [f"LookupError in {b}", f"close {b}", f"LookupError in {a}", f"close {a}"]
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


@pytest.mark.parametrize("name", ["plain", "async"])
def test_what_was_opened_is_closed_when_another_value_does_not_fit(name: str) -> None:
    db = opened(name)
    answer = get(lambda db=Depends(db), limit=Header("x-limit"): "never")
    assert faults(answer) == {"header.x-limit": "missing"}
    assert calls == [f"open {name}", f"ValidationError in {name}", f"close {name}"]


@pytest.mark.parametrize("name", ["plain", "async"])
def test_what_was_opened_is_closed_when_a_later_dependency_fails(name: str) -> None:
    def refuses() -> None:
        abort(401)

    def handler(db: str = Depends(opened(name)), user: None = Depends(refuses)) -> None:
        calls.append("handle")

    assert get(handler).status_code == 401
    assert calls == [f"open {name}", f"HTTPException in {name}", f"close {name}"]


def test_a_stream_has_its_dependency_until_its_end() -> None:
    def handler(db: str = Depends(opened("db"))) -> Iterator[str]:
        for n in range(2):
            calls.append(n)
            yield db

    assert get(handler).text == "dbdb"
    assert calls == ["open db", 0, 1, "close db"]


def test_the_answer_of_an_error_handler_and_the_after_hooks_come_before_the_clean_up() -> None:
    app = App()
    db = opened("db")
    app.get("/")(lambda db=Depends(db): 1 / 0)
    app.errorhandler(ZeroDivisionError)(lambda error: calls.append("error handler") or "sorry")
    app.after_request(lambda response: calls.append("after hook"))
    assert TestClient(app).get("/").text == "sorry"
    assert calls == ["open db", "error handler", "after hook", "ZeroDivisionError in db", "close db"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_clean_up_that_fails_is_told_in_the_log_alone(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> Iterator[str]:
        yield "fine"
        raise OSError("pipe")

    async def breaks_on_loop() -> AsyncIterator[str]:
        yield "fine"
        raise OSError("pipe")

    def handler(
        outer: str = Depends(opened("outer")), a: str = Depends(breaks_on_loop if is_async else breaks)
    ) -> str:
        return a

    assert get(handler).text == "fine"
    assert calls == ["open outer", "OSError in outer", "close outer"]
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage() == "a dependency failed while it was cleaned up"


def test_a_generator_that_yields_nothing_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    def nothing() -> Iterator[str]:
        return
        yield

    assert get(lambda a=Depends(nothing): a).status_code == 500
    assert "generator didn't yield" in caplog.text


def test_a_generator_that_is_given_up_on_while_it_opens_is_closed_when_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, opening, closed = App(), threading.Event(), threading.Event()

    def slow() -> Iterator[str]:
        opening.wait(10)
        try:
            yield "late"
        finally:
            closed.set()

    @app.get("/", timeout=0.02)
    async def handler(a: str = Depends(slow)) -> str:
        calls.append("handle")
        return a

    app.after_request(lambda response: opening.set())
    assert TestClient(app).get("/").status_code == 503
    assert closed.is_set()
    assert calls == []


def test_dependencies_are_within_the_timeout_of_the_route() -> None:
    app = App()

    async def endless() -> None:
        await asyncio.Event().wait()

    @app.get("/", timeout=0.01)
    async def handler(a: None = Depends(endless)) -> None: ...

    assert TestClient(app).get("/").status_code == 503


def test_a_dependency_has_a_timeout_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def endless() -> None:
        await asyncio.Event().wait()

    app = App()
    app.get("/")(lambda a=Depends(endless, timeout=0.01): a)
    app.errorhandler(TimeoutError)(lambda error: ("too slow", 504))
    assert TestClient(app).get("/").status_code == 504


# -- the order


def test_who_may_not_ask_is_not_told_what_is_wrong_with_the_question() -> None:
    app = App()

    async def user(token: Annotated[str, Header()]) -> str:
        return token if token == "secret" else abort(401)

    @app.post("/")
    async def handler(item: Item, limit: int, user: str = Depends(user)) -> None:
        calls.append("handle")

    client = TestClient(app)
    assert client.post("/", content=b"{", headers={"token": "x"}).status_code == 401
    assert client.post("/?limit=x", json={}, headers={"token": "x"}).status_code == 401
    assert faults(client.post("/?limit=x", json={}, headers={"token": "secret"})) == {
        "body.name": "missing",
        "query.limit": 'expected int, got "x"',
    }
    assert calls == []


def test_a_fault_is_told_once_though_two_ask() -> None:
    def a(limit: int) -> int:
        return limit

    answer = get(lambda x=Depends(a), y=Depends(a), z=Depends(a, use_cache=False): 0, "/?limit=x")
    assert len(answer.json()["errors"]) == 1


def test_a_dependency_is_not_called_when_its_own_values_do_not_fit() -> None:
    def a(limit: int) -> None:
        calls.append("a")

    def b(a: None = Depends(a)) -> None:
        calls.append("b")

    assert faults(get(lambda b=Depends(b): "never", "/?limit=x"))
    assert calls == []


def test_what_a_dependency_raises_is_answered_like_what_a_handler_raises() -> None:
    def fails() -> None:
        raise HTTPException(418, "short and stout")

    answer = get(lambda a=Depends(fails): a)
    assert (answer.status_code, answer.json()["detail"]) == (418, "short and stout")


def test_hooks_and_middleware_stand_around_dependencies() -> None:
    app, router = App(), Router("/api")

    @app.middleware
    async def around(request: Request, call_next: Any) -> Response:
        calls.append("middleware")
        response: Response = await call_next(request)
        return response

    app.before_request(lambda: calls.append("before"))
    router.after_request(lambda response: calls.append("after"))
    db = opened("db")
    router.get("/")(lambda db=Depends(db): db)
    app.include(router)
    assert TestClient(app).get("/api/").text == "db"
    assert calls == ["middleware", "before", "open db", "after", "close db"]


def test_it_is_the_same_on_every_wire(serve: Callable[[Any], Any]) -> None:
    app = App()

    @app.post("/{id}")
    def handler(id: int, item: Item, a: Any = Depends(plain), b: Any = Depends(waits_and_yields)) -> Any:  # noqa: A002
        return [id, item, a, b]

    client = serve(app)
    answer = client.post("/1?limit=2", json={"name": "a"})
    assert answer.json() == [1, {"name": "a"}, ["plain", 2], ["waits and yields", 2]]
    assert client.post("/1?limit=x", json={"name": "a"}).status_code == 422


# -- others in their place


def test_a_dependency_is_overridden_and_comes_back() -> None:
    app = App()

    async def real() -> str:
        return "real"

    def nested(value: str = Depends(real)) -> str:
        return f"nested {value}"

    @app.get("/")
    def handler(a: str = Depends(real), b: str = Depends(nested)) -> list[str]:
        return [a, b]

    def fake(name: str = "fake") -> str:
        return name

    client = TestClient(app)
    unchanged = ["real", "nested real"]
    assert client.get("/").json() == unchanged
    app.dependency_overrides[real] = fake
    assert client.get("/").json() == ["fake", "nested fake"]
    assert client.get("/?name=query").json() == ["query", "nested query"]
    del app.dependency_overrides[real]
    assert client.get("/").json() == unchanged
    app.dependency_overrides = {nested: waits}
    assert client.get("/").json() == ["real", ["waits", 10]]
    app.dependency_overrides.clear()
    assert client.get("/").json() == unchanged
    app.dependency_overrides.update({real: fake})
    assert client.get("/").json()[0] == "fake"
    assert app.dependency_overrides.pop(real) is fake
    app.dependency_overrides |= {real: lambda: "lambda"}
    assert client.get("/").json()[0] == "lambda"
    app.dependency_overrides.pop(real)
    app.dependency_overrides.setdefault(real, fake)
    assert client.get("/").json()[0] == "fake"
    app.dependency_overrides.popitem()
    assert client.get("/").json() == unchanged
    assert app.dependency_overrides == {}


def test_the_other_may_ask_for_the_one_that_it_replaces() -> None:
    def loud(quiet: Any = Depends(plain)) -> str:
        return f"{quiet}!"

    app = App()
    app.get("/")(lambda a=Depends(plain): a)
    app.dependency_overrides[plain] = loud
    assert TestClient(app).get("/").text == "['plain', 10]!"


def test_the_other_may_be_one_that_yields_or_waits() -> None:
    app = App()
    app.get("/")(lambda a=Depends(plain): a)
    for other in (opened("db"), opened("async db")):
        app.dependency_overrides[plain] = other
        assert TestClient(app).get("/").text.endswith("db")
    assert calls == ["open db", "close db", "open async db", "close async db"]


# -- mistakes


def snake(tail: Any = None) -> None: ...


snake.__defaults__ = (Depends(snake),)


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (snake, ["snake (", "depends on itself"]),
        (5, ["5 cannot be called", "<lambda> ("]),
        (lambda x: x, ["nothing fills the parameter 'x'", "<lambda> ("]),
        (lambda *x: x, ["takes *x", "<lambda> ("]),
        (None, ["the Depends() of 'a'", "names no function", "<lambda> ("]),
    ],
)
def test_a_dependency_that_cannot_be_is_named_with_who_asks(fn: Any, words: list[str]) -> None:
    with pytest.raises(SignatureError) as raised:
        App().get("/here")(lambda a=Depends(fn): a)
    sentence = str(raised.value)
    assert [
        word for word in [*words, "for GET /here", "test_typed_dependencies.py:"] if word not in sentence
    ] == []


def test_two_markers_of_one_function_are_equal_and_not_unequal() -> None:
    once, again = Depends(sorted), Depends(sorted, use_cache=False)
    assert once == again
    assert not once != again  # noqa: SIM202
    assert once != Depends(len)
