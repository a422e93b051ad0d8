"""From a signature to its arguments."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from weebill import App, Request
from weebill.binding import bind_hook, parameters
from weebill.errors import SignatureError
from weebill.functions import describe, is_async, is_generator
from weebill.injection import bind_handler
from weebill.routing import CONVERTERS
from weebill.server.memory import MemoryExchange

if TYPE_CHECKING:
    from weebill import Response


def request_for(**params: Any) -> Request:
    exchange = MemoryExchange("GET", "/")
    exchange.params = params
    return Request(exchange, None)


def called(handler: Callable[..., Any], *names: str, **params: Any) -> Any:
    converters = dict.fromkeys(names, CONVERTERS["str"])
    return bind_handler(handler, converters, "for GET /").call(request_for(**params))


class MyRequest(Request):
    pass


class Thing:
    name: int  # is no annotation of the call

    def __call__(self, request: Request, name: str) -> list[Any]:
        return [type(request), name]


class WithMethods:
    def method(self, name: str) -> str:
        return name

    @classmethod
    def of_class(cls, name: str) -> str:
        return name

    @staticmethod
    def static(name: str) -> str:
        return name


def test_a_handler_gets_what_its_signature_names() -> None:
    assert called(lambda: "nothing") == "nothing"
    assert called(lambda: "nothing", "unused", unused="x") == "nothing"
    assert isinstance(called(lambda request: request), Request)
    assert called(lambda a, b: [a, b], "a", "b", a=1, b=2) == [1, 2]
    assert called(lambda b, a: [a, b], "a", "b", a=1, b=2) == [1, 2]
    assert called(lambda b: b, "a", "b", a=1, b=2) == 2
    assert called(lambda a, request: [a, type(request)], "a", a=1) == [1, Request]


def test_the_request_is_known_by_its_name_or_by_its_type() -> None:
    def by_type(req: Request, name: str) -> list[Any]:
        return [type(req), name]

    def by_string(anything: "Request") -> type:  # noqa: UP037
        return type(anything)

    def by_subclass(mine: MyRequest) -> type:
        return type(mine)

    def keyword_only(*, request: Any = None, name: str) -> str:
        return name

    assert called(by_type, "name", name="ann") == [Request, "ann"]
    assert called(by_string) is Request
    assert called(by_subclass) is Request
    assert called(keyword_only, "name", name="ann") == "ann"


def test_a_parameter_called_request_may_be_one_of_the_path() -> None:
    def handler(request: str) -> str:
        return request

    assert called(handler, "request", request="of the path") == "of the path"


def test_defaults_are_honoured_and_two_stars_passed_over() -> None:
    def handler(name: str, size: int = 5, **kwargs: Any) -> list[Any]:
        return [name, size, kwargs]

    assert called(handler, "name", name="a") == ["a", 5, {}]
    assert called(handler, "name", "size", name="a", size="7") == ["a", 7, {}]


def test_every_kind_of_callable_is_a_handler() -> None:
    thing = WithMethods()
    for handler in (thing.method, thing.of_class, WithMethods.static):
        assert called(handler, "name", name="ann") == "ann"
    assert called(Thing(), "name", name="ann") == [Request, "ann"]

    def two(greeting: str, name: str) -> str:
        return f"{greeting} {name}"

    assert called(functools.partial(two, "hi"), "name", name="ann") == "hi ann"
    assert called(functools.partial(two, name="bob"), "greeting", greeting="hi") == "hi bob"

    @functools.wraps(two)
    def wrapper(**kwargs: Any) -> str:
        return two(**kwargs).upper()

    assert called(wrapper, "greeting", "name", greeting="hi", name="ann") == "HI ANN"


@pytest.mark.parametrize(
    ("handler", "fault"),
    [
        (lambda name: name, "nothing fills the parameter 'name'"),
        (lambda request, other: other, "nothing fills the parameter 'other'"),
        (eval("lambda name, /: name"), "takes 'name' by position only"),
    ],
)
def test_a_parameter_that_nothing_fills_is_named_with_handler_file_and_route(
    handler: Callable[..., Any], fault: str
) -> None:
    with pytest.raises(SignatureError) as raised:
        App().get("/here/{x:int}")(handler)
    sentence = str(raised.value)
    assert fault in sentence
    assert "<lambda> (" in sentence
    assert "/here/{x:int}" in sentence
    assert "\n" not in sentence


def test_an_annotation_that_cannot_be_resolved_is_named() -> None:
    def handler(name: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
        pass

    with pytest.raises(SignatureError, match=r"handler \(.*test_binding.py:\d+\).*Nowhere"):
        App().get("/{name}")(handler)


def test_the_annotation_of_the_result_may_be_for_type_checkers_only() -> None:
    def handler(request: Request) -> Response:
        return request  # type: ignore[return-value]

    assert isinstance(called(handler), Request)


def test_what_cannot_be_called_is_no_handler() -> None:
    with pytest.raises(SignatureError, match="the handler of '/' is 'text', which cannot be called"):
        App().add_route("/", "text")  # type: ignore[arg-type]


def test_a_hook_takes_the_request_and_one_value_in_any_order() -> None:
    request = request_for()
    for hook, expected in (
        (lambda: "none", "none"),
        (lambda request: type(request), Request),
        (lambda response: response, "value"),
        (lambda request, error: [type(request), error], [Request, "value"]),
        (lambda whatever, request: [type(request), whatever], [Request, "value"]),
        (lambda value, more=5: [value, more], ["value", 5]),
    ):
        assert bind_hook(hook, "response", "as a hook")(request, "value") == expected


def test_a_hook_is_called_in_whatever_way_it_takes_its_arguments() -> None:
    def hook(request: Request, response: Any) -> list[Any]:
        return [type(request), response]

    @functools.wraps(hook)
    def by_name(**arguments: Any) -> Any:
        return hook(arguments["request"], arguments["response"])

    @functools.wraps(hook)
    def partly(request: Request, *arguments: Any, **named: Any) -> Any:
        assert not arguments
        return hook(request, **named)

    class Hooks:
        def method(self, request: Request, response: Any) -> Any:
            return hook(request, response)

        def __call__(self, *, response: Any, request: Request) -> Any:
            return hook(request, response)

    for one in (
        by_name,
        partly,
        Hooks().method,
        Hooks(),
        functools.partial(Hooks.method, Hooks()),
        lambda request, other=5, *, response: hook(request, response if other == 5 else other),
    ):
        assert bind_hook(one, "response", "as a hook")(request_for(), "value") == [Request, "value"], one


def test_a_hook_that_wants_more_is_refused() -> None:
    with pytest.raises(SignatureError, match=r"takes a, b as a hook; it may take request and response only"):
        bind_hook(lambda a, b: None, "response", "as a hook")
    with pytest.raises(SignatureError, match="takes a as a hook; it may take request only"):
        bind_hook(lambda a: None, "", "as a hook")


def test_describe_names_function_file_and_line() -> None:
    def handler() -> None: ...

    line = handler.__code__.co_firstlineno

    expected = f"test_describe_names_function_file_and_line.<locals>.handler ({__file__}:{line})"
    assert describe(handler) == expected
    assert describe(functools.partial(handler)) == expected
    assert describe(len) == "len"


def test_what_kind_of_function_a_handler_is_shows_through_its_wrappers() -> None:
    async def coroutine() -> None: ...

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    def generator() -> Iterator[int]:
        yield 1

    class AsyncCallable:
        async def __call__(self) -> None: ...

    assert [is_async(f) for f in (coroutine, async_generator, generator, len)] == [True, True, False, False]
    assert is_async(functools.partial(coroutine))
    assert is_async(AsyncCallable())
    assert [is_generator(f) for f in (coroutine, async_generator, generator)] == [False, True, True]
    assert is_generator(functools.partial(generator))


def test_parameters_have_their_annotations_resolved() -> None:
    def handler(a: "int", b: list[str], c=5) -> None: ...  # type: ignore[no-untyped-def]  # noqa: UP037

    found = parameters(handler)
    assert [(p.name, p.annotation) for p in found[:2]] == [("a", int), ("b", list[str])]
    assert (found[2].has_default, found[2].default) == (True, 5)
    assert not found[0].has_default
