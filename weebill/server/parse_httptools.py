"""Heads and chunks by httptools, which is llhttp: the fast parser.

`head` is given a complete head and never a byte more, `chunks` never a byte beyond the end of the content;
http1.py cuts the stream, so no state is left over from one request to the next.
"""

from __future__ import annotations

import re

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from ..errors import ProtocolError
from ..headers import Fields

__all__ = ["HttptoolsParser"]

# A method longer than this is nobody's (RFC 9110 registers none beyond 17 characters).
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n")


class HttptoolsParser:
    """One for each connection."""

    __slots__ = ("_complete", "_content", "_fields", "_parser", "_target")

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._complete = True
        self._content: list[bytes] | None = None

    # -- what http1.py calls

    def head(self, block: bytes) -> tuple[str, str, str, Fields]:
        """Method, target, version and fields of a complete head. Raises ProtocolError."""
        if not self._complete:  # it still waits for content that http1.py counted by itself
            self._parser = HttpRequestParser(self)
        self._target = b""
        self._fields: Fields = []
        self._complete = False
        self._content = None
        method = None
        try:
            self._parser.feed_data(block)
        except HttpParserUpgrade:
            pass  # to what it would change is not this parser's to know; the next bytes are HTTP to us
        except HttpParserError as error:
            method = self._second_try(block, error)
        version = self._parser.get_http_version()
        method = method or self._parser.get_method().decode("ascii")
        return method, self._target.decode("latin-1"), version, self._fields

    def chunks(self, data: bytes) -> tuple[bytes, bool]:
        """The content in these bytes of a chunked body, and whether it is complete. Raises ProtocolError."""
        self._content = []
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            raise ProtocolError(400, f"The chunks are malformed: {error}.") from None
        return b"".join(self._content), self._complete

    def _second_try(self, block: bytes, error: HttpParserError) -> str:
        """llhttp knows a list of methods and of versions. Give it any other of the same form under a name
        that it knows; return the real method. What is malformed is a ProtocolError that says so."""
        found = _REQUEST_LINE.match(block)
        if found is None:
            raise ProtocolError(400, f"The request line is malformed: {error}.") from None
        method, target, major, minor = found.groups()
        if major != b"1":
            raise ProtocolError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.") from None
        if isinstance(error, HttpParserInvalidMethodError) or minor not in b"01":
            self._parser = HttpRequestParser(self)
            self._target, self._fields, self._complete = b"", [], False
            version = b"1.0" if minor == b"0" else b"1.1"
            try:
                self._parser.feed_data(b"POST %b HTTP/%b\r\n" % (target, version) + block[found.end() :])
            except HttpParserUpgrade:
                pass
            except HttpParserError as second:
                raise ProtocolError(400, f"The head is malformed: {second}.") from None
            return method.decode("ascii")
        raise ProtocolError(400, f"The head is malformed: {error}.") from None

    # -- what httptools calls

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._content is None:  # trailers are dropped: they never become fields (RFC 9110 section 6.5.1)
            self._fields.append((name, value))

    def on_body(self, piece: bytes) -> None:
        assert self._content is not None
        self._content.append(piece)

    def on_message_complete(self) -> None:
        self._complete = True
