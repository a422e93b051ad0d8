"""What the differential fuzz sends: streams of HTTP/1.1 by a grammar, then damaged.

    request() ... request() ──> stream() ── damage() ──> bytes ──> fuzz_trial.py

One grammar serves two engines, for all that happens by chance is asked of a `random.Random`. `trials()` has
hypothesis in its place, which chooses cleverly and makes what it found small; `chance()` is a true one, a
hundred times as fast, for scripts/fuzz.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from conformance_cases import spell
from http1_wire import SECOND
from hypothesis import strategies as st

__all__ = ["SMALL_LIMITS", "Trial", "chance", "trials"]

# Limits that a stream of a few hundred bytes meets, so that each meets it at every place of a cut.
SMALL_LIMITS = {
    "max_request_line": 60,
    "max_fields_size": 300,
    "max_fields": 8,
    "max_body": 40,
    "max_chunk_extension": 12,
    "max_trailers": 40,
    "max_pipelined": 100,
}


@dataclass(frozen=True)
class Trial:
    """A stream, the places where it is cut, and whether it meets SMALL_LIMITS."""

    stream: bytes
    cuts: tuple[int, ...] = ()
    small: bool = False

    def __repr__(self) -> str:
        limits = ", small limits" if self.small else ""
        return f"\n{spell(self.stream)}\n(cut at {list(self.cuts)}{limits})"


# -- the grammar: what is usual, and what a grammar of another age or author would allow

_METHODS = (b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE")
_ODD_METHODS = (
    *(b"PATCH", b"QUERY", b"M-SEARCH", b"get", b"!#$%&'*+-.^_`|~1", b"PRI", b"SOURCE", b"ANNOUNCE"),
    *(b"CONNECT", b"TRACE", b"A" * 64, b"A" * 65, b"G(T", b""),
)
_TARGETS = (b"/", b"/", b"/a", b"/a?b=c&d", b"/%20%2F/.././;x=y", b"//a//b", b"/?", b"/\"<>\\^`{|}'")
_ODD_TARGETS = (
    *(b"*", b"http://a", b"http://a/", b"HTTP://B:80/c?d", b"https://[::1]:8/e", b"http://a?b", b"/a?b#c"),
    *(b"http://u@a/", b"http:///a", b"a:80", b"a", b"?", b"#", b"/#", b"ftp://a/", b"http://a,b/"),
    *(b"/caf\xe9", b"/%", b"/%zz", b"/%00", b"/%ff", b"/" + b"a" * 70, b"/\x7f", b"http://a:99999/"),
    *(b"http://a:/", b"//"),
)
_ODD_VERSIONS = (
    *(b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1"),
    *(b"HTTP/1.", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1,1", b"RTSP/1.0", b"ICE/1.0", b"HTTP /1.1", b""),
)
_HOSTS = (b"a", b"a", b"example.org:8080", b"[::1]", b"192.0.2.1:80", b"xn--a.b-c_d~e")
_ODD_HOSTS = (
    *(b"", b"a b", b"u@a", b"a/b", b"a,b", b"a:b", b"a:", b"a:65536", b"[::1", b"[1]", b"[::g]", b"a?b"),
    *(b"a#b", b"caf\xe9", b"%41", b"%4", b"http://a", b"a\\b", b"[v1.a]", b"[::1]a", b"a:80:80"),
)
_FIELDS = (
    *(b"Accept: */*;q=0.1, text/html", b'Cookie: a=b; c="d"', b"X: ", b"X:y", b"X:\t y \t"),
    *(b"x-y_z.1: \xe9\xff", b"Connection: keep-alive", b"Connection: close", b"connection: Upgrade"),
    *(b"Upgrade: h2c, websocket", b"Keep-Alive: timeout=5", b"TE: trailers", b"Trailer: X"),
    *(b"Expect: 100-continue", b"Date: now", b"Content-Type: text/plain", b"Content-Encoding: gzip"),
    *(b"Via: 1.1 a", b"!#$%&'*+-.^_`|~9: :,;=\"(<"),
)
_ODD_FIELDS = (
    *(b"Connection: x , Close", b"Connection: ,", b"Connection:", b"Connection: keep-alive, close"),
    *(b"Connection: close, upgrade", b"Proxy-Connection: close", b"Expect: 200-ok", b"Expect:"),
    *(b"EXPECT: 100-Continue", b"X y: z", b"X : y", b" X: y", b"X", b": y", b"", b"X: a\rb", b"X: a\nb"),
    *(b"X: a\0b", b"X: a\x01b", b"\xe9: y", b"X(: y", b"X: y\r\n z", b"\tX: y", b"X: \x7f"),
    *(b"X: " + b"y" * 300, b"HTTP2-Settings: AAA", b"X: \x0b", b"Content-Length: 0", b"Content-Length: 5"),
    *(b"Transfer-Encoding: chunked", b"Host: a", b"Upgrade:", b"Content_Length: 5", b"Content-Length\0: 5"),
    *(b"Transfer-Encoding : chunked", b"Sec-WebSocket-Key: x"),
)
_LENGTHS = (b"Content-Length: %s", b"Content-Length:%s", b"content-length:\t%s ")
_ODD_LENGTHS = (
    *(b"Content-Length: 0%s", b"Content-Length: +%s", b"Content-Length: -%s", b"Content-Length: %s, %s"),
    *(b"Content-Length: %s,", b"Content-Length: %s\r\nContent-Length: %s", b"Content-Length: 0x%s"),
    *(b"Content-Length: %s_0", b"Content-Length: %s 0", b"Content-Length: %s.0", b"Content-Length : %s"),
    *(b"Content-Length: %s\x0b", b"Content-Length: \xb2%s", b"Content-Length: 00000000000000000000%s"),
    *(b"Content-Length: %s000000000", b"Content-Length: 18446744073709551616", b"Content-Length:"),
    *(b'Content-Length: "%s"', b"Content-Length: %s\r\nTransfer-Encoding: chunked", b"Content-Length: %s;x"),
)
_CODINGS = (b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked", b"TRANSFER-ENCODING: \tchunked ")
_ODD_CODINGS = (
    *(b"Transfer-Encoding: chunked\t", b"Transfer-Encoding: gzip, chunked"),
    *(b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: chunked, chunked"),
    *(b"Transfer-Encoding: identity", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,"),
    *(b"Transfer-Encoding:", b"Transfer-Encoding: chunked;a=b", b"Transfer-Encoding: x"),
    *(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: \x0bchunked"),
    *(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", b'Transfer-Encoding: "chunked"'),
    *(b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
    *(b"Transfer-Encoding:\r\n chunked", b"Transfer_Encoding: chunked", b"Transfer-Encoding: chun\rked"),
    *(b"Transfer-Encoding: \xffchunked", b"Transfer-Encoding: chunked\0"),
)
_CONTENTS = (
    *(b"", b"x", b"hello", b"a=b&c=d", b"\0\r\n\xff", b"0\r\n\r\n", b"x" * 30, b"x" * 60, b"\r\n"),
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
)
_EXTENSIONS = (b"", b"", b"", b";a", b";a=b", b';a="b c;\\"\\\\";d', b";a=b;c=d")
_ODD_EXTENSIONS = (
    *(b" ;a", b"; a = b", b";", b";;", b";a=", b";=b", b' ; a="b', b";a\x01", b";\xe9", b';a="\xe9"'),
    *(b";a b", b" ", b"\t", b";a\n", b";a\rb", b" a", b"x", b";a=b\0", b';a="\n"', b";" + b"a" * 30),
    b";" + b"a" * 300,
)
_TRAILERS = (b"", b"", b"X: y\r\n", b"X:\r\nY: z \t\r\n")
_ODD_TRAILERS = (
    *(b"X y: z\r\n", b"X\r\n", b": y\r\n", b" X: y\r\n", b"X: y\r\n z\r\n", b"X : y\r\n", b"X: \0\r\n"),
    *(b"X: y\n", b"X: \xe9\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n"),
    *(b"X: y\r", b"X: " + b"y" * 50 + b"\r\n", b"X: \rz\r\n", b"\xe9: y\r\n", b"X: \x7f\r\n"),
)
_ODD_SIZES = (
    *(b"0%x", b"00000000000000%x", b"+%x", b"-%x", b"0x%x", b"%x ", b" %x", b"%x_0", b"%xg", b"%x\t", b""),
    *(b"00000000000000000%x", b"\n%x", b"%x,%x", b"%x.0", b"1000000000000000%x", b"ffffffffffffffff"),
    b'"%x"',
)
_ODD_ENDS = (b"", b"\n", b"\r", b"x\r\n", b"\r\n\r\n", b"xx", b"\n\r", b"\r\r\n")


def _one(rng: Random, usual: Sequence[bytes], odd: Sequence[bytes], times: int = 20) -> bytes:
    """One of the usual, and one of the odd once in so many times."""
    return rng.choice(odd if rng.randrange(times) == 0 else usual)


def _times(template: bytes, number: int) -> bytes:
    return template.replace(b"%s", b"%d" % number).replace(b"%x", b"%x" % number)


def _chunks(rng: Random, content: bytes) -> bytes:
    out, at = [], 0
    while at <= len(content):
        size = rng.randint(1, max(len(content), 1))
        piece = content[at : at + size]
        digits = _times(_one(rng, (b"%x", b"%x", b"0%x"), _ODD_SIZES, 40), len(piece))
        extension = _one(rng, _EXTENSIONS, _ODD_EXTENSIONS, 30)
        if not piece:
            out.append(digits + extension + b"\r\n" + _one(rng, _TRAILERS, _ODD_TRAILERS, 10) + b"\r\n")
            break
        end = _one(rng, (b"\r\n",), _ODD_ENDS, 40)
        out.append(digits + extension + b"\r\n" + piece + end)
        at += len(piece)
    return b"".join(out)


def request(rng: Random) -> bytes:
    """One request: mostly a good one."""
    version = _one(rng, (b"HTTP/1.1",), _ODD_VERSIONS)
    line = b" ".join((_one(rng, _METHODS, _ODD_METHODS), _one(rng, _TARGETS, _ODD_TARGETS), version))
    fields = [_one(rng, _FIELDS, _ODD_FIELDS) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))]
    if rng.randrange(40):
        fields.insert(rng.randint(0, len(fields)), b"Host: " + _one(rng, _HOSTS, _ODD_HOSTS))
    content, kind = rng.choice(_CONTENTS), rng.randrange(4)
    if kind == 0:
        fields.append(_times(_one(rng, _LENGTHS, _ODD_LENGTHS, 8), len(content)))
        content += b"\r\n" if rng.randrange(20) == 0 else b""
    elif kind == 1:
        fields.append(_one(rng, _CODINGS, _ODD_CODINGS, 8))
        content = _chunks(rng, content)
    else:
        content = b""
    if kind < 2 and rng.randrange(3) == 0:
        rng.shuffle(fields)
    before = b"\r\n" if rng.randrange(30) == 0 else b""
    return before + line + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + content


# -- damage

_BLANKS = (
    b" ",
    b"  ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\xa0",
    b"\xc2\xa0",
    b"\x85",
    b"\xe2\x80\xa8",
    b"\0",
    b"\x1c",
)
_LINE_ENDS = (
    *(b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"", b"\r\n ", b"\r\n\t", b"\n\n", b"\r\0\n", b"\r \n"),
    *(b" \r\n", b"\x0b", b"\x85", b"\xe2\x80\xa8", b"\r\n\n", b"\r\n\r"),
)
_PIECES = (
    *(b"\r\n", b"\n", b"\r", b":", b";", b",", b"=", b"\0", b"\x7f", b"\x80", b"\xff", b'"', b"("),
    *(b"\x1b[2J", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n", b"0\r\n\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b" HTTP/1.1\r\n"),
    *(b"GET / ", b"Connection: upgrade\r\nUpgrade: x\r\n"),
)
_NUMBERS = (
    *(b"+1", b"-1", b"0x1", b"1_0", b"01", b"1 ", b" 1", b"1,1", b"1e1", b"1.0", b"", b"0", b"1", b"2", b"9"),
    *(b"a", b"99999999999999999999", b"18446744073709551617", b"\xb2", b"\xd9\xa5", b"999999999999999999"),
    *(b"1;1", b"\xff"),
)
_NUMBER = re.compile(rb"[0-9]+")
_LINE = re.compile(rb"[^\r\n]*\r\n")
_WORD = re.compile(rb"[A-Za-z]+")


def _within(rng: Random, data: bytearray) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(start + rng.choice((1, 1, 2, 4, 16, 64)), len(data))


def _found(rng: Random, data: bytearray, what: re.Pattern[bytes]) -> tuple[int, int]:
    """One of the places where it stands, and how many they are does not matter much."""
    found = what.search(data, rng.randint(0, len(data))) or what.search(data)
    return found.span() if found else (len(data), len(data))


def _insert(rng: Random, data: bytearray) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.choice(_PIECES)


def _insert_blank(rng: Random, data: bytearray) -> None:
    start, end = _found(rng, data, rng.choice((_WORD, _NUMBER, _LINE)))
    at = rng.choice((start, end, max(end - 2, 0), rng.randint(0, len(data))))
    data[at:at] = rng.choice(_BLANKS)


def _delete(rng: Random, data: bytearray) -> None:
    start, end = _within(rng, data)
    del data[start:end]


def _replace(rng: Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _repeat(rng: Random, data: bytearray) -> None:
    start, end = _found(rng, data, _LINE) if rng.randrange(2) else _within(rng, data)
    at = end if rng.randrange(2) else rng.randint(0, len(data))
    data[at:at] = data[start:end]


def _splice(rng: Random, data: bytearray) -> None:
    other = bytearray(request(rng))
    start, end = _found(rng, other, _LINE) if rng.randrange(2) else _within(rng, other)
    at = _found(rng, data, _LINE)[0] if rng.randrange(2) else rng.randint(0, len(data))
    data[at:at] = other[start:end]


def _change_line_end(rng: Random, data: bytearray) -> None:
    end = _found(rng, data, _LINE)[1]
    data[max(end - 2, 0) : end] = rng.choice(_LINE_ENDS)


def _change_case(rng: Random, data: bytearray) -> None:
    start, end = _found(rng, data, _WORD)
    data[start:end] = data[start:end].swapcase()


def _change_number(rng: Random, data: bytearray) -> None:
    start, end = _found(rng, data, _NUMBER)
    data[start:end] = rng.choice(_NUMBERS)


def _cut_off(rng: Random, data: bytearray) -> None:
    del data[rng.randint(0, len(data)) :]


_DAMAGES: tuple[Callable[[Random, bytearray], None], ...] = (
    *(_insert, _insert, _insert_blank, _insert_blank, _delete, _delete, _replace, _replace, _repeat, _splice),
    *(_change_line_end, _change_line_end, _change_case, _change_number, _cut_off),
)


def stream(rng: Random) -> bytes:
    """What one client sends on one connection."""
    data = bytearray(b"".join(request(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))))
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 4))):
        rng.choice(_DAMAGES)(rng, data)
    # Whoever frames otherwise loses this one, or finds it at another place.
    return bytes(data) + (SECOND if rng.randrange(3) else b"")


# -- the two engines


def chance(rng: Random) -> Trial:
    """A trial by chance."""
    data = stream(rng)
    cuts = sorted({rng.randint(0, len(data)) for _ in range(rng.choice((1, 2, 3, 8)))})
    return Trial(data, tuple(cuts), rng.randrange(4) == 0)


def trials() -> st.SearchStrategy[Trial]:
    """A trial that hypothesis chooses."""
    return st.randoms(use_true_random=False).map(chance)
