"""Values and files of a form as arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
import pytest
from form_helpers import TYPE, URLENCODED, file, multipart, text
from test_typed_values import faults
from wires import LIVE, connected

from weebill import App, Cookie, Depends, File, Form, Meta, Request, UploadFile
from weebill.errors import SignatureError
from weebill.testing import Result, TestClient

PHOTO = multipart(
    text("title", "A bird"),
    file("photo", "bird.txt", b"very small"),
    file("others", "a.txt", b"a"),
    file("others", "b.txt", b"bb"),
)


class Login(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1)]
    remember: bool = False
    age: int | None = None
    likes: list[str] = []


def post(handler: Callable[..., Any], content: bytes, headers: dict[str, str] = TYPE) -> Result:
    app = App()
    app.post("/")(handler)
    return TestClient(app).post("/", content=content, headers=headers)


def describe(upload: UploadFile) -> list[Any]:
    return [upload.filename, upload.file.read().decode()]


def test_values_of_a_form_come_by_marker(serve: Callable[[Any], Any]) -> None:
    app = App()

    @app.post("/{id}")
    def handler(
        id: int,  # noqa: A002
        name: Annotated[str, Form()],
        age: Annotated[int | None, Form()],
        ok: Annotated[bool, Form("is-ok")] = False,
        likes: list[str] = Form(default=[]),
        size: int = 1,
        theme: Annotated[str, Cookie()] = "light",
    ) -> list[Any]:
        return [id, name, age, ok, likes, size, theme]

    client = serve(app)
    answer = client.post("/3?size=2", data={"name": "ann", "age": "", "is-ok": "on", "likes": ["a", "b"]})
    assert answer.json() == [3, "ann", None, True, ["a", "b"], 2, "light"]
    assert client.post("/3", content=multipart(text("name", "bob")), headers=TYPE).json()[1] == "bob"
    assert faults(client.post("/x", data={"age": "old"})) == {
        "path.id": 'expected int, got "x"',
        "form.name": "missing",
        "form.age": 'expected int | null, got "old"',
    }


def test_a_whole_class_is_filled_from_a_form() -> None:
    def handler(login: Annotated[Login, Form()]) -> Login:
        return login

    answer = post(handler, b"name=ann&remember=on&age=&likes=a&likes=b", URLENCODED)
    assert answer.json() == {"name": "ann", "remember": True, "age": None, "likes": ["a", "b"]}
    assert faults(post(handler, b"name=&remember=perhaps&age=x", URLENCODED)) == {
        "form.name": 'expected str of length >= 1, got ""',
        "form.remember": 'expected bool, got "perhaps"',
        "form.age": 'expected int | null, got "x"',
    }


@pytest.mark.parametrize("is_async", [False, True])
def test_files_are_arguments(serve: Callable[[Any], Any], is_async: bool) -> None:
    app = App()

    def handler(
        title: Annotated[str, Form()],
        photo: UploadFile,
        others: list[UploadFile],
        again: Annotated[UploadFile, File("photo")],
        more: UploadFile | None,
        none: Annotated[list[UploadFile], File()] = [],  # noqa: B006
    ) -> list[Any]:
        assert again is photo
        return [title, describe(photo), [describe(o) for o in others], more, none]

    async def waiting(
        title: Annotated[str, Form()], photo: UploadFile, others: list[UploadFile]
    ) -> list[Any]:
        found = [[upload.filename, (await upload.read()).decode()] for upload in (photo, *others)]
        return [title, found[0], found[1:], None, []]

    app.post("/")(waiting if is_async else handler)
    answer = serve(app).post("/", content=PHOTO, headers=TYPE)
    others = [["a.txt", "a"], ["b.txt", "bb"]]
    assert answer.json() == ["A bird", ["bird.txt", "very small"], others, None, []]


def test_a_marked_file_needs_no_annotation_and_may_have_another_name() -> None:
    assert post(lambda bird=File("photo"): bird.filename, PHOTO).text == "bird.txt"


def test_a_file_that_is_not_there_is_missing_and_a_text_is_no_file() -> None:
    def handler(photo: UploadFile, many: list[UploadFile]) -> None: ...

    expected = {"file.photo": "missing", "file.many": "missing"}
    assert faults(post(handler, multipart(text("photo", "a text")))) == expected
    assert faults(post(handler, b"photo=a", URLENCODED)) == expected
    assert faults(post(handler, b"", {})) == expected


def test_what_is_wrong_with_the_form_itself_is_told_before_all_else() -> None:
    def handler(name: Annotated[str, Form()], limit: int) -> None: ...

    assert post(handler, b"{}", {"content-type": "application/json"}).status_code == 415
    assert post(handler, b"no boundary at all").status_code == 400
    assert post(handler, b"name=a", URLENCODED).status_code == 422
    assert post(handler, b"name=%ff", URLENCODED).status_code == 400


def test_a_dependency_may_ask_for_the_form() -> None:
    def login(login: Annotated[Login, Form()]) -> str:
        return login.name

    async def checked(name: Annotated[str, Depends(login)], photo: UploadFile | None) -> list[Any]:
        return [name, photo]

    def handler(found: list[Any] = Depends(checked)) -> list[Any]:
        return found

    assert post(handler, b"name=ann", URLENCODED).json() == ["ann", None]


def test_the_form_is_there_for_the_request_too() -> None:
    def handler(request: Request, name: Annotated[str, Form()]) -> list[Any]:
        return [name, dict(request.form)]

    assert post(handler, b"name=ann", URLENCODED).json() == ["ann", {"name": "ann"}]


def test_a_generator_may_take_a_form() -> None:
    def handler(name: Annotated[str, Form()]) -> Iterator[str]:
        yield from name

    assert post(handler, b"name=ann", URLENCODED).text == "ann"


def test_hooks_stand_around_a_form() -> None:
    app, seen = App(), []
    app.before_request(lambda: seen.append("before"))
    app.after_request(lambda response: seen.append(response.status_code))

    @app.post("/")
    def handler(name: Annotated[str, Form()]) -> str:
        return name

    client = TestClient(app)
    assert client.post("/", data={"name": "ann"}).text == "ann"
    assert client.post("/", data={"x": "ann"}).status_code == 422
    assert client.post("/", content=b"x", headers=TYPE).status_code == 400
    assert seen == ["before", 200, "before", 422, "before", 400]


@pytest.mark.parametrize("wire", LIVE)
def test_a_slow_form_is_read_as_it_comes_and_takes_no_time_of_the_handler(wire: str) -> None:
    app, read = App(), threading.Event()

    @app.middleware
    async def arrived(request: Request, call_next: Any) -> Any:
        read.set()  # the head is there, the content is not
        return await call_next(request)

    @app.post("/", timeout=0.05)
    async def handler(photo: UploadFile) -> list[Any]:
        return [photo.size]

    def slowly() -> Iterator[bytes]:
        yield PHOTO[:100]
        assert read.wait(10)
        read.clear()
        assert not read.wait(0.1)  # longer than the handler may take
        yield PHOTO[100:]

    with connected(app, wire) as client:
        assert client.post("/", content=slowly(), headers=TYPE).json() == [10]


def test_a_form_is_refused_with_content_and_where_a_class_holds_more_than_plain_values() -> None:
    class WithFile(msgspec.Struct):
        photo: UploadFile

    def both(login: Login, photo: UploadFile) -> None: ...

    def holds(form: Any) -> None: ...

    holds.__annotations__["form"] = Annotated[WithFile, Form()]
    with pytest.raises(SignatureError, match=r"'login' of .* is JSON content, and .*'photo' of .* a form"):
        App().post("/")(both)
    with pytest.raises(SignatureError, match=r"'form' of .* cannot be WithFile of the form"):
        App().post("/")(holds)
    with pytest.raises(SignatureError, match=r"'photo' of .* is the form of the request, but GET has none"):
        App().get("/")(lambda photo=File(): photo)
