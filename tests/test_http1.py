"""What a connection takes and what it refuses, in the order of RFC 9112.

Each case goes through both parsers and comes three ways: whole, byte by byte, and with another request
behind it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from http1_wire import PARSERS, SECOND, WAYS, Application, Seen, Wire, talk

pytestmark = [pytest.mark.parametrize("parser", PARSERS), pytest.mark.parametrize("way", WAYS)]

HOST = b"Host: a\r\n"
BROWSER = (
    b"Host: example.org:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\nCookie: a=b; c=d\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"
)


def seen(
    target: str = "/", method: str = "GET", version: str = "1.1", content: bytes = b""
) -> dict[str, Any]:
    return {"method": method, "target": target, "http_version": version, "content": content}


def post(fields: bytes, content: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"POST / HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n" + content


PRINTABLE = bytes(range(0x21, 0x7F)).translate(None, b"#%")  # a fragment, an escape
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# name: (request, what the application sees)
TAKEN: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a request as browsers send it": (b"GET /a?b=c HTTP/1.1\r\n" + BROWSER, seen("/a?b=c")),
    "one empty line before it": (b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", seen()),
    "a method that nobody registered": (b"FROB / HTTP/1.1\r\n" + HOST + b"\r\n", seen(method="FROB")),
    "a method in lower case": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", seen(method="get")),
    "a method of all that a token may hold": (
        b"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\n" + HOST + b"\r\n",
        seen(method="!#$%&'*+-.^_`|~09azAZ"),
    ),
    "a method of RTSP and of ICE": (b"SOURCE / HTTP/1.1\r\n" + HOST + b"\r\n", seen(method="SOURCE")),
    "HTTP/1.2, served as 1.1": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", seen()),
    "the asterisk form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", seen("*", "OPTIONS")),
    "the absolute form": (b"GET http://b/c?d HTTP/1.1\r\n" + HOST + b"\r\n", seen("/c?d")),
    "the absolute form without a path": (b"GET HTTP://b?c HTTP/1.1\r\n" + HOST + b"\r\n", seen("/?c")),
    "two slashes": (b"GET //b/c HTTP/1.1\r\n" + HOST + b"\r\n", seen("//b/c")),
    "every byte that a target may hold": (
        b"GET /" + PRINTABLE + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        seen("/" + PRINTABLE.decode()),
    ),
    "an upgrade that nobody wants": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        seen(),
    ),
    "an upgrade with content": (
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n", b"ab"),
        seen(method="POST", content=b"ab"),
    ),
    "HTTP/1.0 with keep-alive and without Host": (
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        seen(version="1.0"),
    ),
    "a Host with port, and one of IPv6": (b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", seen()),
    "a Host with an empty port": (b"GET / HTTP/1.1\r\nhOST: a.example:\r\n\r\n", seen()),
    "a Content-Length": (post(b"Content-Length: 3\r\n", b"abc"), seen(method="POST", content=b"abc")),
    "a Content-Length with leading zeros and blanks around it": (
        post(b"Content-Length: \t 0003 \t\r\n", b"abc"),
        seen(method="POST", content=b"abc"),
    ),
    "a Content-Length of 0": (post(b"Content-Length: 0\r\n"), seen(method="POST")),
    "content of a GET": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\n!",
        seen(content=b"!"),
    ),
    "content that looks like a request": (
        post(b"Content-Length: %d\r\n" % len(SECOND), SECOND),
        seen(method="POST", content=SECOND),
    ),
    "chunks": (
        post(CHUNKED, b"3\r\nabc\r\n0004\r\ndefg\r\n0\r\n\r\n"),
        seen(method="POST", content=b"abcdefg"),
    ),
    "chunks that hold CR LF": (
        post(CHUNKED, b"A\r\n\r\n\r\n0\r\n\r\n!\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n"),
        seen(method="POST", content=b"\r\n\r\n0\r\n\r\n!\r\n\r\n"),
    ),
    "no chunk but the last": (post(CHUNKED, b"0\r\n\r\n"), seen(method="POST")),
    "a last chunk of many zeros": (post(CHUNKED, b"0000\r\n\r\n"), seen(method="POST")),
    "chunk extensions, which are passed over": (
        post(CHUNKED, b'1;a;b=c ; d = "e;\\"f\r"\r\nx\r\n0;g\r\n\r\n'.replace(b'\r"', b'"')),
        seen(method="POST", content=b"x"),
    ),
    "trailers, which are passed over": (
        post(CHUNKED, b"1\r\nx\r\n0\r\nExpires: never\r\nHost: evil\r\nContent-Length: 7\r\n\r\n"),
        seen(method="POST", content=b"x"),
    ),
    "a Transfer-Encoding in capitals": (
        post(b"transfer-encoding: CHUNKED\r\n", b"1\r\nx\r\n0\r\n\r\n"),
        seen(method="POST", content=b"x"),
    ),
    "the longest size of a chunk": (
        post(CHUNKED, b"000000000000000f\r\n0123456789abcde\r\n0\r\n\r\n"),
        seen(method="POST", content=b"0123456789abcde"),
    ),
}


def _as_expected(found: Seen, expected: dict[str, Any]) -> bool:
    return {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("case", TAKEN)
def test_a_good_request_is_handed_over_as_it_was_meant_and_the_next_one_too(
    case: str, parser: str, way: str
) -> None:
    request, expected = TAKEN[case]

    async def main() -> None:
        wire = await talk(request, way, parser)
        handed = wire.app.seen
        assert _as_expected(handed[0], expected), handed[0]
        targets = [expected["target"]]
        if way == "with another behind it":
            targets.append("/second")
        assert [answer.content.decode() for answer in wire.answers()] == targets
        assert [s.target for s in handed] == targets
        assert not wire.transport.ended
        # The connection goes on: nothing is left over.
        wire.send(b"POST /third HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nok")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.app.seen[-1].content == b"ok"
        assert wire.answers()[-1].content == b"/third"

    asyncio.run(main())


FIELDS: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {
    "no blank behind the colon": (b"a:b\r\n", [(b"a", b"b")]),
    "blanks around a value": (b"a: \t b c \t \r\n", [(b"a", b"b c")]),
    "a tab in a value": (b"a: b\tc\r\n", [(b"a", b"b\tc")]),
    "an empty value": (b"a:\r\nb: \r\nc: \t \r\n", [(b"a", b""), (b"b", b""), (b"c", b"")]),
    "bytes beyond ASCII": (b"a: caf\xe9 \xff\x80\r\n", [(b"a", b"caf\xe9 \xff\x80")]),
    "every byte of a token in a name": (b"!#$%&'*+-.^_`|~09Az: 1\r\n", [(b"!#$%&'*+-.^_`|~09Az", b"1")]),
    "the same name twice, in order": (
        b"a: 1\r\nb: 2\r\nA: 3\r\n",
        [(b"a", b"1"), (b"b", b"2"), (b"A", b"3")],
    ),
    "colons in a value": (b"a: b:c: d\r\n", [(b"a", b"b:c: d")]),
    "lists of connection options": (
        b"Connection: keep-alive, x\r\nProxy-Connection: close\r\n",
        [(b"Connection", b"keep-alive, x"), (b"Proxy-Connection", b"close")],
    ),
}


@pytest.mark.parametrize("case", FIELDS)
def test_fields_are_handed_over_without_the_blanks_around_their_values(
    case: str, parser: str, way: str
) -> None:
    lines, expected = FIELDS[case]

    async def main() -> None:
        wire = await talk(b"GET / HTTP/1.1\r\n" + HOST + lines + b"\r\n", way, parser)
        assert wire.app.seen[0].fields == [(b"Host", b"a"), *expected]
        assert wire.answers()[0].status == 200

    asyncio.run(main())


def test_the_host_of_an_absolute_target_takes_the_place_of_the_field(parser: str, way: str) -> None:
    async def main() -> None:
        wire = await talk(b"GET http://b:1/ HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n", way, parser)
        assert wire.app.seen[0].fields == [(b"host", b"b:1"), (b"X", b"1")]

    asyncio.run(main())


def get(line: bytes, fields: bytes = HOST) -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


# name: (request, status)
REFUSED: dict[str, tuple[bytes, int]] = {
    # RFC 9112 section 2.2: lines
    "two empty lines before it": (b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bare LF before it": (b"\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bare CR before it": (b"\rGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a request line that ends in LF": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "a field that ends in LF": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    "an end of the head in LF": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "lines in LF only": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "a field that ends in CR CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    "a field that ends in CR": (b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400),
    "a blank before the first field": (get(b"GET / HTTP/1.1", b" X: y\r\n" + HOST), 400),
    # section 3: the request line
    "no request line": (b"Host: a\r\n\r\n", 400),
    "HTTP/0.9": (get(b"GET /"), 400),
    "two spaces behind the method": (get(b"GET  / HTTP/1.1"), 400),
    "two spaces before the version": (get(b"GET /  HTTP/1.1"), 400),
    "a tab for a space": (get(b"GET\t/ HTTP/1.1"), 400),
    "a space before the method": (get(b" GET / HTTP/1.1"), 400),
    "a space at the end": (get(b"GET / HTTP/1.1 "), 400),
    "a space in the target": (get(b"GET /a b HTTP/1.1"), 400),
    "a method that is no token": (get(b"G\x22T / HTTP/1.1"), 400),
    "a method beyond ASCII": (get(b"G\xc3\x89T / HTTP/1.1"), 400),
    "a method of 65 bytes": (get(b"A" * 65 + b" / HTTP/1.1"), 400),
    "no method": (get(b"/ HTTP/1.1"), 400),
    "a version in lower case": (get(b"GET / http/1.1"), 400),
    "a version of two digits": (get(b"GET / HTTP/1.10"), 400),
    "a version without its second number": (get(b"GET / HTTP/1"), 400),
    "a version with a sign": (get(b"GET / HTTP/+1.1"), 400),
    "the version 0.9": (get(b"GET / HTTP/0.9"), 505),
    "the version 2.0": (get(b"GET / HTTP/2.0"), 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "another protocol": (get(b"GET / RTSP/1.0"), 400),
    "ICE": (get(b"SOURCE / ICE/1.0"), 400),
    # section 3.2: targets
    "no target": (get(b"GET  HTTP/1.1"), 400),
    "a fragment": (get(b"GET /a#b HTTP/1.1"), 400),
    "a fragment behind an absolute target": (get(b"GET http://a/b#c HTTP/1.1"), 400),
    "a control in the target": (get(b"GET /\x01 HTTP/1.1"), 400),
    "a DEL in the target": (get(b"GET /\x7f HTTP/1.1"), 400),
    "a NUL in the target": (get(b"GET /\0 HTTP/1.1"), 400),
    "a byte beyond ASCII in the target": (get(b"GET /\xe9 HTTP/1.1"), 400),
    "a relative target": (get(b"GET a/b HTTP/1.1"), 400),
    "an asterisk for GET": (get(b"GET * HTTP/1.1"), 400),
    "an authority for GET": (get(b"GET a:80 HTTP/1.1"), 400),
    "an authority for CONNECT": (get(b"CONNECT a:80 HTTP/1.1"), 501),
    "CONNECT with a path": (get(b"CONNECT / HTTP/1.1"), 501),
    "TRACE": (get(b"TRACE / HTTP/1.1"), 501),
    "another scheme": (get(b"GET ftp://a/b HTTP/1.1"), 400),
    "an absolute target without a host": (get(b"GET http:///b HTTP/1.1"), 400),
    "an absolute target with a user": (get(b"GET http://u:p@a/b HTTP/1.1"), 400),
    "an absolute target with a bad port": (get(b"GET http://a:b/ HTTP/1.1"), 400),
    # section 3.2: Host
    "no Host": (get(b"GET / HTTP/1.1", b""), 400),
    "no Host beside an absolute target": (get(b"GET http://a/ HTTP/1.1", b""), 400),
    "two Hosts": (get(b"GET / HTTP/1.1", b"Host: a\r\nHost: a\r\n"), 400),
    "two Hosts under HTTP/1.0": (get(b"GET / HTTP/1.0", b"Host: a\r\nHost: b\r\n"), 400),
    "two Hosts beside an absolute target": (get(b"GET http://a/ HTTP/1.1", b"Host: a\r\nHost: b\r\n"), 400),
    **{
        f"the Host {host!r}": (get(b"GET / HTTP/1.1", b"Host: " + host + b"\r\n"), 400)
        for host in (
            *(
                b"",
                b" ",
                b"a b",
                b"a, b",
                b"a,b",
                b"user@a",
                b"a/b",
                b"a?b",
                b"a#b",
                b"http://a",
                b"a:b",
                b"a:-1",
            ),
            *(
                b"a:123456",
                b"a:65536",
                b"a:80:80",
                b"[::1",
                b"::1",
                b"[1:2]",
                b"[:::]",
                b"[g::]",
                b"[]",
                b"a\\b",
            ),
            *(b"a\xe9", b'"a"', b"<a>", b"a%zz", b"a%2", b":80", b"a\tb"),
        )
    },
    # section 5: fields
    "a blank before the colon": (get(b"GET / HTTP/1.1", b"Host : a\r\n"), 400),
    "a folded field": (get(b"GET / HTTP/1.1", b"X: y\r\n z\r\n" + HOST), 400),
    "a field folded with a tab": (get(b"GET / HTTP/1.1", HOST + b"X: y\r\n\tz\r\n"), 400),
    "no colon": (get(b"GET / HTTP/1.1", HOST + b"X\r\n"), 400),
    "no name": (get(b"GET / HTTP/1.1", HOST + b": y\r\n"), 400),
    "a name with a blank": (get(b"GET / HTTP/1.1", HOST + b"X Y: z\r\n"), 400),
    "a name that is no token": (get(b"GET / HTTP/1.1", HOST + b"X(Y): z\r\n"), 400),
    "a name beyond ASCII": (get(b"GET / HTTP/1.1", HOST + b"X\xe9: z\r\n"), 400),
    "a name with a NUL": (get(b"GET / HTTP/1.1", HOST + b"X\0: z\r\n"), 400),
    **{
        f"the control {byte:#04x} in a value": (
            get(b"GET / HTTP/1.1", HOST + b"X: y%bz\r\n" % bytes([byte])),
            400,
        )
        for byte in (*range(9), *range(10, 32), 127)
    },
    # section 6: framing
    **{
        f"the Content-Length {value!r}": (post(b"Content-Length: " + value + b"\r\n", b"abc"), 400)
        for value in (
            *(b"", b"+3", b"-3", b"0x3", b"3_0", b"3.0", b"3,3", b"3, 4", b"3 3", b"three", b"\xb2"),
            *(b"9" * 19, b"1" * 400, b'"3"'),
        )
    },
    "a Content-Length twice": (post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"), 400),
    "two Content-Lengths": (post(b"Content-Length: 3\r\ncontent-length: 4\r\n", b"abcd"), 400),
    "a Content-Length beside Transfer-Encoding": (
        post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n"),
        400,
    ),
    "Transfer-Encoding beside a Content-Length": (
        post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"),
        400,
    ),
    "chunked under HTTP/1.0": (post(CHUNKED, b"0\r\n\r\n", b"1.0"), 400),
    "chunked twice": (post(CHUNKED + CHUNKED, b"0\r\n\r\n"), 400),
    **{
        f"the Transfer-Encoding {value!r}": (
            post(b"Transfer-Encoding: " + value + b"\r\n", b"0\r\n\r\n"),
            400,
        )
        for value in (
            *(
                b"",
                b"gzip",
                b"identity",
                b"gzip, chunked",
                b"chunked, gzip",
                b"chunked, chunked",
                b"xchunked",
            ),
            *(b"chunked,", b", chunked", b"chunked;a=b", b'"chunked"', b"chunked chunked", b"\x0bchunked"),
        )
    },
    # section 7.1: chunks
    **{
        f"the chunks {chunks!r}": (post(CHUNKED, chunks), 400)
        for chunks in (
            *(b"\r\n", b"g\r\n", b"-1\r\n", b"+1\r\nx\r\n", b"0x1\r\nx\r\n", b"1_0\r\nx\r\n", b" 1\r\nx\r\n"),
            *(b"1 \r\nx\r\n", b"1\nx\r\n", b"1\r\nx\n", b"1\r\nxy\r\n", b"1\r\nx\rz", b"1\rx\r\n"),
            *(b"3\r\nab\r\n0\r\n\r\n", b"0\r\n\n", b"0\n\r\n", b"00000000000000001\r\nx\r\n0\r\n\r\n"),
            *(b"1;\r\nx\r\n", b"1;a=\r\nx\r\n", b"1;a b\r\nx\r\n", b'1;a="b\r\nx\r\n', b"1;a\0\r\nx\r\n"),
            *(b"1;a\nb\r\nx\r\n", b"1,a\r\nx\r\n", b"1;a=b\x7f\r\nx\r\n"),
            *(b"0\r\nX : y\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\n: y\r\n\r\n", b"0\r\nX: y\r\n z\r\n\r\n"),
            *(b"0\r\nX: \0\r\n\r\n", b"0\r\nX: y\nZ: z\r\n\r\n", b"0\r\n X: y\r\n\r\n"),
        )
    },
    "a chunk extension of more than 256 bytes": (
        post(CHUNKED, b"1;" + b"a" * 300 + b"\r\nx\r\n0\r\n\r\n"),
        400,
    ),
    "trailers of more than 8 KiB": (post(CHUNKED, b"0\r\n" + b"a: b\r\n" * 1500 + b"\r\n"), 431),
    "a trailer of more than 8 KiB": (post(CHUNKED, b"0\r\na: " + b"b" * 8300 + b"\r\n\r\n"), 431),
    # sizes
    "a request line beyond its limit": (get(b"GET /" + b"a" * 8192 + b" HTTP/1.1"), 414),
    "fields beyond their limit": (get(b"GET / HTTP/1.1", HOST + (b"X: " + b"y" * 997 + b"\r\n") * 66), 431),
    "more fields than allowed": (get(b"GET / HTTP/1.1", HOST + b"x: y\r\n" * 100), 431),
    # what is no HTTP at all
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)), 400),
    "bytes beyond ASCII": (b"\xff\xfe\r\n\r\n", 400),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_gets_its_status_and_one_log_line_and_nobody_else_sees_it(
    case: str, parser: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    request, status = REFUSED[case]

    async def main() -> None:
        wire = await talk(request, way, parser)
        (answer,) = wire.answers()
        assert answer.status == status, answer
        assert answer.complete
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "date" in answer.headers
        assert wire.transport.ended
        assert wire.app.seen == []
        # Whatever comes behind it is nobody's.
        wire.send(SECOND)
        assert len(wire.answers()) == 1

    with caplog.at_level(logging.INFO, "weebill"):
        asyncio.run(main())
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith(f"refused 192.0.2.7: {status} ")
    assert len(line) < 600
    assert line.isprintable()


@pytest.mark.parametrize(
    "case", ["GET / HTTP/0.9", "GET / HTTP/1.1\nHost: a\n", "POST / HTTP/1.1\r\nHost: a\n\n"]
)
def test_a_head_that_can_only_be_bad_is_not_waited_for(case: str, parser: str, way: str) -> None:
    async def main() -> None:
        head = case.encode() + (b"" if "\n" in case else b"\r\n\r\n")
        wire = await talk(head, way, parser)
        assert wire.answers()[0].status in (400, 505)

    asyncio.run(main())


@pytest.mark.parametrize("size", [0, 1, 5, 255, 256, 4096])
def test_a_head_at_its_limits_is_taken_and_one_byte_more_is_not(size: int, parser: str, way: str) -> None:
    limits = {"max_request_line": 64 + size, "max_fields_size": 32 + size, "max_fields": 3}
    line = b"GET /" + b"a" * (64 + size - 14) + b" HTTP/1.1"
    fields = b"Host: b\r\nX: " + b"y" * (32 + size - 12)
    assert len(line) == limits["max_request_line"]
    assert len(fields) == limits["max_fields_size"]

    async def status(head: bytes) -> int:
        wire = await talk(head + b"\r\n\r\n", way, parser, **limits)
        return wire.answers()[0].status

    async def main() -> None:
        assert await status(line + b"\r\n" + fields) == 200
        assert await status(line.replace(b"/", b"/a") + b"\r\n" + fields) == 414
        assert await status(line + b"\r\n" + fields + b"y") == 431
        assert await status(b"GET / HTTP/1.1\r\n" + b"Host: b" + b"\r\na:b" * 2) == 200
        assert await status(b"GET / HTTP/1.1\r\n" + b"Host: b" + b"\r\na:b" * 3) == 431

    asyncio.run(main())


def test_a_head_without_an_end_is_refused_at_its_limit_and_not_kept(parser: str, way: str) -> None:
    async def main() -> None:
        for begin, status in ((b"GET /", 414), (b"GET / HTTP/1.1\r\nX: ", 431)):
            wire = Wire(parser=parser)
            piece = {"whole": 100_000, "byte by byte": 1, "with another behind it": 1000}[way]
            wire.send(begin)
            sent = 0
            while not wire.transport.ended and sent < 200_000:
                wire.send(b"a" * piece)
                sent += piece
            assert wire.answers()[0].status == status
            assert sent <= 100_000

    asyncio.run(main())


def test_a_bad_request_does_not_swallow_the_answer_of_the_good_one_before_it(parser: str, way: str) -> None:
    async def main() -> None:
        good = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
        for bad in (b"GET / HTTP/1.1\r\n\r\n", b"\0", b"GET / HTTP/9.9\r\n\r\n", post(CHUNKED, b"x\r\n")):
            wire = await talk(good + bad, way, parser)
            first, second = wire.answers()
            assert (first.status, first.content) == (200, b"/good")
            assert second.status in (400, 505)
            assert [s.target for s in wire.app.seen] == ["/good"]

    asyncio.run(main())


def test_many_requests_behind_one_another_are_answered_in_order(parser: str, way: str) -> None:
    async def answer_slowly(exchange: Any) -> None:
        for _ in range(len(exchange.target) % 3):
            await asyncio.sleep(0)
        await exchange.respond(200, [], exchange.target.encode() + exchange.body.read_all())

    async def main() -> None:
        kinds = (
            (b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", b""),
            (b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
            (b"PUT /%d HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n", b"def"),
            (b"\r\nDELETE /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b""),
        )
        stream = b"".join(kinds[n % 4][0] % n for n in range(40))
        wire = Wire(Application(answer_slowly), parser)
        if way == "byte by byte":
            await wire.send_in_bytes(stream)
        else:
            wire.send(stream)
        for _ in range(300):
            await asyncio.sleep(0)
        expected = [b"/%d" % n + kinds[n % 4][1] for n in range(40)]
        assert [answer.content for answer in wire.answers()] == expected

    asyncio.run(main())
