"""What a handler's annotations make of the path, the query, the fields and the cookies of a request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from functools import wraps
from typing import Annotated, Any, Literal, NewType, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from weebill import App, Cookie, Form, Header, Meta, Query, Request
from weebill.testing import Result, TestClient


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


Pence = NewType("Pence", int)


def ask(handler: Callable[..., Any], target: str = "/", path: str = "/", **options: Any) -> Result:
    app = App()
    app.get(path)(handler)
    return TestClient(app).get(target, **options)


def faults(answer: Result) -> dict[str, str]:
    """The faults of an answer, by place."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {fault["place"]: fault["message"] for fault in answer.json()["errors"]}


def echo(annotation: Any, default: Any = ...) -> Callable[..., Any]:
    """A handler with one parameter, `x`."""

    def handler(x: Any) -> dict[str, str]:
        return {"got": repr(x)}

    handler.__annotations__["x"] = annotation
    if default is not ...:
        handler.__defaults__ = (default,)
    return handler


# -- the query


@pytest.mark.parametrize(
    ("annotation", "query", "value"),
    [
        (str, "x=a%20b", "a b"),
        (str, "x=", ""),
        (int, "x=-17", -17),
        (int, "x=" + "9" * 50, int("9" * 50)),
        (float, "x=1.5e3", 1500.0),
        (bool, "x=true", True),
        (bool, "x=0", False),
        (bool, "x=on", True),
        (bool, "x=No", False),
        (Colour, "x=blue", Colour.BLUE),
        (Size, "x=2", Size.LARGE),
        (Literal["a", "b"], "x=b", "b"),
        (Literal[1, 2], "x=2", 2),
        (dt.date, "x=2026-01-31", dt.date(2026, 1, 31)),
        (dt.datetime, "x=2026-01-31T12:30:00Z", dt.datetime(2026, 1, 31, 12, 30, tzinfo=dt.UTC)),
        (dt.datetime, "x=2026-01-31T12:30", dt.datetime(2026, 1, 31, 12, 30)),
        (dt.time, "x=12:30", dt.time(12, 30)),
        (dt.timedelta, "x=PT90S", dt.timedelta(seconds=90)),
        (UUID, "x=12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        (Decimal, "x=0.10", Decimal("0.10")),
        (Pence, "x=5", 5),
        (int | None, "x=5", 5),
        (int | str, "x=five", "five"),
        (list[int], "x=1&x=2", [1, 2]),
        (list[str], "x=a", ["a"]),
        (set[Colour], "x=red&x=red", {Colour.RED}),
        (tuple[int, ...], "x=1&x=2", (1, 2)),
        (tuple[int, str], "x=1&x=2", (1, "2")),
        (list[bool], "x=on&x=off", [True, False]),
        (list[int] | None, "x=1", [1]),
        (Annotated[int, Meta(ge=1, le=9)], "x=9", 9),
        (Annotated[str, Query("other-name")], "other-name=a", "a"),
        (Annotated[list[int], Query("n[]")], "n[]=1&n[]=2", [1, 2]),
    ],
)
def test_a_plain_annotation_is_a_value_of_the_query(annotation: Any, query: str, value: Any) -> None:
    answer = ask(echo(annotation), f"/?{query}")
    assert answer.json() == {"got": repr(value)}


@pytest.mark.parametrize(
    ("annotation", "query", "message"),
    [
        (int, "x=x", 'expected int, got "x"'),
        (int, "x=", 'expected int, got ""'),
        (int, "x=1_0", 'expected int, got "1_0"'),
        (int, "x=%D9%A3", 'expected int, got "٣"'),
        (int, "x=" + "9" * 5000, f'integer value out of range, got "{"9" * 40}..."'),
        (float, "x=nan", 'expected a finite number, got "nan"'),
        (float, "x=-Infinity", 'expected a finite number, got "-Infinity"'),
        (float, "x=1e999", 'number out of range, got "1e999"'),
        (Decimal, "x=NaN", 'expected a finite number, got "NaN"'),
        (Decimal, "x=x", 'expected decimal number, got "x"'),
        (bool, "x=maybe", 'expected bool, got "maybe"'),
        (Colour, "x=green", 'expected one of "red", "blue", got "green"'),
        (Size, "x=3", 'expected one of 1, 2, got "3"'),
        (Literal["a", "b"], "x=c", 'expected one of "a", "b", got "c"'),
        (dt.date, "x=x", 'expected date like 2026-01-31, got "x"'),
        (dt.timedelta, "x=x", 'expected duration like PT90S, got "x"'),
        (UUID, "x=x", 'expected UUID, got "x"'),
        (int | None, "x=x", 'expected int | null, got "x"'),
        (Annotated[int, Meta(ge=1)], "x=0", 'expected int >= 1, got "0"'),
        (Annotated[float, Meta(gt=0)], "x=0", 'expected float > 0, got "0"'),
        (Annotated[str, Meta(max_length=2)], "x=abc", 'expected str of length <= 2, got "abc"'),
        (Annotated[list[int], Meta(max_length=1)], "x=1&x=2", "expected array of length <= 1, got array"),
        (tuple[int, str], "x=1", "expected 2 values, got 1"),
        (int, "y=1", "missing"),
        (list[int], "y=1", "missing"),
    ],
)
def test_a_value_that_does_not_fit_is_422_with_its_place(annotation: Any, query: str, message: str) -> None:
    answer = ask(echo(annotation), f"/?{query}")
    assert faults(answer) == {"query.x": message}
    assert answer.json()["detail"] == f"query.x: {message}"


def test_each_item_of_a_list_has_its_place() -> None:
    assert faults(ask(echo(list[int]), "/?x=1&x=a&x=2&x=b")) == {
        "query.x[1]": 'expected int, got "a"',
        "query.x[3]": 'expected int, got "b"',
    }


@pytest.mark.parametrize(
    ("annotation", "default", "query", "value"),
    [
        (int, 10, "", 10),
        (int, None, "", None),
        (int | None, ..., "", None),
        (list[int] | None, ..., "", None),
        (list[int], [1], "", [1]),
        (int, 10, "x=", 10),
        (int | None, ..., "x=", None),
        (str, "a", "x=", ""),
        (str | None, ..., "x=", ""),
        (Annotated[int, Query()], 5, "", 5),
        (int, Query(default=5), "", 5),
        (int, Query("y", default=5), "y=6", 6),
    ],
)
def test_what_is_not_there_is_the_default_or_none_where_that_is_a_value(
    annotation: Any, default: Any, query: str, value: Any
) -> None:
    assert ask(echo(annotation, default), f"/?{query}").json() == {"got": repr(value)}


def test_a_parameter_without_annotation_may_be_marked_and_is_text() -> None:
    async def handler(a=Query(), b=Header("x-b")) -> list[Any]:  # type: ignore[no-untyped-def]
        return [a, b]

    assert ask(handler, "/?a=1", headers={"x-b": "2"}).json() == ["1", "2"]


def test_a_parameter_without_annotation_but_with_a_default_is_left_alone() -> None:
    assert ask(lambda limit=10: [limit], "/?limit=5").json() == [10]


# -- the path


@pytest.mark.parametrize(
    ("path", "annotation", "target", "value"),
    [
        ("/{x}", int, "/7", 7),
        ("/{x}", Colour, "/red", Colour.RED),
        ("/{x}", dt.date, "/2026-01-31", dt.date(2026, 1, 31)),
        ("/{x}", Annotated[int, Meta(ge=1)], "/1", 1),
        ("/{x:int}", int, "/7", 7),
        ("/{x:int}", Annotated[int, Meta(ge=1)], "/7", 7),
        ("/{x:int}", float, "/7", 7.0),
        ("/{x:int}", str, "/7", "7"),
        (
            "/{x:uuid}",
            UUID,
            "/12345678-1234-5678-1234-567812345678",
            UUID(int=0x12345678123456781234567812345678),
        ),
        ("/{x:path}", str, "/a/b", "a/b"),
        ("/{x}", Any, "/7", "7"),
        ("/{x}", object, "/a%2Fb", "a/b"),
    ],
)
def test_a_parameter_of_the_path_is_what_its_annotation_says(
    path: str, annotation: Any, target: str, value: Any
) -> None:
    assert ask(echo(annotation), target, path).json() == {"got": repr(value)}


def test_a_segment_that_does_not_fit_the_annotation_is_422() -> None:
    assert faults(ask(echo(int), "/seven", "/{x}")) == {"path.x": 'expected int, got "seven"'}
    assert faults(ask(echo(Annotated[int, Meta(ge=1)]), "/0", "/{x:int}")) == {
        "path.x": 'expected int >= 1, got "0"'
    }


def test_a_handler_that_takes_strings_of_the_path_is_called_with_nothing_between() -> None:
    from weebill.injection import bind_handler
    from weebill.routing import compile_pattern

    async def handler(name: str, id: int) -> str:  # noqa: A002
        return f"{name} {id}"

    call = bind_handler(handler, compile_pattern("/{name}/{id:int}").converters, "").call
    assert call.__code__.co_names == ("params",)


def test_a_decorated_handler_is_called_as_what_stands_around_it_takes_it() -> None:
    def by_name(handler: Any) -> Any:
        @wraps(handler)
        async def around(**arguments: Any) -> Any:
            return await handler(**arguments)

        return around

    @by_name
    async def of_the_path(name: str) -> str:
        return name

    @by_name
    async def of_the_request(request: Request) -> str:
        return request.path

    assert ask(of_the_path, "/wren", "/{name}").text == "wren"
    assert ask(of_the_request, "/").text == "/"


# -- fields and cookies


def test_fields_and_cookies_come_by_marker() -> None:
    async def handler(
        user_agent: Annotated[str, Header()],
        depth: Annotated[int, Header("X-Depth")],
        accept: Annotated[list[str], Header()],
        theme: Annotated[str, Cookie()] = "light",
        visits: int = Cookie(default=0),
    ) -> list[Any]:
        return [user_agent, depth, accept, theme, visits]

    fields = [("user-agent", "bird"), ("x-depth", "3"), ("accept", "a/b"), ("accept", "c/d")]
    answer = ask(handler, headers=fields, cookies={"visits": "4"})
    assert answer.json() == ["bird", 3, ["a/b", "c/d"], "light", 4]


def test_lines_of_one_field_are_joined_for_a_str() -> None:
    answer = ask(echo(Annotated[str, Header("accept")]), headers=[("accept", "a/b"), ("accept", "c/d")])
    assert answer.json() == {"got": "'a/b, c/d'"}


def test_secrets_are_not_shown() -> None:
    async def handler(
        authorization: Annotated[int, Header()],
        depth: Annotated[int, Header()],
        session: Annotated[int, Cookie()],
    ) -> None: ...

    headers = {"authorization": "Bearer abc", "depth": "deep", "cookie": "session=abc"}
    assert faults(ask(handler, headers=headers)) == {
        "header.authorization": "expected int",
        "header.depth": 'expected int, got "deep"',
        "cookie.session": "expected int",
    }


def test_all_faults_of_all_parameters_are_told_at_once() -> None:
    async def handler(
        id: int,  # noqa: A002
        a: int,
        b: float,
        c: Annotated[int, Header()],
        d: Annotated[str, Cookie()],
    ) -> None: ...

    answer = ask(handler, "/x?a=y", "/{id}", headers={"c": "z"})
    assert faults(answer) == {
        "path.id": 'expected int, got "x"',
        "query.a": 'expected int, got "y"',
        "query.b": "missing",
        "header.c": 'expected int, got "z"',
        "cookie.d": "missing",
    }
    assert answer.json()["detail"] == 'path.id: expected int, got "x" (and 4 more)'


def test_a_hundred_faults_are_told_and_values_are_cut() -> None:
    answer = ask(echo(list[int]), "/?" + "&".join(["x=" + "a" * 50] * 150))
    assert len(faults(answer)) == 100
    assert faults(answer)["query.x[99]"] == f'expected int, got "{"a" * 40}..."'


def test_a_browser_gets_the_faults_as_a_page() -> None:
    page = ask(echo(int), "/?x=<b>", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "<li>query.x: expected int, got &quot;&lt;b&gt;&quot;</li>" in page.text


def test_too_many_parameters_in_the_query_are_400_not_500() -> None:
    assert ask(echo(int), "/?" + "x=1&" * 1001).status_code == 400


# -- whole classes


class Filter(msgspec.Struct):
    limit: Annotated[int, Meta(ge=1)] = 10
    tags: list[str] = []
    exact: bool = False
    since: dt.date | None = None
    weight: float = 1.0


@dataclass
class Page:
    number: int
    size: int = 20


class Sort(TypedDict, total=False):
    by: str
    down: bool


class Tokens(msgspec.Struct):
    x_token: int


class Model(pydantic.BaseModel):
    number: int = pydantic.Field(ge=1)
    tags: list[str] = []


def test_the_query_fills_a_whole_class() -> None:
    async def handler(
        filter: Annotated[Filter, Query()],  # noqa: A002
        page: Annotated[Page, Query()],
        sort: Annotated[Sort, Query()],
        model: Annotated[Model, Query()],
    ) -> list[Any]:
        return [filter, page, sort, model]

    answer = ask(handler, "/?limit=5&tags=a&tags=b&exact=on&since=&number=2&down=yes&other=1")
    assert answer.json() == [
        {"limit": 5, "tags": ["a", "b"], "exact": True, "since": None, "weight": 1.0},
        {"number": 2, "size": 20},
        {"down": True},
        {"number": 2, "tags": ["a", "b"]},
    ]


def test_no_item_of_a_class_may_be_not_a_number() -> None:
    @dataclass
    class Weights:
        grams: list[float]
        most: float = 1.0

    answer = ask(echo(Annotated[Weights, Query()]), "/?grams=1&grams=nan&most=inf")
    assert faults(answer) == {
        "query.grams[1]": 'expected a finite number, got "nan"',
        "query.most": 'expected a finite number, got "inf"',
    }


def test_all_faults_of_such_a_class_are_told() -> None:
    async def handler(filter: Annotated[Filter, Query()], page: Annotated[Page, Query()]) -> None: ...  # noqa: A002

    assert faults(ask(handler, "/?limit=0&exact=x&since=x&weight=nan&size=x")) == {
        "query.limit": 'expected int >= 1, got "0"',
        "query.exact": 'expected bool, got "x"',
        "query.since": 'expected date like 2026-01-31, got "x"',
        "query.weight": 'expected a finite number, got "nan"',
        "query.number": "missing",
        "query.size": 'expected int, got "x"',
    }
    assert faults(ask(echo(Annotated[Model, Query()]), "/?number=0")) == {
        "query.number": 'input should be greater than or equal to 1, got "0"'
    }


def test_a_class_that_forbids_unknown_fields_refuses_unknown_parameters() -> None:
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        a: int = 1

    handler = echo(Annotated[Strict, Query()])
    assert ask(handler, "/?a=2").json() == {"got": repr(Strict(2))}
    assert faults(ask(handler, "/?a=2&b=3")) == {"query.b": "unknown"}


class Login(msgspec.Struct):
    name: Annotated[str, Meta(min_length=3)]
    password: Annotated[str, Meta(min_length=8)]


class Account(pydantic.BaseModel):
    new_password: str = pydantic.Field(min_length=8)
    tries: int


def test_a_value_whose_name_sounds_like_a_secret_is_not_shown() -> None:
    app = App()

    @app.post("/form")
    async def by_form(login: Annotated[Login, Form()], api_token: Annotated[int, Query()] = 0) -> None: ...

    @app.post("/json")
    async def by_json(logins: list[Login]) -> None: ...

    @app.post("/pydantic")
    async def by_pydantic(account: Account) -> None: ...

    client = TestClient(app)
    login = {"name": "al", "password": "hunter2"}
    assert faults(client.post("/form", data=login)) == {
        "form.name": 'expected str of length >= 3, got "al"',
        "form.password": "expected str of length >= 8",
    }
    answer = client.post("/form?api_token=hunter2", data=login | {"name": "ada", "password": "correct horse"})
    assert faults(answer) == {"query.api_token": "expected int"}
    assert faults(client.post("/json", json=[login])) == {
        "body[0].name": 'expected str of length >= 3, got "al"',
        "body[0].password": "expected str of length >= 8",
    }
    answer = client.post("/pydantic", json={"new_password": "hunter2", "tries": "many"})
    assert list(faults(answer)) == ["body.new_password", "body.tries"]
    assert "many" in answer.text
    assert "hunter2" not in answer.text


def test_fields_and_cookies_fill_a_class_too_and_keep_their_secrets() -> None:
    def handler(a: Annotated[Tokens, Header()], b: Annotated[Tokens, Cookie()]) -> list[Any]:
        return [a.x_token, b.x_token]

    assert ask(handler, headers={"x-token": "1"}, cookies={"x_token": "2"}).json() == [1, 2]
    assert faults(ask(handler, headers={"x-token": "a"}, cookies={"x_token": "b"})) == {
        "header.x_token": "expected int",
        "cookie.x_token": "expected int",
    }


# -- on every wire


def test_a_typed_handler_answers_alike_on_every_wire(serve: Callable[[Any], Any]) -> None:
    app = App()

    @app.get("/{id}")
    def show(id: int, request: Request, limit: int = 10, agent: str = Header("user-agent")) -> list[Any]:  # noqa: A002
        return [id, limit, agent, request.method]

    client = serve(app)
    assert client.get("/3?limit=4", headers={"user-agent": "b"}).json() == [3, 4, "b", "GET"]
    assert client.head("/3").status_code == 200
    assert faults(client.get("/x?limit=y")) == {
        "path.id": 'expected int, got "x"',
        "query.limit": 'expected int, got "y"',
    }
