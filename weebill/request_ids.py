"""A name for each request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import ConfigurationError
from .headers import check_field
from .proxy_headers import Networks

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request
    from .responses import Response

__all__ = ["RequestIDMiddleware"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RequestIDMiddleware:
    """Say `request.id` in the answer, and take it from the request where that has one.

    The log names a failure by it. `header` is the field. An id of the client's counts only if it has 1 to 64
    letters, digits, "-" and "_", so that it cannot forge a line of a log; else a random one is made.
    `trusted`: take ids only from these peers, as in ProxyHeadersMiddleware, which belongs inside of this
    one; () takes none. Raises ConfigurationError.

    >>> from weebill.request_ids import RequestIDMiddleware
    >>> app = App()
    >>> ids = app.middleware(RequestIDMiddleware())
    >>> TestClient(app).get("/", headers={"x-request-id": "abc-1"}).headers["x-request-id"]
    'abc-1'
    """

    def __init__(self, header: str = "X-Request-ID", trusted: Iterable[str] | None = None) -> None:
        try:
            check_field(header.encode(), b"")
        except ValueError as error:
            raise ConfigurationError(f"the header of request ids: {error}") from None
        self._header = header
        self._trusted = None if trusted is None else Networks(trusted)

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        if self._trusted is None or request.exchange.client in self._trusted:
            given = request.headers.get(self._header, "")
            if _ID.fullmatch(given):
                request.id = given
        response = await call_next(request)
        response.headers[self._header] = request.id
        return response
