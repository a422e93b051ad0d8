"""A limit on the time that handlers take."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from .errors import ConfigurationError, HandlerTimeout
from .settings import parse_duration

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request
    from .responses import Response

__all__ = ["TimeoutMiddleware"]


class TimeoutMiddleware:
    """Give everything inside of it `seconds`, or "5s", and answer 503 beyond that.

    An `async def` handler is cancelled then; the thread of a `def` cannot be stopped and goes on in vain.
    What streams has as long as it likes once its handler has returned, and a mounted application always. A
    route's own `timeout=` and the server's `handler_timeout` count besides. Raises ConfigurationError, and in
    a request HandlerTimeout, which error handlers may answer.

    >>> import asyncio
    >>> from weebill.timeouts import TimeoutMiddleware
    >>> app = App()
    >>> @app.get("/", middleware=[TimeoutMiddleware("10ms")])
    ... async def slow() -> None:
    ...     await asyncio.Event().wait()
    >>> TestClient(app).get("/").status_code
    503
    """

    def __init__(self, seconds: float | str) -> None:
        try:
            self.seconds = parse_duration(seconds) if isinstance(seconds, str) else float(seconds)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"TimeoutMiddleware({seconds!r}): {error}") from None
        if not 0 < self.seconds < math.inf:
            raise ConfigurationError(f"TimeoutMiddleware({seconds!r}): it takes seconds above 0, or '5s'")

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        try:
            async with asyncio.timeout(self.seconds) as limit:
                return await call_next(request)
        except TimeoutError:
            if not limit.expired():  # another middleware's own
                raise
            raise HandlerTimeout(self.seconds) from None
