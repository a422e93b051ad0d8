"""Two parsers, one verdict: field lines through both, and chunks judged by both libraries."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import h11
import pytest
from httptools import HttpParserError, HttpRequestParser

from weebill.errors import FieldsTooLarge, ProtocolError
from weebill.headers import Fields
from weebill.server.chunks import ChunkedReader
from weebill.server.head import read_head
from weebill.server.parse_h11 import H11Parser
from weebill.server.parse_httptools import HttptoolsParser

Verdict = Fields | str


def verdict(parser: Any, lines: bytes) -> Verdict:
    try:
        return parser.fields(lines)  # type: ignore[no-any-return]
    except ProtocolError:
        return "refused"


def both(lines: bytes, fast: HttptoolsParser | None = None) -> tuple[Verdict, Verdict]:
    return verdict(fast or HttptoolsParser(), lines), verdict(H11Parser(), lines)


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


PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\0",
        b"\x01",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b"\xff",
    ),
    *(
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ),
    *(b"Connection: close\r\n", b"Upgrade: h2c\r\n", b"Connection: Upgrade\r\n", b"X", b"=", b"(", b"A: b"),
)


def _mutated(rng: random.Random, lines: bytes) -> bytes:
    body = bytearray(lines)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(body))
        kind = rng.random()
        if kind < 0.5:
            body[at:at] = rng.choice(PIECES)
        elif kind < 0.7:
            del body[at : at + rng.randint(1, 3)]
        elif kind < 0.9 and at < len(body):
            body[at] = rng.randrange(256)
        else:
            other = rng.choice(GOOD)
            body[at:at] = other[: rng.randint(0, len(other))]
    return bytes(body)


def _is_one_head(lines: bytes) -> bool:
    """As http1.py cuts it: the first empty line is the end."""
    return (b"\r\n" + lines).find(b"\r\n\r\n") == len(lines) - 2


class _Given:
    """A parser that has these fields for any head."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def fields(self, lines: bytes) -> Fields:
        return self._fields


def _is_refused_by_head(fields: Fields) -> bool:
    """Whether head.py makes up for what one of the parsers lets pass."""
    try:
        read_head(b"POST / HTTP/1.1\r\n\r\n", _Given(fields))
    except ProtocolError:
        return True
    return False


def test_whatever_one_refuses_the_other_refuses_too() -> None:
    rng = random.Random(20261121)
    fast = HttptoolsParser()
    tried = 0
    while tried < 6000:
        lines = _mutated(rng, rng.choice(GOOD[:-2]))
        if not _is_one_head(lines):
            continue
        tried += 1
        ours, judged = both(lines, fast)
        if ours != judged:
            taken = judged if ours == "refused" else ours
            assert isinstance(taken, list)
            assert "refused" in (ours, judged), (lines, ours, judged)
            assert _is_refused_by_head(taken), (lines, ours, judged)


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


def _judged_by_h11(data: bytes) -> bytes | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    content = b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Data):
                content += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    return content


class _Sink:
    def __init__(self) -> None:
        self.content = b""
        self.complete = False

    def on_body(self, piece: bytes) -> None:
        if not self.complete:
            self.content += piece

    def on_message_complete(self) -> None:
        self.complete = True


def _judged_by_llhttp(data: bytes) -> bytes | None:
    sink = _Sink()
    parser = HttpRequestParser(sink)
    with suppress(HttpParserError):
        parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    return sink.content if sink.complete else None


def test_what_we_take_for_chunks_both_libraries_take_for_the_same() -> None:
    rng = random.Random(11)
    # No blanks: the RFC would have some of them passed over in extensions, and the libraries do not.
    pieces = [bytes([byte]) for byte in b'\r\n05f;a\0-x:="\xff'] + [b"\r\n"]
    taken = refused = 0
    for _ in range(6000):
        data = bytearray(_chunked(rng, rng.randbytes(rng.randint(0, 40))))
        for _ in range(rng.randint(0, 2)):
            at = rng.randint(0, len(data))
            if rng.random() < 0.6:
                data[at:at] = rng.choice(pieces)
            else:
                del data[at : at + 1]
        try:
            content, rest, complete = _feed(bytes(data))
        except ProtocolError:
            refused += 1
            with pytest.raises(ProtocolError):
                _feed(bytes(data), rng)
            continue
        assert (content, rest, complete) == _feed(bytes(data), rng)
        if complete:
            taken += 1
            message = bytes(data[: len(data) - len(rest)])
            assert _judged_by_h11(message) == content, message
            assert _judged_by_llhttp(message) == content, message
    assert taken > 1000
    assert refused > 1000


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
    for _ in range(8192 - len(b"a: ")):
        reader.feed(b"b")
    with pytest.raises(FieldsTooLarge):
        reader.feed(b"b")
