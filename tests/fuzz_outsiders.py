"""h11 and llhttp as servers of their own, what they see otherwise than we do, and what was decided on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import h11
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

__all__ = ["DECISIONS", "Decision", "Message", "decision", "differences"]


class Message(NamedTuple):
    """A complete request."""

    method: str
    target: str
    content: bytes


class Reading(NamedTuple):
    """The complete requests that an outsider sees in a stream, and why there are no more: "" if it waits for
    more bytes, "closed" if it took the last for the last, or its complaint."""

    messages: list[Message]
    reason: str


class Decision(NamedTuple):
    """Why it is right, for all differences that `pattern` matches in full."""

    pattern: str
    why: str


DECISIONS = (
    # -- what we take, and one of them does not
    Decision(
        r"h11 does not take it: no request line received \(head\)",
        "One empty line before a request is passed over (RFC 9112 section 2.2).",
    ),
    Decision(
        r"h11 does not take it: closed behind HTTP/1\.0",
        "A client of HTTP/1.0 may ask for keep-alive (RFC 9112 section 9.3).",
    ),
    Decision(
        r"h11 does not take it: illegal chunk header: bytearray\(b['\"][0-9A-Fa-f]+( |\\t)+;.* \(content\)",
        "Blanks before an extension are to be passed over (RFC 9112 section 7.1.1).",
    ),
    Decision(
        r"llhttp does not take it: Invalid character in chunk (size|extensions.*) \(content.*\)",
        "Blanks before and in an extension are to be passed over (RFC 9112 section 7.1.1).",
    ),
    Decision(
        r"llhttp does not take it: (Invalid method encountered|Invalid method for HTTP/x\.x request"
        r"|Expected space after method|Expected HTTP/2 Connection Preface) \(.*\)",
        "Every token is a method, for the application to know (RFC 9110 section 9.1).",
    ),
    Decision(
        r"llhttp does not take it: Invalid HTTP version \(.*\)",
        "HTTP/1.2 to 1.9 are served as 1.1 (RFC 9110 section 2.5).",
    ),
    Decision(
        r"llhttp does not take it: Request has invalid `Transfer-Encoding` \(content.*\)",
        "A tab behind the coding is no part of the value (RFC 9112 section 5.1).",
    ),
    Decision(
        r"h11 does not take it: (bad Content-Length|conflicting Content-Length headers"
        r"|multiple Transfer-Encoding headers|Only Transfer-Encoding: chunked is supported) \(content\)",
        "A trailer has no say in the framing, and is dropped (RFC 9110 section 6.5.1).",
    ),
    Decision(
        r"llhttp does not take it: (Content-Length can't be present with Transfer-Encoding"
        r"|Content-Length overflow|Duplicate Content-Length|Empty Content-Length|Empty Transfer-Encoding"
        r"|Invalid character in Content-Length"
        r"|Transfer-Encoding can't be present with Content-Length"
        r"|Invalid `Transfer-Encoding` header value) \(content.*\)",
        "A trailer has no say in the framing, and is dropped (RFC 9110 section 6.5.1).",
    ),
    Decision(
        r"llhttp does not take it: Data after `Connection: close` \(.*, with Proxy-Connection\)",
        "Proxy-Connection is no field of HTTP (RFC 9112 appendix C.2.2).",
    ),
    Decision(
        r"llhttp does not take it: Data after `Connection: close` \(.*, with Connection in a trailer\)",
        "A trailer has no say in whether the connection persists (RFC 9110 section 6.5.1).",
    ),
    Decision(
        "llhttp does not take it: it upgrades",
        "An upgrade may be declined, and the request is one like others (RFC 9110 section 7.8).",
    ),
    # -- what both of them take, and we do not
    Decision(
        r"only we refuse it: Host is malformed\.",
        "Nobody is to build a URL of it (RFC 9112 section 3.2).",
    ),
    Decision(
        r"only we refuse it: Only HTTP/1\.1 and HTTP/1\.0 are spoken here\.",
        "Another major version is another protocol (RFC 9110 section 15.6.6).",
    ),
    Decision(
        r"only we refuse it: The target has a fragment\.",
        "No form of a target has one (RFC 9112 section 3.2).",
    ),
    Decision(
        r"only we refuse it: The target is neither a path nor an http URL\.",
        "The authority form is for CONNECT, and this is no proxy (RFC 9112 section 3.2).",
    ),
    Decision(
        r"only we refuse it: The target \* is for OPTIONS only\.",
        "The asterisk form is for a server as a whole (RFC 9112 section 3.2.4).",
    ),
    Decision(
        r"only we refuse it: TRACE is not served here\.",
        "It echoes credentials (RFC 9110 section 9.3.8).",
    ),
    Decision(
        r"only we refuse it: Transfer-Encoding under HTTP/1\.0\.",
        "Its framing is to be taken for faulty (RFC 9112 section 6.1).",
    ),
    Decision(
        r"only we refuse it: Content-Length is not a number of at most 18 digits\.",
        "Nobody needs more than 18 digits, and zeros before them hide a length (RFC 9110 section 8.6).",
    ),
    Decision(
        r"only we refuse it: The chunks are malformed: a size, or what is behind it\.",
        "An extension has a name, and a value behind its equals sign (RFC 9112 section 7.1.1).",
    ),
    Decision(
        r"only we refuse it: The chunks have extensions of more than 256 bytes\.",
        "Their length is to be limited (RFC 9112 section 7.1.1).",
    ),
    # -- what depends on when the bytes come
    Decision(
        r"a matter of time: refused: 400 (The head is malformed: a line does not end in CR LF"
        r"|This is not HTTP/1\.1)\. / refused: (414|431) .*",
        "Of two faults in one head that is told which is seen first.",
    ),
    Decision(
        r"a matter of time: refused: 400 The chunks .* / refused: 431 The trailers .*",
        "Of two faults in one trailer section that is told which is seen first.",
    ),
    Decision(
        r"a matter of time: answered: 413.* / refused: (400 The chunks|431 The trailers) .*",
        "Content that is too long may be answered before its next fault comes.",
    ),
    Decision(
        r"a matter of time: it goes on, or ends, behind answered: (400|413|417)",
        "What is answered early ends the connection, unless the content has come or its rest is small.",
    ),
)

_NO_LIMIT = 1 << 20


def read_by_h11(stream: bytes) -> Reading:
    """As a server of h11 reads it."""
    connection = h11.Connection(h11.SERVER, _NO_LIMIT)
    connection.receive_data(stream)
    messages: list[Message] = []
    method = target = version = ""
    content = b""
    while True:
        place = "content" if connection.their_state is h11.SEND_BODY else "head"
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return Reading(messages, f"{error} ({place})")
        if isinstance(event, h11.Request):
            method, target, version = (b.decode() for b in (event.method, event.target, event.http_version))
            content = b""
        elif isinstance(event, h11.Data):
            content += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            messages.append(Message(method, target, content))
            connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return Reading(messages, f"closed behind HTTP/{version}")
            connection.start_next_cycle()
        else:
            return Reading(messages, "")


class _Messages:
    """What httptools calls."""

    def __init__(self) -> None:
        self.complete: list[Message] = []
        self.place = "head"
        self._parser = HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.target, self.content = b"", b""
        self.place = "head"

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"proxy-connection":
            self.place += ", with Proxy-Connection"
        elif name.lower() == b"connection" and self.place.startswith("content"):
            self.place += ", with Connection in a trailer"

    def on_headers_complete(self) -> None:
        self.place = self.place.replace("head", "content")

    def on_body(self, piece: bytes) -> None:
        self.content += piece

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade():  # or it has skipped the content
            method = self._parser.get_method().decode()
            self.complete.append(Message(method, self.target.decode("latin-1"), self.content))

    def read(self, stream: bytes) -> str:
        try:
            self._parser.feed_data(stream)
        except HttpParserUpgrade:
            return "it upgrades"
        except HttpParserError as error:
            return f"{error} ({self.place})"
        return ""


def read_by_llhttp(stream: bytes) -> Reading:
    """As httptools reads it, which is llhttp."""
    messages = _Messages()
    reason = messages.read(stream)
    return Reading(messages.complete, reason)


OUTSIDERS = {"h11": read_by_h11, "llhttp": read_by_llhttp}


def decision(difference: str) -> Decision | None:
    """The one that covers it."""
    return next((one for one in DECISIONS if re.fullmatch(one.pattern, difference, re.DOTALL)), None)


def differences(taken: Sequence[Message | None], refused: str | None, stream: bytes) -> Iterator[str]:
    """Where the outsiders do not see what we do.

    `taken` are the requests that we took, None for one without the content; `refused` is why we refused the
    next, "" if we wait for more of it, None if we looked at none.
    """
    readings = {name: read(stream) for name, read in OUTSIDERS.items()}
    for name, reading in readings.items():
        yield from _first_difference(name, reading, taken)
    if refused is not None and all(len(reading.messages) > len(taken) for reading in readings.values()):
        yield f"only we refuse it: {refused}" if refused else "only we wait"


def _first_difference(name: str, reading: Reading, taken: Sequence[Message | None]) -> Iterator[str]:
    for number, message in enumerate(taken):
        if number < len(reading.messages):
            if message is not None and not _is_same(message, reading.messages[number]):
                yield f"{name} takes it otherwise: {reading.messages[number]}"
                return
        elif message is not None or number < len(taken) - 1:  # the rest of the last may not have been read
            yield f"{name} does not take it: {reading.reason or 'it waits'}"
            return


def _is_same(ours: Message, theirs: Message) -> bool:
    """Whether they are one request, but for the authority in an absolute target, which became its Host."""
    if (ours.method, ours.content) != (theirs.method, theirs.content):
        return False
    is_absolute = not theirs.target.startswith(("/", "*"))
    return theirs.target.endswith(ours.target[1:]) if is_absolute else theirs.target == ours.target
