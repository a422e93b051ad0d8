"""A signature that cannot be filled is refused at registration, in one sentence that says what to do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import annotated_types
import fastapi
import msgspec
import pydantic
import pytest

from weebill import App, Cookie, Depends, File, Form, Header, Query, Request, Router
from weebill.errors import SignatureError
from weebill.testing import TestClient

T = TypeVar("T")


class Item(msgspec.Struct):
    name: str


class Other(msgspec.Struct):
    name: str


class Deep(msgspec.Struct):
    item: Item


class Database:
    pass


class Holds(msgspec.Struct):
    database: Database


class Broken(msgspec.Struct):
    nowhere: Nowhere  # type: ignore[name-defined]  # noqa: F821


@dataclass
class WithUnion:
    value: Item | Other


class Model(pydantic.BaseModel):
    name: str


def limited(limit: int = 1) -> int:
    return limit


def asks(**annotations: Any) -> Callable[..., Any]:
    """A handler with these parameters."""
    source = f"def handler({', '.join(annotations)}): ..."
    scope: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), scope)
    handler: Callable[..., Any] = scope["handler"]
    handler.__annotations__.update(annotations)
    return handler


def forgetful(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def careful(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(function)(forgetful(function))


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (lambda x: x, ["nothing fills the parameter 'x'", "`: str` is the query"]),
        (asks(x=Any), ["'x'", "Any is no part of a request", "Depends(...)"]),
        (asks(x=Database), ["'x'", "Database is no type that is known here", "Depends(...)"]),
        (asks(x=list[Database]), ["'x'", "Database is no type"]),
        (asks(x=bytes), ["'x'", "`request.body`"]),
        (asks(x=Item, y=Other), ["'y'", "is the content, as 'x' is", "into one class"]),
        (asks(x=Item, y=dict), ["'y'", "is the content, as 'x' is"]),
        (asks(x=Holds), ["'x'", "cannot be read", "Database"]),
        (asks(x=Broken), ["'x'", "cannot be read", "Nowhere"]),
        (asks(x=WithUnion), ["'x'", "cannot be read", "must be tagged"]),
        (asks(x=dict[str, Callable[..., Any]]), ["'x'", "cannot be read"]),
        (asks(x=Item | int), ["'x'", "is no part of a request"]),
        (asks(id=Item), ["'id'", "cannot be Item", "text of the path"]),
        (asks(id=list[int]), ["'id'", "cannot be list", "text of the path"]),
        (asks(id=Annotated[int, Query()]), ["'id'", "the path has a {id} too"]),
        (asks(id=Annotated[int, Header("x-id")]), ["'id'", "marked as a part of the header"]),
        (asks(x=Annotated[Deep, Query()]), ["'x'", "cannot be Deep of the query", "plain values"]),
        (asks(x=Annotated[dict[str, str], Header()]), ["'x'", "of the header"]),
        (asks(x=Annotated[Item, Query("name")]), ["'x'", "without a name"]),
        (asks(x=Annotated[str, File()]), ["'x'", "is a file", "UploadFile"]),
        (asks(x=Item, y=Annotated[str, Form()]), ["'x'", "is JSON content", "'y'", "a form"]),
        (
            asks(x=Annotated[str, Form()], y=Annotated[Model, Depends(asks(z=Item))]),
            ["'x'", "'z'", "one or other"],
        ),
        (asks(x=Annotated[Item, Depends(limited)] | None), ["'x'", "inside of its type", "around the whole"]),
        (asks(x=list[Annotated[Item, Depends(limited)]]), ["'x'", "inside of its type"]),
        (asks(x=Annotated[int, Query("y")] | None), ["'x'", "marked inside of its type", "around the whole"]),
        (asks(x=list[Annotated[str, Header()]]), ["'x'", "marked inside of its type"]),
        (lambda *args: args, ["takes *args", "functools.wraps"]),
        (forgetful(lambda x: x), ["takes *args", "functools.wraps"]),
    ],
)
def test_what_cannot_be_filled_is_named_with_handler_file_and_route(
    handler: Callable[..., Any], words: list[str]
) -> None:
    with pytest.raises(SignatureError) as raised:
        App().post("/here/{id}")(handler)
    sentence = str(raised.value)
    expected = [*words, "test_typed_mistakes.py:", "for POST /here/{id}"]
    assert [word for word in expected if word not in sentence] == [], sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("methods", [["GET"], ["GET", "HEAD"]])
@pytest.mark.parametrize("annotation", [Item, dict, list[Item], Model, Annotated[str, Form()]])
def test_content_is_refused_on_a_route_that_has_none(annotation: Any, methods: list[str]) -> None:
    with pytest.raises(SignatureError, match=r"'x' of handler .* for GET.*has none.*Query\(\).*POST"):
        App().route("/", methods)(asks(x=annotation))


def test_content_is_allowed_where_another_method_has_it() -> None:
    App().route("/", ["GET", "POST"])(asks(x=Item))
    App().route("/", ["DELETE"])(asks(x=Item))


def test_content_is_refused_where_the_handler_reads_it_itself() -> None:
    with pytest.raises(SignatureError, match=r"'x' of handler .* stream=True leaves to `request.stream\(\)`"):
        App().post("/", stream=True)(asks(x=Item))


def test_the_same_is_found_in_a_dependency_and_in_a_router_that_is_taken_in() -> None:
    router = Router("/api")
    router.get("/")(asks(x=Annotated[Any, Depends(asks(y=Item))]))
    with pytest.raises(
        SignatureError, match=r"'y' of handler .* as a dependency of handler .* for GET /api/"
    ):
        App().include(router)


@pytest.mark.parametrize("marker", [Query, Header, Cookie, Form, File])
def test_a_default_in_the_place_of_a_name_is_refused(marker: Any) -> None:
    with pytest.raises(
        SignatureError, match=rf"{marker.__name__}\(10\): .* write {marker.__name__}\(default=...\)"
    ):
        marker(10)


Positive = Annotated[int, annotated_types.Gt(0)]


class Narrow(msgspec.Struct):
    grams: Annotated[float, pydantic.Field(gt=0)]


@dataclass
class Narrowed:
    grams: float = pydantic.Field(gt=0)


class Box(msgspec.Struct, Generic[T]):
    inside: T


def depends_on_fastapi(user: str = fastapi.Depends(limited)) -> None: ...


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (asks(x=Annotated[str, fastapi.Depends(limited)]), ["'x'", "Depends of fastapi", "from weebill"]),
        (depends_on_fastapi, ["'user'", "Depends of fastapi", "from weebill"]),
        (asks(x=Annotated[str, Depends(depends_on_fastapi)]), ["'user'", "Depends of fastapi"]),
        (asks(x=Annotated[int, fastapi.Query(ge=1)]), ["'x'", "Query of fastapi"]),
        (asks(x=Annotated[int, pydantic.Field(ge=1)]), ["'x'", "FieldInfo of pydantic", "Meta(...)"]),
        (asks(x=Positive), ["'x'", "Gt of annotated_types", "Meta(...)"]),
        (asks(x=list[Positive] | None), ["'x'", "Gt of annotated_types"]),
        (asks(x=Narrow), ["'x'", "its field 'grams' has FieldInfo of pydantic"]),
        (asks(x=list[Narrowed]), ["'x'", "its field 'grams' has FieldInfo of pydantic"]),
        (asks(x=Box[Narrow]), ["'x'", "its field 'grams' has FieldInfo of pydantic"]),
    ],
)
def test_what_only_another_framework_reads_is_refused_and_not_passed_over(
    handler: Callable[..., Any], words: list[str]
) -> None:
    with pytest.raises(SignatureError) as refused:
        App().route("/", methods=["POST"])(handler)
    assert [word for word in words if word not in str(refused.value)] == []


def test_values_of_other_libraries_may_be_defaults() -> None:
    app = App()
    sesame = pydantic.SecretStr("sesame")

    @app.get("/")
    def index(secret: Any = sesame) -> str:
        return str(secret)

    assert TestClient(app).get("/").text == "**********"


def test_content_may_be_generic_and_of_pydantic() -> None:
    class Strict(pydantic.BaseModel):
        grams: float = pydantic.Field(gt=0)

    app = App()

    @app.post("/box")
    def box(x: Box[Item]) -> str:
        return x.inside.name

    @app.post("/strict")
    def strict(x: Strict) -> str:
        return str(x.grams)

    client = TestClient(app)
    assert client.post("/box", json={"inside": {"name": "a"}}).text == "a"
    assert client.post("/strict", json={"grams": 6}).text == "6.0"
    assert client.post("/strict", json={"grams": 0}).status_code == 422


def test_what_nothing_fills_but_has_a_default_is_left_to_it() -> None:
    def handler(database: Database = None, request: Request = None, x: Any = 5, **more: Any) -> None: ...  # type: ignore[assignment]

    App().get("/")(handler)


def test_a_decorator_that_wraps_is_seen_through() -> None:
    App().get("/{x}")(careful(lambda x: x))


def test_a_text_annotation_may_name_what_the_function_around_has() -> None:
    class Local(msgspec.Struct):
        name: str

    def make_app() -> App:
        def limit(limit: int = 1) -> int:
            return limit

        app = App()

        @app.post("/")
        def handler(item: Local, n: Annotated[int, Depends(limit)]) -> list[Any]:
            return [item.name, n]

        return app

    client = TestClient(make_app())  # it is composed when that function has ended
    assert client.post("/?limit=2", json={"name": "a"}).json() == ["a", 2]


def test_a_name_of_a_function_in_a_text_annotation_is_explained() -> None:
    def handler_of_local() -> Callable[..., Any]:
        class Local(msgspec.Struct):
            name: str

        def handler(item: Local) -> None: ...

        return handler

    with pytest.raises(SignatureError, match=r"'Local' is not defined .it must be one of the module"):
        App().post("/")(handler_of_local())


def test_the_whole_signature_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()

    @app.post("/{number}")
    def handler(
        number: int, item: Item, n: Annotated[int, Depends(limited)], q: list[int], t: str = Header("t")
    ) -> Any:
        return [number, item.name, n, q, t]

    client = TestClient(app)
    assert client.post("/1?q=2", json={"name": "a"}, headers={"t": "b"}).json() == [1, "a", 1, [2], "b"]

    def too_late(*_: Any, **__: Any) -> Any:
        raise AssertionError("a signature is read while a request is answered")

    for name in ("inspect.signature", "weebill.binding.get_type_hints", "weebill.annotations.get_type_hints"):
        monkeypatch.setattr(name, too_late)
    monkeypatch.setattr("msgspec.json.Decoder", too_late)
    assert client.post("/1?q=2", json={"name": "a"}, headers={"t": "b"}).json() == [1, "a", 1, [2], "b"]
