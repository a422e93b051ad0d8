"""What begins and ends with an application: what is mounted in it, its middleware, its lifespan, and the
functions for its start and its end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from .binding import Handler, parameters
from .errors import ConfigurationError, SignatureError, StartError
from .functions import describe, is_async
from .logs import logger
from .threads import run_in_thread

if TYPE_CHECKING:
    from .exchange import Application
    from .router import Router

__all__ = ["Life", "Lifespan", "as_context_manager"]

Lifespan = Callable[..., AbstractAsyncContextManager[Any]]


class Life:
    """The beginning and the end of one application. `on_shutdown` is called in reverse order."""

    def __init__(self, lifespan: Lifespan | None = None) -> None:
        self.lifespan = lifespan and as_context_manager(lifespan)
        self.on_startup: list[Handler] = []
        self.on_shutdown: list[Handler] = []
        self._times = 0  # it was begun: once, and again by each mount of the application
        self._stack = AsyncExitStack()

    @property
    def has_begun(self) -> bool:
        """Whether it is too late for something new to begin with it."""
        return self._times > 0

    async def begin(self, app: Router) -> None:
        """Start everything, unless it has been started. What was started is ended when something fails."""
        self._times += 1
        if self._times > 1:
            return
        self._stack = AsyncExitStack()
        try:
            await self._begin(app)
        except BaseException:
            self._times -= 1
            await self._stack.aclose()
            raise

    async def _begin(self, app: Router) -> None:
        first = {r.application: r.pattern.text for r in reversed(app.routes) if r.application is not None}
        for application in dict.fromkeys(r.application for r in app.routes if r.application is not None):
            await _start_mounted(application, first[application] or "/")
            self._stack.push_async_callback(application.__shutdown__)
        for middleware in _middlewares(app):
            await self._begin_middleware(middleware, app)
        if self.lifespan is not None:
            await self._stack.enter_async_context(self.lifespan(app))
        for function in self.on_shutdown:
            self._stack.push_async_callback(_call, function)
        for function in self.on_startup:
            await _call(function)

    async def _begin_middleware(self, middleware: Handler, app: Router) -> None:
        """A middleware may have `startup(app)` and `shutdown()`, plain or async."""
        if (startup := getattr(middleware, "startup", None)) is not None:
            await _call(startup, app)
        if (shutdown := getattr(middleware, "shutdown", None)) is not None:
            self._stack.push_async_callback(_call, shutdown)

    async def end(self) -> None:
        """End everything, the last started first, when nobody needs it any more."""
        self._times -= 1
        if not self._times:
            await self._stack.aclose()


async def _start_mounted(application: Application, prefix: str) -> None:
    """Raises StartError that says where it is mounted."""
    try:
        await application.__startup__()
    except Exception as error:
        if not isinstance(error, ConfigurationError):  # which says everything in its sentence
            logger().error("The application mounted at %r cannot start", prefix, exc_info=error)
        raise StartError(f"the application mounted at {prefix!r} cannot start: {error}") from error


def _middlewares(app: Router) -> list[Handler]:
    """Every middleware of every router and route, once, the outermost first."""
    of_routers = (m for area in app.areas for router in area.routers for m in router.middlewares)
    everyone = (*of_routers, *(m for route in app.routes for m in route.middlewares))
    return list({id(m): m for m in everyone}.values())  # two that are equal are two, and need not be hashable


def as_context_manager(lifespan: Callable[..., Any]) -> Lifespan:
    """`lifespan`, whether it is decorated with asynccontextmanager already or not."""
    if len(parameters(lifespan, "as a lifespan")) != 1:
        raise SignatureError(f"the lifespan {describe(lifespan)} must take one parameter, the app")
    return asynccontextmanager(lifespan) if inspect.isasyncgenfunction(lifespan) else lifespan


async def _call(function: Handler, *args: Any) -> None:
    await (function(*args) if is_async(function) else run_in_thread(function, *args))
