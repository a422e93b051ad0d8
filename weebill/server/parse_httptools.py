"""Field lines by httptools, which is llhttp: the fast parser."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from ..errors import ProtocolError
from ..headers import Fields

__all__ = ["HttptoolsParser"]

# llhttp takes two spaces for one, RTSP for HTTP and only the methods that it knows. So it is given a request
# line without surprises; head.py has read the true one.
REQUEST_LINE = b"GET / HTTP/1.1\r\n"
TAB = 9


class HttptoolsParser:
    """One for each connection."""

    __slots__ = ("_fields", "_parser", "_reusable")

    def __init__(self) -> None:
        self._reusable = False
        self._fields: Fields = []

    def fields(self, lines: bytes) -> Fields:
        """The fields in the lines of a head, which end in an empty one. Raises ProtocolError."""
        if not self._reusable:  # it waits for content, or for what it was to be upgraded to
            self._parser = HttpRequestParser(self)
        self._reusable = False
        # PERF: `in` makes and drops an exception before it looks for more than one byte; for one it is fast.
        if lines.find(b" \r") >= 0 or (TAB in lines and lines.find(b"\t\r") >= 0):
            lines = _without_blanks_behind(lines)
        fields: Fields = []
        self._fields = fields
        try:
            self._parser.feed_data(REQUEST_LINE + lines)
        except HttpParserUpgrade:
            self._reusable = False  # to what it would change is not this parser's to know
        except HttpParserError as error:
            raise ProtocolError(400, f"The fields are malformed: {error}.") from None
        return fields

    # -- what httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_message_complete(self) -> None:
        # One call less for each request than a new parser, if nothing is left over.
        self._reusable = self._parser.should_keep_alive()


def _without_blanks_behind(lines: bytes) -> bytes:
    """The lines without blanks behind their values, where llhttp leaves them, or stumbles (RFC 9112 section
    5.1). A line that has no colon is no field, and stays for llhttp to refuse."""
    return b"\r\n".join(line.rstrip(b" \t") if b":" in line else line for line in lines.split(b"\r\n"))
