"""What is left to do when the answer has been sent: background work, then the clean-up of dependencies.

    handler ── background(f) ──┐        ┌── f()          in the order in which it came
    dependency ── yield ──────┐│  sent  │
                              │└───────>┤
                              └────────>└── after yield   the last one first, with the handler's exception

Nothing of it reaches the client any more: what fails is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from .functions import describe, is_async
from .logs import logger
from .threads import finish_in_thread

__all__ = ["Afterwards"]


class Afterwards:
    """The things to do after one answer. `cleanup` is closed last, with the `error` that was answered, or
    that left no answer: who was cancelled has not done what it was to do.

    >>> app, told = App(), []
    >>> @app.get("/")
    ... def index(request):
    ...     request.afterwards.work.append((told.append, ("counted",), {}))
    ...     request.afterwards.cleanup.callback(told.append, "closed")
    >>> TestClient(app).get("/").status_code, told
    (204, ['counted', 'closed'])
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.work: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self.cleanup = AsyncExitStack()

    async def run(self) -> None:
        """Do it all. Raises nothing but CancelledError."""
        try:
            for function, args, kwargs in self.work:
                await _attempt(function, args, kwargs)
        finally:
            await self._clean_up()

    async def _clean_up(self) -> None:
        error = self.error
        try:
            if error is None:
                await self.cleanup.aclose()
            else:  # with its traceback, or it would lose it
                await self.cleanup.__aexit__(type(error), error, error.__traceback__)
        except Exception as raised:
            if raised is not error:  # it has been told of already
                logger().error("a dependency failed while it was cleaned up", exc_info=raised)


async def _attempt(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        if is_async(function):
            await function(*args, **kwargs)
        else:
            await finish_in_thread(partial(function, *args, **kwargs))
    except Exception as error:
        logger().error("the background work %s failed", describe(function), exc_info=error)
