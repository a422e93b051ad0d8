"""Field lines by h11: pure Python, and the judge of the other parser."""

from __future__ import annotations

import re

import h11

from ..errors import ProtocolError
from ..headers import Fields

__all__ = ["H11Parser"]

# h11 takes bare line feeds, control bytes in values and folded lines, and joins equal Content-Lengths.
_BAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n)|(?:^|\n)[ \t]")
_LIST_OF_LENGTHS = re.compile(rb"^content-length:[^\r]*,", re.IGNORECASE | re.MULTILINE)

# Under 1.0 h11 does not ask for Host; head.py does.
REQUEST_LINE = b"GET / HTTP/1.0\r\n"

# http1.py has checked the sizes before a parser sees the bytes.
_NO_LIMIT = 1 << 30


class H11Parser:
    """One for each connection; h11's own state covers one request, so each gets a new one."""

    __slots__ = ()

    def fields(self, lines: bytes) -> Fields:
        """The fields in the lines of a head, which end in an empty one. Raises ProtocolError."""
        if _BAD.search(lines):
            raise ProtocolError(400, "The fields are malformed: a control byte or a folded line.")
        connection = h11.Connection(h11.SERVER, _NO_LIMIT)
        connection.receive_data(REQUEST_LINE + lines)
        try:
            request = connection.next_event()
        except h11.RemoteProtocolError as error:
            what = str(error).partition(":")[0]  # behind it is what the client has sent
            raise ProtocolError(400, f"The fields are malformed: {what}.") from None
        if not isinstance(request, h11.Request):
            raise ProtocolError(400, "The fields are malformed.")
        fields: Fields = request.headers.raw_items()
        if len(fields) != lines.count(b"\r\n") - 1 or _LIST_OF_LENGTHS.search(lines):
            raise ProtocolError(400, "Content-Length comes twice.")
        # h11 makes one value lower case.
        pairs = zip(fields, lines.split(b"\r\n"), strict=False)
        return [(name, line.partition(b":")[2].strip(b" \t")) for (name, _), line in pairs]
