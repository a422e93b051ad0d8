"""JSON content as an argument, and how strictly JSON is read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from test_typed_values import Colour, faults

from weebill import App, Depends, Meta, Request, ValidationError
from weebill.faults import MAX_LOOKED_AT, find_faults
from weebill.testing import Result, TestClient

T = TypeVar("T")


class Item(msgspec.Struct):
    name: str
    price: Annotated[float, Meta(ge=0)] = 0.0
    colour: Colour = Colour.RED


class Order(msgspec.Struct, rename="camel"):
    line_items: list[Item]
    note: str | None = None


class Box(msgspec.Struct, Generic[T]):
    value: T


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: int = 1


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    age: int


@dataclass
class Node:
    value: int
    label: str = "leaf"
    children: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.value == 13:
            raise ValueError("13 brings bad luck")


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Pair(TypedDict):
    a: int
    b: NotRequired[Annotated[int, Meta(le=9)]]


class Model(pydantic.BaseModel):
    name: str
    sizes: list[int] = []

    @pydantic.field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        if name == "no":
            raise ValueError("must not be no")
        return name


def app_with(annotation: Any, default: Any = ..., **options: Any) -> App:
    app = App()

    def handler(data: Any) -> dict[str, str]:
        return {"got": repr(data)}

    handler.__annotations__["data"] = annotation
    if default is not ...:
        handler.__defaults__ = (default,)
    app.route("/", ["POST", "PUT", "DELETE"], **options)(handler)
    return app


def send(annotation: Any, content: Any, default: Any = ..., **options: Any) -> Result:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    options = {"headers": {"content-type": "application/json"}, **options}
    return TestClient(app_with(annotation, default)).post("/", content=body, **options)


# -- what is made of it


@pytest.mark.parametrize(
    ("annotation", "content", "value"),
    [
        (Item, {"name": "a", "colour": "blue", "more": 1}, Item("a", 0.0, Colour.BLUE)),
        (Order, {"lineItems": [{"name": "a"}]}, Order([Item("a")])),
        (Box[int], {"value": 1}, Box(1)),
        (Cat | Dog, {"type": "dog", "age": 3}, Dog(3)),
        (Node, {"value": 1, "children": [{"value": 2}]}, Node(1, "leaf", [Node(2)])),
        (Point, [1, 2], Point(1, 2.0)),
        (Pair, {"a": 1, "c": 2}, {"a": 1}),
        (dict, {"a": [1, None]}, {"a": [1, None]}),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (dict[int, float], {"1": 1}, {1: 1.0}),
        (list, [1, "a"], [1, "a"]),
        (list[Item], [{"name": "a"}], [Item("a")]),
        (list[dict[str, Any]], [{"a": 1}], [{"a": 1}]),
        (list[list[int]], [[1]], [[1]]),
        (Item | None, None, None),
        (Model, {"name": "a", "sizes": [1]}, Model(name="a", sizes=[1])),
        (list[Model], [{"name": "a"}], [Model(name="a")]),
        (Model | None, None, None),
    ],
)
def test_classes_and_containers_are_the_json_content(annotation: Any, content: Any, value: Any) -> None:
    assert send(annotation, content).json() == {"got": repr(value)}


def test_a_dataclass_has_its_defaults_when_it_is_sent_on() -> None:
    app = App()

    @app.post("/")
    async def echo(node: Node) -> Node:
        return node

    answer = TestClient(app).post("/", json={"value": 1, "children": [{"value": 2}]})
    leaf = {"value": 2, "label": "leaf", "children": []}
    assert answer.json() == {"value": 1, "label": "leaf", "children": [leaf]}


def test_content_goes_along_with_all_other_parameters() -> None:
    app = App()

    @app.put("/{id}")
    async def change(id: int, item: Item, request: Request, dry: bool = False) -> list[Any]:  # noqa: A002
        return [id, item, request.method, dry]

    answer = TestClient(app).put("/3?dry=yes", json={"name": "a"})
    assert answer.json() == [3, {"name": "a", "price": 0.0, "colour": "red"}, "PUT", True]


def test_content_that_is_not_there_is_missing_the_default_or_none() -> None:
    assert faults(send(Item, b"")) == {"body": "missing"}
    assert send(Item, b"", Item("b")).json() == {"got": repr(Item("b"))}
    assert send(Item | None, b"").json() == {"got": "None"}
    assert TestClient(app_with(Item | None)).delete("/").json() == {"got": "None"}


# -- its faults


@pytest.mark.parametrize(
    ("annotation", "content", "found"),
    [
        (Item, [], {"body": "expected object, got array"}),
        (Item, None, {"body": "expected object, got null"}),
        (Item, {}, {"body.name": "missing"}),
        (
            Item,
            {"name": 5, "price": -1, "colour": "green"},
            {
                "body.name": "expected str, got 5",
                "body.price": "expected float >= 0, got -1",
                "body.colour": 'expected one of "red", "blue", got "green"',
            },
        ),
        (Item, {"name": "a", "price": "1"}, {"body.price": 'expected float, got "1"'}),
        (Item, {"name": True}, {"body.name": "expected str, got true"}),
        (
            Order,
            {"lineItems": [{"name": "a"}, {"name": 1}, {"price": {}}, 7], "note": 5},
            {
                "body.lineItems[1].name": "expected str, got 1",
                "body.lineItems[2].name": "missing",
                "body.lineItems[2].price": "expected float, got object",
                "body.lineItems[3]": "expected object, got 7",
                "body.note": "expected str | null, got 5",
            },
        ),
        (Box[int], {"value": "x"}, {"body.value": 'expected int, got "x"'}),
        (Strict, {"a": 1, "b": 2, "c": 3}, {"body.b": "unknown", "body.c": "unknown"}),
        (Cat | Dog, {"type": "dog", "age": "x"}, {"body.age": 'expected int, got "x"'}),
        (Cat | Dog, {"type": "cow"}, {"body.type": "invalid value"}),
        (Cat | Dog, {"age": 1}, {"body.type": "missing"}),
        (
            Node,
            {"value": 1, "children": [{"value": 13}, {"value": "x"}, {}]},
            {
                "body.children[0]": "13 brings bad luck",
                "body.children[1].value": 'expected int, got "x"',
                "body.children[2].value": "missing",
            },
        ),
        (Point, ["a", "b"], {"body[0]": 'expected int, got "a"', "body[1]": 'expected float, got "b"'}),
        (Pair, {"b": 10}, {"body.a": "missing", "body.b": "expected int <= 9, got 10"}),
        (dict[str, int], {"a": "x", "b": 1}, {"body.a": 'expected int, got "x"'}),
        (dict[int, int], {"a": 1}, {"body": "a key: expected int"}),
        (list[Item], [{"name": 1}, {}], {"body[0].name": "expected str, got 1", "body[1].name": "missing"}),
        (Box[int], b'{"value": 1e999}', {"body.value": "number out of range"}),
        (Box[int], b'{"value": 1.5}', {"body.value": "expected int, got 1.5"}),
        (Box[int], b'{"value": "%s"}' % (b"9" * 200), {"body.value": f'expected int, got "{"9" * 40}..."'}),
        (Box[str], {"value": 9**200}, {"body.value": "expected str, got a number of many digits"}),
        (Box[int], b'{"value": %s}' % (b"9" * 1_000_000), {"body.value": "integer value out of range"}),
        (
            Model,
            {"name": "no", "sizes": [1, "x"]},
            {
                "body.name": 'value error, must not be no, got "no"',
                "body.sizes[1]": "input should be a valid integer, unable to parse string as an integer, got "
                '"x"',
            },
        ),
        (Model, {}, {"body.name": "missing"}),
        (list[Model], [{"name": "a"}, 3], {"body[1]": "input should be an object, got 3"}),
    ],
)  # fmt: skip
def test_every_fault_of_the_content_is_told_with_its_place(
    annotation: Any, content: Any, found: dict[str, str]
) -> None:
    assert faults(send(annotation, content)) == found


def test_faults_of_content_and_of_other_parameters_are_told_together() -> None:
    app = App()

    @app.post("/{id}")
    def handler(id: int, item: Item, limit: int) -> None: ...  # noqa: A002

    assert faults(TestClient(app).post("/x?limit=y", json={"price": -1})) == {
        "path.id": 'expected int, got "x"',
        "body.name": "missing",
        "body.price": "expected float >= 0, got -1",
        "query.limit": 'expected int, got "y"',
    }


def test_a_hundred_faults_are_told_of_a_million() -> None:
    assert len(faults(send(list[Item], [{"name": 1}] * 5000))) == 100
    answer = send(Model, {"name": "a", "sizes": ["x"] * 20_000})
    assert faults(answer) == {"body": "20000 values do not fit"}


def test_a_fault_that_lies_far_behind_is_found_by_its_place_alone() -> None:
    answer = send(list[Item], [{"name": "a"}] * 20_000 + [{"name": 1}, {"name": 2}])
    assert faults(answer) == {"body[20000].name": "expected str"}


def test_long_names_of_the_client_are_cut() -> None:
    assert faults(send(dict[str, int], {"k" * 1000: "x"})) == {f"body.{'k' * 40}...": 'expected int, got "x"'}
    answer = send(Cat | Dog, {"type": "x" * 10_000})
    assert len(answer.content) < 500


def test_a_program_raises_faults_of_its_own() -> None:
    app = App()

    @app.post("/")
    async def handler(item: Item) -> None:
        raise ValidationError([("body.name", "is taken")])

    assert faults(TestClient(app).post("/", json={"name": "a"})) == {"body.name": "is taken"}


def test_an_error_handler_words_the_faults() -> None:
    app = app_with(Item)

    @app.errorhandler(ValidationError)
    def words(error: ValidationError) -> dict[str, Any]:
        return {"wrong": [fault.place for fault in error.errors]}

    answer = TestClient(app).post("/", json={"price": -1})
    assert (answer.status_code, answer.json()) == (422, {"wrong": ["body.name", "body.price"]})


# -- media types


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.api+json",
        "application/ld+json; a=b",
    ],
)
def test_json_of_any_kind_is_read(kind: str) -> None:
    assert send(Item, {"name": "a"}, headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
        "text/x+json",
        "",
    ],
)
def test_content_of_another_media_type_is_415(kind: str) -> None:
    answer = send(Item, {"name": "a"}, headers={"content-type": kind} if kind else {"content-type": " "})
    assert answer.status_code == 415
    assert answer.headers["accept"] == "application/json"
    assert "application/json" in answer.json()["detail"]


def test_content_without_a_media_type_is_415(serve: Callable[[Any], Any]) -> None:
    answer = serve(app_with(Item)).post("/", content=b'{"name": "a"}')
    assert answer.status_code == 415
    assert (
        answer.json()["detail"] == "The content must be application/json, with a Content-Type that says so."
    )


# -- strict JSON


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{", "it ends too early at line 1, column 2"),
        (b'{"name": "a",\n "price": NaN}', "invalid character at line 2, column 11"),
        (b'{"name": Infinity}', "invalid character at line 1, column 10"),
        ('{"name":\n"ü", ü}'.encode(), "object keys must be strings at line 2, column 6"),
        (b'{"name": "a"} x', "trailing characters at line 1, column 15"),
        (b'{"name": "\xff"}', "it is not UTF-8 at line 1, column 11"),
        (b"{'name': 1}", "object keys must be strings at line 1, column 2"),
        ('{"name": "a"}'.encode("utf-16"), "invalid character at line 1, column 1"),
        (b"\xef\xbb\xbf{}", "invalid character at line 1, column 1"),
        (b'{"name": 5, "price": }', "invalid character at line 1, column 22"),
    ],
)
@pytest.mark.parametrize("annotation", [Item, Model, dict])
def test_malformed_json_is_400_with_line_and_column(annotation: Any, content: bytes, detail: str) -> None:
    answer = send(annotation, content)
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"The content is not JSON: {detail}."


@pytest.mark.parametrize("content", [b" ", b"\n\n"])
def test_blank_content_is_named(content: bytes) -> None:
    answer = send(Item, content)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The content is empty, and no JSON.")


@pytest.mark.parametrize("annotation", [Item, Model, dict, list, Node, "request"])
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"name":"a","x":' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"a":[' * 33 + b"1" + b"]}" * 33,
        b'["]]]]", ' * 65 + b"1" + b"]" * 65,
    ],
)  # fmt: skip
def test_json_beyond_64_levels_is_400(annotation: Any, content: bytes) -> None:
    if annotation == "request":
        app = App()
        app.post("/")(lambda request: request.json())
    else:
        app = app_with(annotation)
    answer = TestClient(app).post("/", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "64 levels" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 64 + b"]" * 64,
        b"[" + b"[]," * 1000 + b"[]]",
        b'["' + b"[{" * 1000 + b'"]',
        b'["\\\\", "' + b'\\"[' * 1000 + b'"]',
    ],
)
def test_brackets_side_by_side_and_in_strings_are_no_levels(content: bytes) -> None:
    assert send(list, content).json() == {"got": repr(json.loads(content))}


def test_numbers_of_any_length_are_no_500() -> None:
    app = App()
    app.post("/")(lambda request: repr(request.json()))
    for number in (b"9" * 1_000_000, b"1e999999", b"-1e999999", b"1." + b"9" * 1_000_000):
        assert TestClient(app).post("/", content=number).status_code in (200, 400)
        assert send(dict[str, float], b'{"a": %s}' % number).status_code in (200, 422)
        assert send(dict, b'{"a": %s}' % number).status_code in (200, 400, 422)


def test_of_equal_names_the_last_counts() -> None:
    assert send(dict, b'{"a": 1, "a": 2}').json() == {"got": "{'a': 2}"}
    assert send(Item, b'{"name": "a", "name": "b"}').json() == {"got": repr(Item("b"))}


def test_large_content_is_read_from_its_file() -> None:
    answer = send(list[Item], [{"name": "x" * 1000}] * 3000)
    assert (answer.status_code, len(answer.content) > 3_000_000) == (200, True)


def test_content_of_50_000_integer_like_names_is_read_at_once() -> None:
    answer = send(dict[str, int], {str(n * 2**61): n for n in range(50_000)})
    assert answer.status_code == 200


def test_no_more_of_an_object_is_looked_at_than_of_a_list() -> None:
    class Counted(dict[str, Any]):
        looked_at = 0

        def items(self) -> Any:
            for pair in super().items():
                self.looked_at += 1
                yield pair

    counted = Counted((str(n), 1) for n in range(3 * MAX_LOOKED_AT))
    assert find_faults(counted, dict[str, int], "body") == []
    assert counted.looked_at <= MAX_LOOKED_AT


def test_unknown_fields_are_told_in_their_order() -> None:
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        a: int

    value = {"a": 1, **{f"b{n}": n for n in range(1000)}}
    assert [fault.place for fault in find_faults(value, Strict, "body")] == [f"body.b{n}" for n in range(100)]


class Where(msgspec.Struct):
    text: str
    thread: str = ""

    def __post_init__(self) -> None:
        self.thread = threading.current_thread().name


@pytest.mark.parametrize("depends", [False, True])
def test_long_content_is_read_in_a_thread_and_does_not_hold_up_the_loop(depends: bool) -> None:
    app = App()

    async def nothing() -> None: ...

    if depends:

        @app.post("/")
        async def with_dependency(where: Where, _: Annotated[None, Depends(nothing)]) -> str:
            return where.thread
    else:

        @app.post("/")
        async def without(where: Where) -> str:
            return where.thread

    client = TestClient(app)
    assert not client.post("/", json={"text": "short"}).text.startswith("weebill-worker")
    assert client.post("/", json={"text": "x" * (1 << 19)}).text.startswith("weebill-worker")
    assert client.post("/", json={"text": ["x" * (1 << 19)]}).status_code == 422
