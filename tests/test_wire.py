"""What is checked and composed of an answer before it leaves."""

from __future__ import annotations

import pytest

from weebill.errors import ResponseError
from weebill.headers import Fields
from weebill.server import wire as wire_module
from weebill.server.wire import chunk, minimal, response_head


def test_a_head_has_its_status_line_and_the_fields_as_they_were_given() -> None:
    head = response_head(404, [(b"Content-Type", b"text/plain"), (b"X-Caf", b"caf\xe9\t!"), (b"x", b"")])
    assert head.block == b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nX-Caf: caf\xe9\t!\r\nx: \r\n"
    assert (head.length, head.close, head.has_date) == (None, False, False)


def test_the_fields_that_frame_an_answer_are_taken_out() -> None:
    fields = [
        (b"Content-LENGTH", b"17"),
        (b"Connection", b"x, Close"),
        (b"Keep-Alive", b"1"),
        (b"Upgrade", b"h2c"),
    ]
    head = response_head(200, [*fields, (b"DATE", b"today"), (b"date", b"tomorrow"), (b"X", b"y")])
    assert head.block == b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nDATE: today\r\nX: y\r\n"
    assert head.fields == [(b"Upgrade", b"h2c"), (b"DATE", b"today"), (b"X", b"y")]
    assert (head.length, head.close, head.upgrade, head.has_date) == (17, True, True, True)


def test_a_status_without_a_phrase_has_the_space_before_it() -> None:
    assert response_head(299, []).block == b"HTTP/1.1 299 \r\n"


def test_the_same_head_again_is_the_same_and_another_is_another() -> None:
    fields: Fields = [(b"X", b"y")]
    blocks = {response_head(status, fields).block for status in (200, 201, 200, 404) for _ in range(3)}
    assert len(blocks) == 3
    fields[0] = (b"X", b"z")
    assert response_head(200, fields).block.endswith(b"X: z\r\n")
    assert response_head(200, [(b"Content-Length", b"1")]).length == 1
    assert response_head(200, [(b"Content-Length", b"2")]).length == 2


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
@pytest.mark.parametrize("name", [b"X", b"Content-Type", b"Date", b"Connection", b"X-New-One"])
def test_no_control_byte_leaves_in_a_value(byte: int, name: bytes) -> None:
    for _ in range(2):
        response_head(200, [(name, b"good"), (b"a", b"1"), (b"b", b"2")])
        for value in (bytes([byte]), b"a" + bytes([byte]) + b"b", b"\r\n" + bytes([byte])):
            for more in ([], [(b"a", b"1"), (b"b", b"2")]):
                with pytest.raises(ResponseError, match="control byte"):
                    response_head(200, [(name, value), *more])


def test_no_pair_of_bad_values_makes_up_for_the_other() -> None:
    with pytest.raises(ResponseError):
        response_head(200, [(b"X", b"\r"), (b"X", b"\n")])
    with pytest.raises(ResponseError):
        response_head(200, [(b"X", b"a\r\nb: c")])


@pytest.mark.parametrize(
    "byte",
    sorted(set(range(256)) - set(b"!#$%&'*+-.^_`|~0123456789") - set(range(65, 91)) - set(range(97, 123))),
)
def test_no_other_byte_than_those_of_a_token_leaves_in_a_name(byte: int) -> None:
    for _ in range(2):
        with pytest.raises(ResponseError):
            response_head(200, [(b"X" + bytes([byte]), b"a")])


def test_what_is_remembered_of_answers_is_bounded() -> None:
    for n in range(3000):
        response_head(200, [(b"X-Name-%d" % n, b"y")])
        response_head(200, [(b"X", b"value %d" % n)])
    assert len(wire_module._plain) <= 2000
    assert len(wire_module._heads) <= 500
    assert response_head(200, [(b"X-Name-4000", b"y")]).block.endswith(b"X-Name-4000: y\r\n")


def test_a_chunk_has_its_size_in_hexadecimal() -> None:
    assert chunk(b"abc") == b"3\r\nabc\r\n"
    assert chunk(b"x" * 65536) == b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert chunk(memoryview(b"abc")) == b"3\r\nabc\r\n"


def test_the_servers_own_answer_is_whole_and_the_last() -> None:
    assert minimal(400, "Café.", b"date: now\r\n") == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 7\r\n"
        b"date: now\r\nconnection: close\r\n\r\nCaf\xc3\xa9.\n"
    )
