"""What is no form, and what is too much of one: each with its status, its sentence and its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from form_helpers import BOUNDARY, TYPE, URLENCODED, file, multipart, part, text
from test_linear import KIBIBYTE, MEBIBYTE, Work, check, compare

from weebill import App, HTTPException, Request
from weebill.body import Body
from weebill.errors import FieldTooLarge, FormTooLarge, MalformedForm, PartHeaderTooLarge, TooManyParts
from weebill.forms import FormData, UrlencodedReader
from weebill.headers import parse_parameters
from weebill.multipart import MultipartReader
from weebill.server.memory import MemoryExchange
from weebill.settings import Settings

DISPOSITION = 'Content-Disposition: form-data; name="a"'
WAYS = (1, 7, 5000, 1 << 20)  # bytes of a piece


def read(content: bytes, size: int = 1 << 20, settings: Settings | None = None) -> MultipartReader:
    """The form in `content`, which comes in pieces of `size` bytes."""
    reader = MultipartReader(BOUNDARY, settings or Settings(), Body())
    for start in range(0, len(content), size):
        reader.feed(content[start : start + size])
    reader.end()
    return reader


def load(content: bytes, headers: dict[str, str], stream: bool, settings: Settings | None = None) -> FormData:
    """The form as a handler gets it. Raises what the handler would see."""
    app, found = App(__name__), []

    @app.post("/", stream=stream)
    async def take(request: Request) -> str:
        try:
            found.append(await request.load_form())
        except HTTPException as error:
            found.append(error)  # type: ignore[arg-type]
        return ""

    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(MemoryExchange("POST", "/", fields, [content], settings).serve(app))
    if isinstance(found[0], HTTPException):
        raise found[0]
    return found[0]


# -- malformed


MALFORMED = [
    (b"", "The form is malformed, behind byte 0: it does not end with its last boundary."),
    (b"--" + BOUNDARY.encode(), "it does not end with its last boundary"),
    (b"hello\r\n" + multipart(text("a", "b")), "behind byte 0: it does not begin with its boundary"),
    (b"\r" * 5000, "it does not begin with its boundary"),
    (multipart(text("a", "b"))[2:], "it does not begin with its boundary"),
    (part(DISPOSITION, end=b"") + multipart(), "Part 1 ('a') of the form is malformed, behind byte"),
    (multipart(text("a", "b"))[:-5], "Part 1 ('a') of the form is malformed, behind byte"),
    (text("a", "b") + part(DISPOSITION, b"c"), "Part 2 ('a') of the form is malformed, behind byte"),
    (multipart(text("a", "b")) + multipart(text("evil", "c")), "Unexpected data after end"),
    (multipart(text("a", "b")).replace(b"\r\n", b"\n"), "Invalid line break after first boundary"),
    (multipart(text("a", "b")).replace(b"--\r\n", b"-\r\n"), "Unexpected bytes after boundary"),
    (multipart(text("a", "b")) .replace(b"b\r\n--", b"b\r\n--x"), "not end with its last boundary"),
    (multipart(part("Content-Type: text/plain")), "Part 1 of the form is malformed, behind byte 0: Missing"),
    (multipart(part("Content-Disposition: form-data")), "Missing name"),
    (multipart(text("a", "b"), part("Content-Disposition: attachment; name=a")), "Part 2 of the form"),
    (multipart(part(f"{DISPOSITION}; name=b")), "Content-Disposition is malformed, 'name' is there twice"),
    (multipart(part(f"{DISPOSITION}; filename=a; FileName=b")), "'filename' is there twice"),
    (multipart(part(f"{DISPOSITION}; filename*=utf-8''a.exe")), "it has a filename*, which forms do not"),
    (multipart(part(f"{DISPOSITION} filename=b")), "' filename=b' is no parameter"),
    (multipart(part(f'{DISPOSITION}; filename="b"c')), "'c' is no parameter"),
    (multipart(part(f'{DISPOSITION}; filename="b')), "is no parameter"),
    (multipart(part(f'{DISPOSITION}; x="y; filename=b')), "is no parameter"),
    (multipart(part(f"{DISPOSITION}\r\n{DISPOSITION}")), "its header has a field twice"),
    (multipart(part(f"{DISPOSITION}\r\nContent-Type: a/b\r\nContent-Type: c/d")), "a field twice"),
    (multipart(part(f"{DISPOSITION}\r\nX: a\0b")), "its X holds a control character"),
    (multipart(part(f"{DISPOSITION}; filename=a\rb")), "its Content-Disposition holds a control"),
    (multipart(part(f"{DISPOSITION}\r\n folded: yes")), "Unexpected segment header continuation"),
    (multipart(part(f"{DISPOSITION}\r\nno colon")), "Malformed segment header"),
    (multipart(part(f"{DISPOSITION}\r\nbad name: a")), "Invalid segment header name"),
    (multipart(part(f"{DISPOSITION}\r\nContent-Length: 2", b"abc")), "Content-Length exceeded"),
    (multipart(part(f"{DISPOSITION}\r\nContent-Length: +3", b"abc")), "Invalid segment Content-Length"),
    (multipart(part(f"{DISPOSITION}\r\nContent-Type: a; b")), "Part 1 ('a') of the form is malformed"),
    (multipart(part(f"{DISPOSITION}\r\nContent-Length: -3", b"abc")), "Invalid segment Content-Length"),
    (multipart(part(f"{DISPOSITION}\r\nX: \xff")).replace(b"\xc3\xbf", b"\xff"), "failed to decode"),
    (multipart(part(DISPOSITION, b"abc\xff")), "Part 1 ('a') of the form is malformed, behind byte"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), MALFORMED)
def test_a_malformed_form_says_what_is_wrong_and_where_however_it_is_cut(
    content: bytes, sentence: str
) -> None:
    told = set()
    for size in WAYS:
        with pytest.raises(MalformedForm) as caught:
            read(content, size)
        told.add(caught.value.detail)
        assert sentence in caught.value.detail
        assert caught.value.status_code == 400
    assert len(told) == 1


@pytest.mark.parametrize("more", [b"more", b"\r\n", b"-", b"*" * 5000])
def test_nothing_may_come_behind_the_end(more: bytes) -> None:
    for size in WAYS:
        with pytest.raises(MalformedForm, match=r"last boundary|Unexpected data after end"):
            read(multipart(text("a", "b")) + more, size)


def test_the_place_of_a_fault_is_the_byte_behind_which_it_is() -> None:
    content = multipart(text("a", "b"), file("photo", "cat.txt", b"meow"), part(DISPOSITION, b"abc\xff"))
    with pytest.raises(
        MalformedForm, match=r"^400 Part 3 \('a'\) of the form is malformed, behind byte (\d+):"
    ) as caught:
        read(content)
    assert f"behind byte {content.index(bytes([0xFF])) + 1}: it is not UTF-8 at its byte 3" in str(
        caught.value
    )


GOOD = [
    multipart(),
    b"\r\n" + multipart(text("a", "b")),
    multipart(text("a", "b"))[:-2],
    multipart(part('content-disposition: Form-Data ; NAME = "a"'.replace(" = ", "="), b"b")),
    multipart(part(f"{DISPOSITION};", b"b")),
    multipart(part(f"{DISPOSITION}\r\nContent-Transfer-Encoding: 8bit\r\nContent-Length: 1", b"b")),
    multipart(part(f"{DISPOSITION}\r\nContent-Type: text/plain;charset=UTF-8", b"b")),
    multipart(part(f'{DISPOSITION}; note="; filename=evil.exe"', b"b")),
]  # fmt: skip


@pytest.mark.parametrize("content", GOOD)
def test_what_clients_of_today_send_is_read_however_it_is_cut(content: bytes) -> None:
    for size in WAYS:
        reader = read(content, size)
        assert reader.fields == ([("a", "b")] if b"isposition" in content else [])
        assert reader.files == []


def test_what_looks_like_a_boundary_is_content() -> None:
    value = f"\r\n--{BOUNDARY[:-1]}\r\n-\r\n--\r\n\r{BOUNDARY}\r\n --{BOUNDARY}\r"
    for size in range(1, 40):
        assert read(multipart(text("a", value), text("b", "c")), size).fields == [("a", value), ("b", "c")]


def test_a_filename_beside_it_is_passed_over_for_the_plain_one() -> None:
    header = f"{DISPOSITION}; filename=safe.png; filename*=utf-8''evil.exe"
    (name, upload), = read(multipart(part(header, b"x"))).files  # fmt: skip
    assert (name, upload.filename) == ("a", "safe.png")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ('"cat.txt"', "cat.txt"),
        ("cat.txt", "cat.txt"),
        ('"a%22b%0D%0A.txt"', 'a"b.txt'),
        ('"a\\"b.txt"', 'a"b.txt'),
        ('"C:\\temp\\cat.txt"', "cat.txt"),
        ('"../../etc/passwd"', "passwd"),
        ('"/etc/passwd"', "passwd"),
        ('".."', ""),
        ('"größe.txt"', "größe.txt"),
        ('"a\u202egpj.exe"', "agpj.exe"),
    ],
)
def test_a_file_has_the_last_of_the_names_that_it_was_sent_with(sent: str, name: str) -> None:
    header = f"{DISPOSITION}; filename={sent}"
    upload = read(multipart(part(header, b"x"))).files[0][1]
    assert upload.filename == name
    assert upload.content_type == "application/octet-stream"
    assert upload.headers.raw == [(b"Content-Disposition", header[21:].encode())]


@pytest.mark.parametrize(
    ("parameters", "status", "sentence"),
    [
        ("", 400, "The boundary of the form is missing"),
        ('; boundary=""', 400, "missing"),
        (f"; boundary={'a' * 71}", 400, "1 to 70 of the characters"),
        ('; boundary="a "', 400, "'a '"),
        ("; boundary=ä", 400, "characters of RFC 2046"),
        ('; boundary="a\\"b"', 400, "characters of RFC 2046"),
        ("; boundary=a; boundary=b", 400, "'boundary' is there twice"),
        ("; boundary", 400, "The Content-Type is malformed"),
        ("-x; boundary=a", 415, "not multipart/form-data-x"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_boundary_is_refused(parameters: str, status: int, sentence: str, stream: bool) -> None:
    with pytest.raises(HTTPException) as caught:
        load(b"--a--\r\n", {"content-type": f"multipart/form-data{parameters}"}, stream)
    assert caught.value.status_code == status
    assert sentence in caught.value.detail


def test_a_boundary_of_seventy_characters_is_good_quoted_or_not() -> None:
    for boundary in ("a" * 70, '"a b"', "a=b/c", "'()+_,-./:=?"):
        content = f"--{boundary.strip(chr(34))}--\r\n".encode()
        form = load(
            content, {"content-type": f"multipart/form-data; charset=utf-8; boundary={boundary}"}, True
        )
        assert len(form.fields) == 0


def test_several_content_types_are_refused() -> None:
    with pytest.raises(MalformedForm, match="more than one Content-Type"):
        load(b"--a--\r\n", {"Content-Type": "multipart/form-data; boundary=a", "content-type": "a/b"}, True)


@pytest.mark.parametrize("stream", [True, False])
def test_everything_is_utf_8_and_as_it_stands(stream: bool) -> None:
    latin = part(f"{DISPOSITION}\r\nContent-Type: text/plain; charset=latin-1")
    base64 = part(f"{DISPOSITION}\r\nContent-Transfer-Encoding: base64")
    utf_16 = {"content-type": "application/x-www-form-urlencoded; charset=utf-16"}
    cases = [
        (multipart(latin), TYPE, "Part 1 ('a') of the form is written in 'latin-1'; send utf-8."),
        (multipart(base64), TYPE, "Part 1 ('a') of the form is encoded as 'base64'; send it as it is."),
        (b"a=b", utf_16, "The charset 'utf-16' is not read here; send utf-8."),
    ]
    for content, headers, sentence in cases:
        with pytest.raises(HTTPException) as caught:
            load(content, headers, stream)
        assert caught.value.status_code == 415
        assert sentence in caught.value.detail


@pytest.mark.parametrize("stream", [True, False])
def test_urlencoded_bytes_that_are_not_utf_8_are_400_with_their_place(stream: bool) -> None:
    for content, place in [
        (b"a=b&c=%ff", 4),
        (b"a=b&%C3=d", 4),
        (b"\xff", 0),
        (b"a=" + b"x" * 70000 + b"%E9", 0),
    ]:
        with pytest.raises(
            MalformedForm, match=rf"of the form is malformed, at byte {place}: b'.*' is not UTF-8"
        ):
            load(content, URLENCODED, stream)


# -- limits


@pytest.mark.parametrize("stream", [True, False])
def test_a_form_has_at_most_a_thousand_fields_and_files(stream: bool) -> None:
    parts = [text("a", ""), file("b", "b", b"x")] * 500
    form = load(multipart(*parts), TYPE, stream)
    assert [len(form.fields.getlist("a")), len(form.files.getlist("b"))] == [500, 500]
    with pytest.raises(TooManyParts, match="413 The form has more than 1000 fields and files"):
        load(multipart(*parts, text("a", "")), TYPE, stream)
    assert len(load(b"a=&" * 999 + b"a=", URLENCODED, stream).fields.getlist("a")) == 1000
    for content in (b"a=&" * 1000, b"&" * 1000):
        with pytest.raises(TooManyParts):
            load(content, URLENCODED, stream)


@pytest.mark.parametrize("stream", [True, False])
def test_the_header_of_a_part_has_at_most_8_kib(stream: bool) -> None:
    length = len(f"{DISPOSITION}\r\nX: \r\n")
    lines = [f"X{i}: {'a' * 90}" for i in range(90)]
    load(multipart(text("b", ""), part(f"{DISPOSITION}\r\nX: {'a' * (8192 - length)}")), TYPE, stream)
    for header in (f"{DISPOSITION}\r\nX: {'a' * (8193 - length)}", "\r\n".join([DISPOSITION, *lines])):
        with pytest.raises(
            PartHeaderTooLarge, match="413 The header of part 2 of the form is longer than 8192"
        ):
            load(multipart(text("b", ""), part(header)), TYPE, stream)


@pytest.mark.parametrize("stream", [True, False])
def test_a_text_field_has_at_most_1_mib(stream: bool) -> None:
    for make in (
        lambda value: (multipart(text("a", value)), TYPE),
        lambda v: (f"a={v}".encode(), URLENCODED),
    ):
        assert len(load(*make("b" * MEBIBYTE), stream).fields["a"]) == MEBIBYTE
        with pytest.raises(
            FieldTooLarge, match=f"413 The field 'a' of the form is longer than {MEBIBYTE} bytes"
        ):
            load(*make("b" * (MEBIBYTE + 1)), stream)
    assert len(load(b"a=" + b"%41" * MEBIBYTE, URLENCODED, stream).fields["a"]) == MEBIBYTE


@pytest.mark.parametrize("stream", [True, False])
def test_all_text_of_a_form_has_at_most_4_mib(stream: bool) -> None:
    value = "b" * (MEBIBYTE - 100)
    load(multipart(*[text("a", value)] * 4), TYPE, stream)
    with pytest.raises(
        FormTooLarge, match=f"413 The fields of the form are longer than {4 * MEBIBYTE} bytes"
    ):
        load(multipart(*[text("a", value)] * 5), TYPE, stream)
    with pytest.raises(FormTooLarge):
        load(b"a=" + b"b" * 4 * MEBIBYTE, URLENCODED, stream)
    with pytest.raises(FormTooLarge):  # the headers of files are text too
        load(multipart(*[part(f"{DISPOSITION}; filename=b\r\nX: {'x' * 8000}")] * 600), TYPE, stream)


# -- bombs: refused early, in linear time, and nothing is kept


def on_multipart(make: Callable[[int], bytes], size: int = 65536) -> Callable[[int], Work]:
    def prepare(length: int) -> Work:
        content = make(length)

        def work() -> None:
            with suppress(HTTPException):
                read(content, size)

        return work

    return prepare


BEGIN = f"--{BOUNDARY}\r\n".encode()
FILE = part(f"{DISPOSITION}; filename=a", end=b"")
BOMBS = {
    "empty parts": lambda n: multipart(*[text("a", "")] * (n // 60)),
    "CR before the boundary": lambda n: b"\r" * n + multipart(),
    "CR in a file": lambda n: FILE + b"\r" * n + b"\r\n" + multipart(),
    "CR LF in a file": lambda n: FILE + b"\r\n" * (n // 2) + multipart(),
    "beginnings of a boundary": lambda n: FILE + f"\r\n--{BOUNDARY[:-1]}".encode() * (n // 11),
    "one header": lambda n: BEGIN + b"a" * n,
    "many headers": lambda n: BEGIN + b"a: b\r\n" * (n // 6),
    "line feeds": lambda n: BEGIN + b"a:\n" * (n // 3),
    "unclosed": lambda n: FILE + b"a" * n,
    "data behind the end": lambda n: multipart() + b"a" * n,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_multipart_bomb_takes_linear_time(bomb: str) -> None:
    check(on_multipart(BOMBS[bomb]))


@pytest.mark.parametrize("bomb", ["CR in a file", "beginnings of a boundary", "one header"])
def test_a_multipart_bomb_in_tiny_pieces_takes_linear_time(bomb: str) -> None:
    compare(on_multipart(BOMBS[bomb], 1), 64 * KIBIBYTE)


@pytest.mark.parametrize("bomb", [name for name in BOMBS if name not in ("CR in a file", "CR LF in a file")])
def test_a_multipart_bomb_is_refused(bomb: str) -> None:
    content = multipart(*[text("a", "")] * 100_000) if bomb == "empty parts" else BOMBS[bomb](MEBIBYTE)
    settings = Settings(max_body=16 * MEBIBYTE)
    for stream in (True, False):
        with pytest.raises(HTTPException) as caught:
            load(content, TYPE, stream, settings)
        assert caught.value.status_code in (400, 413)


@pytest.mark.parametrize("unit", [";", "; ", ";a=", ';a="', ';a="\\', '; a="b"', "\\", '"', ";a=b", " "])
def test_parameters_are_read_in_linear_time(unit: str) -> None:
    def make(length: int) -> Work:
        text = ";x=" + unit * (length // len(unit))

        def work() -> None:
            with suppress(ValueError):
                parse_parameters(text)

        return work

    compare(make, 64 * KIBIBYTE)


@pytest.mark.parametrize("unit", [b"%41", b"%", b"%4", b"+", b"a%41", b"&", b"=", b"%C3%9F"])
def test_an_urlencoded_form_is_read_in_linear_time(unit: bytes) -> None:
    def make(length: int) -> Work:
        content = b"a=" + unit * (length // len(unit))

        def work() -> None:
            reader = UrlencodedReader(Settings(max_form_field=1 << 30))
            with suppress(HTTPException):
                reader.feed(content)
                reader.end()

        return work

    check(make)


@pytest.mark.parametrize("spool", [1 << 20, 50])
@pytest.mark.parametrize("start", [b"", b"\r\n"])
@pytest.mark.parametrize("gap", ["", " " * 3, " " * 5000])
def test_files_of_gathered_content_stay_where_they_lie(spool: int, start: bytes, gap: str) -> None:
    contents = [
        b"",
        b"x",
        b"\r\n\r\n",
        b"\r",
        b"\r\n--",
        b"--" + BOUNDARY.encode() + b"\r\n" * 9,
        bytes(20_000),
    ]
    parts = []
    for number, content in enumerate(contents):
        header = f'Content-Disposition:{gap}form-data; name="{number}"'
        parts += [
            part(header + f'; filename="{number}"\r\nX-Gap: {gap}\r\nContent-Type:{gap} a/b', content),
            part(header, b"a text, \r\n\r\n"),
        ]
    form = start + multipart(*parts)
    body = Body(spool)
    for at in range(0, len(form), 1000):
        body.add(form[at : at + 1000])
        if body.needs_flush:
            asyncio.run(body.flush())
    reader = MultipartReader(BOUNDARY, Settings(max_part_header=1 << 16, max_form_text="1MiB"), body, True)
    for at in range(0, len(form), 777):
        reader.feed(form[at : at + 777])
    reader.end()
    assert [upload.file.read() for _, upload in reader.files] == contents
    assert reader.fields == [(str(number), "a text, \r\n\r\n") for number in range(len(contents))]
    assert body.size == len(form)
    body.close()
