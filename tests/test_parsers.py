"""Field lines through both parsers, and the reader of chunks; test_fuzz.py tries both on damaged streams."""

from __future__ import annotations

import random
from typing import Any

import pytest

from weebill.chunks import ChunkedReader
from weebill.errors import FieldsTooLarge, ProtocolError
from weebill.headers import Fields
from weebill.server.parse_h11 import H11Parser
from weebill.server.parse_httptools import HttptoolsParser

Verdict = Fields | str


def verdict(parser: Any, lines: bytes) -> Verdict:
    try:
        return parser.fields(lines)  # type: ignore[no-any-return]
    except ProtocolError:
        return "refused"


def both(lines: bytes) -> tuple[Verdict, Verdict]:
    return verdict(HttptoolsParser(), lines), verdict(H11Parser(), lines)


GOOD = [
    b"Host: a\r\n\r\n",
    b"Host:a\r\nX:\r\nY: \t \r\nZ: a \t\r\n\r\n",
    b'Host: a\r\nCookie: a=b; c="d"\r\nCookie: e\r\nAccept: */*;q=0.1, text/html\r\n\r\n',
    b"Host: a\r\nX: caf\xe9 \x80\xff\r\n!#$%&'*+-.^_`|~09azAZ: !\r\n\r\n",
    b"Host: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    b"Content-Length: 5\r\nHost: a\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nHost: a\r\n\r\n",
    b"Connection: close\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"Connection: keep-alive\r\nHost: a\r\nProxy-Connection: close\r\nKeep-Alive: 5\r\n\r\n",
    b"Expect: 100-continue\r\nContent-Length: 17\r\nHost: a\r\n\r\n",
    b"X: y\r\n" * 99 + b"Host: a\r\n\r\n",
    b"\r\n",
]


def test_good_lines_give_the_same_fields_with_both() -> None:
    for lines in GOOD:
        fast, judge = both(lines)
        assert fast == judge != "refused", lines
        names = [line.partition(b":")[0] for line in lines.split(b"\r\n") if line]
        assert [name for name, _ in fast] == names


def test_a_parser_remembers_nothing_of_the_head_before() -> None:
    fast, judge = HttptoolsParser(), H11Parser()
    for first in GOOD:
        for second in GOOD:
            for parser in (fast, judge):
                parser.fields(first)
                assert parser.fields(second) == type(parser)().fields(second)
                assert verdict(parser, b"Bad\0: x\r\n\r\n") == "refused"
                assert parser.fields(second) == type(parser)().fields(second)


def test_the_fields_of_one_head_stay_as_they_are_when_the_next_is_read() -> None:
    parser = HttptoolsParser()
    first = parser.fields(b"Host: a\r\nX: 1\r\n\r\n")
    parser.fields(b"Host: b\r\n\r\n")
    assert first == [(b"Host", b"a"), (b"X", b"1")]


# -- chunks


def _chunked(rng: random.Random, content: bytes) -> bytes:
    out, at = b"", 0
    while at < len(content):
        size = rng.choice((1, 2, 3, 15, 16, 17, 255, 256, 4096))
        piece = content[at : at + size]
        at += size
        digits = b"%x" % len(piece) if rng.random() < 0.5 else b"%03X" % len(piece)
        extension = rng.choice((b"", b"", b";a", b";a=b", b';a="b c;";d=e'))
        out += digits + extension + b"\r\n" + piece + b"\r\n"
    trailers = rng.choice((b"", b"", b"A: b\r\n", b"A:\r\nB: c \t\r\n"))
    return out + rng.choice((b"0", b"000", b"0;x=y")) + b"\r\n" + trailers + b"\r\n"


def _feed(data: bytes, rng: random.Random | None = None, most: int = 7) -> tuple[bytes, bytes, bool]:
    """Content, what lies behind it and whether the end was seen, fed whole or in pieces."""
    reader, content, at = ChunkedReader(), b"", 0
    if rng is None:
        piece, rest = reader.feed(data)
        return piece, rest, reader.complete
    rest = b""
    while at < len(data) and not reader.complete:
        step = rng.randint(1, most)
        piece, rest = reader.feed(data[at : at + step])
        content += piece
        at += step
        assert reader.complete or not rest
    return content, rest + data[at:], reader.complete


def test_chunks_give_their_content_and_leave_what_is_behind_them_however_they_are_cut() -> None:
    rng = random.Random(7)
    for _ in range(200):
        content = rng.randbytes(rng.choice((0, 1, 5, 100, 3000))).replace(b"\0", b"\r\n\r\n")
        behind = rng.choice((b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"0\r\n\r\n", b"\0"))
        data = _chunked(rng, content) + behind
        assert _feed(data) == (content, behind, True)
        assert _feed(data, rng) == (content, behind, True)
        assert _feed(data, rng, 300) == (content, behind, True)
        assert _feed(data, rng, 1) == (content, behind, True)


def test_framing_is_bounded_by_the_content_that_it_carries() -> None:
    reader = ChunkedReader()
    extended = b"1;" + b"a" * 200 + b"\r\nx\r\n"
    with pytest.raises(ProtocolError, match="more extensions than content"):
        reader.feed(extended * 100)
    reader = ChunkedReader()
    for _ in range(1000):
        reader.feed(b"100;" + b"a" * 200 + b"\r\n" + b"x" * 256 + b"\r\n")


@pytest.mark.parametrize("count", [1, 100])
def test_trailers_are_bounded_however_they_come(count: int) -> None:
    field = b"a: " + b"b" * (8192 // count - 5) + b"\r\n"
    reader = ChunkedReader()
    reader.feed(b"0\r\n" + field * (8192 // len(field)))
    assert not reader.complete
    with pytest.raises(FieldsTooLarge):
        reader.feed(field)
    reader = ChunkedReader()
    reader.feed(b"0\r\na: ")
    for _ in range(8192 - len(b"a: \r\n")):
        reader.feed(b"b")
    with pytest.raises(FieldsTooLarge):
        reader.feed(b"b")
