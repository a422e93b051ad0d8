"""Route, Event and Context: what a listener (events.py) hands to its handlers.

    Listener ──ctxs──> Context ──events──> Event ──route──> Route     the handler and its pattern
                          │                  └─ data, params, result, error
                          ├─ scope           whatever its maker puts there
                          └─ cache           values of dependencies, once per context

A context holds events that belong together, and keeps them until it is dropped. One that was made for a
single event drops itself when that event, and whatever else was triggered in it, is done.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_origin

from .annotations import metadata
from .binding import Parameter, Resolver, Source
from .errors import PatternError
from .event_errors import (
    EventAlreadyDone,
    EventDataError,
    EventNotFound,
    PathParamsError,
    RouteError,
)
from .functions import describe
from .injection import DependencyCache, Injection
from .routing import compile_pattern

__all__ = ["Context", "Data", "Event", "Param", "Route", "event_injection"]


class _Marker(Enum):
    PARAM = "path parameter"
    DATA = "data"


# `name: Param` is the path parameter called name, `name: Data` is event.data["name"].
Param = Annotated[Any, _Marker.PARAM]
Data = Annotated[Any, _Marker.DATA]


class Route:
    """A pattern of event names and its handler. `opts` are the program's own.

    Raises RouteError for a pattern that means nothing, SignatureError for an unfit handler.

    >>> from weebill.events import Route
    >>> async def knock():
    ...     pass
    >>> Route("knock at {hour:int}", knock).match("knock at 7")
    {'hour': 7}
    """

    def __init__(self, path: str, fn: Callable[..., Any], opts: dict[str, Any] | None = None) -> None:
        self.path = path
        self.fn = fn
        self.name: str = getattr(fn, "__name__", type(fn).__name__)
        self.opts = {} if opts is None else opts
        self.order = 0  # its place among the listener's routes
        try:
            self.pattern = compile_pattern(path)
        except PatternError as error:
            raise RouteError(f"{describe(fn)}: {error}") from None
        self.plan = event_injection.plan(fn, f"as the handler of the event {path!r}")

    def match(self, path: str) -> dict[str, Any] | None:
        """The parameters' values if `path` matches, else None."""
        return self.pattern.match(path)

    def __repr__(self) -> str:
        return f"<Route {self.path!r} {describe(self.fn)}>"


class Context:
    """Events that belong together: those of one connection, one user, one request.

    `scope` is free for the program. `events` holds the events of each route in the order in which they
    were triggered.

    >>> from weebill.events import Context, Listener
    >>> class Door(Listener):
    ...     async def listen(self):
    ...         visit = self.new_ctx("ann", {"shoes": "muddy"})
    ...         print(await visit.trigger_event("knock"), len(visit.events[self.get_route("knock")]))
    ...         print(visit.is_alive, visit.drop(), visit.is_alive)
    ...         await self.graceful_shutdown()
    >>> door = Door()
    >>> @door.on_event("knock")
    ... async def knock(visit: Context):
    ...     return f"Take off the {visit.scope['shoes']} shoes."
    >>> door.run()
    Take off the muddy shoes. 1
    True True False
    """

    def __init__(self, listener: Any, cid: str, scope: dict[str, Any] | None = None) -> None:
        self.listener = listener  # Any: a program's own Listener has attributes of its own
        self.cid = cid
        self.scope = {} if scope is None else scope
        self.cache = DependencyCache()
        self.events: defaultdict[Route, list[Event[Any]]] = defaultdict(list)
        self.drops_itself = False
        self._unfinished = 0
        self._progress: asyncio.Event | None = None  # there while somebody waits

    @property
    def is_alive(self) -> bool:
        """Whether the listener still knows it."""
        return self.listener.ctxs.get(self.cid) is self

    def drop(self) -> bool:
        """Make the listener forget it. False if it has already."""
        if not self.is_alive:
            return False
        del self.listener.ctxs[self.cid]
        return True

    def new_event(
        self,
        route: Route,
        data: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Event[Any]:
        """An event of this context that does not run yet (see Listener.start_event)."""
        event: Event[Any] = Event(self, route, timeout, data, params)
        self.events[route].append(event)
        self._unfinished += 1
        return event

    def trigger_event(
        self, path: str, timeout: float | None = None, data: dict[str, Any] | None = None
    ) -> asyncio.Task[Any]:
        """`Listener.trigger_event` in this context."""
        route, params = self.listener.match_route(path)
        task: asyncio.Task[Any] = self.listener.start_event(self.new_event(route, data, params, timeout))
        return task

    def event_done(self) -> None:
        """Called by each of its events, once."""
        self._unfinished -= 1
        waited_for, self._progress = self._progress, None
        if waited_for is not None:
            waited_for.set()
        if self.drops_itself and not self._unfinished:
            self.drop()
            if waited_for is None:  # context and events hold each other: let both go now, not at some gc
                self.events.clear()

    async def wait_done(self, name: str, n: int) -> list[Any]:
        """Wait until at least `n` events of the handler `name` are done; their results in order."""
        while True:
            done = [e for r, events in self.events.items() if r.name == name for e in events if e.is_done]
            if len(done) >= n:
                return [event.result for event in done]
            if self._progress is None:
                self._progress = asyncio.Event()
            await self._progress.wait()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.cid!r}>"


if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    # So that a bare `Event` or `Listener` is one of Contexts; typing's TypeVar knows defaults from 3.13 on.
    C = DefaultTypeVar("C", bound=Context, default=Context)
