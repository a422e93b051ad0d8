"""Heads and chunks by h11: pure Python, and the judge of the other parser.

The same two calls with the same meaning as in parse_httptools.py.
"""

from __future__ import annotations

import h11

from ..errors import ProtocolError
from ..headers import Fields

__all__ = ["H11Parser"]

# http1.py has checked the sizes before a parser sees the bytes.
_NO_LIMIT = 1 << 30


class H11Parser:
    """One for each connection. h11's own state covers one request, so each gets a new one."""

    __slots__ = ("_connection",)

    def __init__(self) -> None:
        self._connection: h11.Connection | None = None

    def head(self, block: bytes) -> tuple[str, str, str, Fields]:
        """Method, target, version and fields of a complete head. Raises ProtocolError."""
        self._connection = h11.Connection(h11.SERVER, _NO_LIMIT)
        self._connection.receive_data(block)
        try:
            request = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            status = 505 if "version" in str(error) else 400
            raise ProtocolError(status, f"The head is malformed: {error}.") from None
        if not isinstance(request, h11.Request):
            raise ProtocolError(400, "The head is malformed.")
        if request.http_version[:2] != b"1.":
            raise ProtocolError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        return (
            request.method.decode("ascii"),
            request.target.decode("latin-1"),
            request.http_version.decode("ascii"),
            request.headers.raw_items(),
        )

    def chunks(self, data: bytes) -> tuple[bytes, bool]:
        """The content in these bytes of a chunked body, and whether it is complete. Raises ProtocolError."""
        assert self._connection is not None
        self._connection.receive_data(data)
        pieces: list[bytes] = []
        try:
            while isinstance(event := self._connection.next_event(), h11.Data):
                pieces.append(bytes(event.data))
        except h11.RemoteProtocolError as error:
            raise ProtocolError(400, f"The chunks are malformed: {error}.") from None
        return b"".join(pieces), isinstance(event, h11.EndOfMessage)