else:
    C = TypeVar("C", bound=Context)


class Event(Generic[C]):
    """Something that happened, on its way through hooks and handler.

    `data` is what came with it, `params` are the values of the pattern's parameters, `result` is what the
    handler returned (hooks may set another), `error` the exception that ended it. `timeout` in seconds is
    the handler's.

    >>> from weebill.events import Event, Listener
    >>> class Door(Listener):
    ...     async def listen(self):
    ...         await self.trigger_event("knock", data={"who": "ann"})
    ...         await self.graceful_shutdown()
    >>> door = Door()
    >>> @door.on_event("knock")
    ... async def knock(event: Event):
    ...     event.listener.trigger_event("open", event.ctx.cid)
    ...     return event.data["who"], await event.wait_event_done("open_up")
    >>> @door.on_event("open")
    ... async def open_up():
    ...     return "creak"
    >>> @door.after_event
    ... async def tell(event: Event):
    ...     print(event.route.path, event.result)
    >>> door.run()
    open creak
    knock ('ann', ['creak'])
    """

    def __init__(
        self,
        ctx: C,
        route: Route,
        timeout: float | None = None,
        data: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
    ) -> None:
        self.ctx = ctx
        self.route = route
        self.timeout = timeout
        self.data: dict[str, Any] = {} if data is None else data
        self.params: dict[str, Any] = {} if params is None else params
        self.result: Any = None
        self.error: Exception | None = None
        self.auto_done = True
        self._done = asyncio.Event()

    @property
    def listener(self) -> Any:
        """The listener of its context."""
        return self.ctx.listener

    @property
    def is_done(self) -> bool:
        """Whether everything about it is over."""
        return self._done.is_set()

    def done(self) -> None:
        """Say that it is over, and wake all who wait for it. Comes by itself, unless prevented."""
        if not self._done.is_set():
            self._done.set()
            self.ctx.event_done()

    def prevent_auto_done(self) -> None:
        """Leave it to the program to call `done()`. Raises EventAlreadyDone when it is too late.

        >>> import asyncio
        >>> from weebill.events import Event, Listener
        >>> class Bell(Listener):
        ...     async def listen(self):
        ...         event = self.new_event(*self.match_route("ring"))
        ...         self.start_event(event)
        ...         await event.wait_until_done()
        ...         print("rung:", event.is_done)
        ...         await self.graceful_shutdown()
        >>> bell = Bell()
        >>> @bell.on_event("ring")
        ... async def ring(event: Event):
        ...     event.prevent_auto_done()
        ...     asyncio.get_running_loop().call_soon(event.done)
        >>> bell.run()
        rung: True
        """
        if self.is_done:
            raise EventAlreadyDone(f"{self!r} is done already")
        self.auto_done = False

    async def wait_until_done(self) -> None:
        """Return when it is done."""
        await self._done.wait()

    async def wait_event_done(
        self,
        name: str,
        n: int = 1,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the tiny-listener API
    ) -> list[Any]:
        """Wait until at least `n` events of the handler called `name` are done in this context.

        Returns the results of those that are, in the order in which they were triggered. Raises
        EventNotFound if no handler has that name, TimeoutError after `timeout` seconds.
        """
        if all(route.name != name for route in self.listener.routes.values()):
            raise EventNotFound(f"no handler is called {name!r}, so no event of it will be done")
        async with asyncio.timeout(timeout):
            return await self.ctx.wait_done(name, n)

    async def __call__(self) -> Any:
        """Run its handler within its timeout, without hooks. Raises EventAlreadyDone, TimeoutError and what
        the handler raises."""
        if self.is_done:
            raise EventAlreadyDone(f"{self!r} is done already")
        if self.timeout is None:
            self.result = await self.route.plan(self)
        else:
            async with asyncio.timeout(self.timeout):
                self.result = await self.route.plan(self)
        return self.result

    def __repr__(self) -> str:
        return f"<Event {self.route.path!r} {self.params}>"


# -- what may be injected for an event


def _by_class(parameter: Parameter) -> Resolver[Event[Any]] | None:
    kind = get_origin(parameter.annotation) or parameter.annotation
    if not inspect.isclass(kind):
        return None
    if issubclass(kind, Event):
        return lambda event: event
    if issubclass(kind, Context):
        return lambda event: event.ctx
    return None


def _marked(where: str) -> Source[Event[Any]]:
    def source(parameter: Parameter) -> Resolver[Event[Any]] | None:
        name = parameter.name
        found = [m for m in metadata(parameter.annotation) if isinstance(m, _Marker)]
        if not found:
            return None
        of_path = found[0] is _Marker.PARAM

        def resolve(event: Event[Any]) -> Any:
            values = event.params if of_path else event.data
            if name in values:
                return values[name]
            if parameter.has_default:
                return parameter.default
            if of_path:
                raise PathParamsError(f"{where} asks for {name!r}, but {event.route.path!r} has no such part")
            raise EventDataError(f"{where} asks for {name!r}, but {event!r} has no such data")

        return resolve

    return source


def _nothing(parameter: Parameter) -> Resolver[Event[Any]] | None:
    unannotated = parameter.annotation is inspect.Parameter.empty
    return (lambda event: None) if unannotated and not parameter.has_default else None


def _sources(function: Callable[..., Any], purpose: str) -> Sequence[Source[Event[Any]]]:
    return (_by_class, _marked(describe(function)), _nothing)


event_injection: Injection[Event[Any]] = Injection(_sources, lambda event: event.ctx.cache)
