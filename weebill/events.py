"""Listener: patterns that answer to anything that happens, HTTP being one source among others.

    trigger_event("GET:/user/ann", data={...})
      ├─ match_route         the first registered pattern that matches; none: EventNotFound, at once
      ├─ a Context           the one called `cid`, or a new one that drops itself when the event is done
      └─ a task:  before hooks ─ handler (within the timeout) ─ after hooks
                    └─ an exception: every matching on_error hook, in order; none: log, and the task fails
                  done(), unless prevented

The life of a running listener is one straight line (`run`): startup callbacks, `listen()` until it is time
to stop, `listen()` cancelled, events in flight finished, shutdown callbacks, each to its end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Generic, TypeVar, get_args, get_origin
from uuid import uuid4

from .binding import bind
from .contexts import C, Context, Data, Event, Param, Route, event_injection
from .errors import SignatureError
from .event_errors import (
    ContextAlreadyExists,
    ContextNotFound,
    DuplicateListener,
    EventAlreadyDone,
    EventAlreadyExists,
    EventDataError,
    EventNotFound,
    ListenerError,
    ListenerNotFound,
    PathParamsError,
    RouteError,
)
from .functions import describe
from .injection import Depends, Plan, depend, require_async
from .settings import load

__all__ = [
    "Context",
    "ContextAlreadyExists",
    "ContextNotFound",
    "Data",
    "Depends",
    "DuplicateListener",
    "Event",
    "EventAlreadyDone",
    "EventAlreadyExists",
    "EventDataError",
    "EventNotFound",
    "Listener",
    "ListenerError",
    "ListenerNotFound",
    "Param",
    "PathParamsError",
    "Route",
    "RouteError",
    "depend",
    "get_current_running_listener",
]

logger = logging.getLogger("weebill")

CoroutineFunction = Callable[..., Coroutine[Any, Any, Any]]
F = TypeVar("F", bound=CoroutineFunction)

ANYTHING = "{_:path}"
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_here = threading.local()  # the listener that runs in this thread


def get_current_running_listener() -> Listener[Any]:
    """The listener whose `run` is under way in this thread. Raises ListenerNotFound.

    >>> from weebill.events import Listener, get_current_running_listener
    >>> class Door(Listener):
    ...     async def listen(self):
    ...         print(get_current_running_listener() is self)
    ...         await self.graceful_shutdown()
    >>> Door().run()
    True
    """
    listener: Listener[Any] | None = getattr(_here, "listener", None)
    if listener is None:
        raise ListenerNotFound("no listener runs in this thread")
    return listener


class Listener(Generic[C]):
    """Register handlers for events, override `listen` to trigger them, and `run` it.

    `options` are those of the settings table, graceful_timeout above all. `Listener[MyContext]` as the base
    of a class makes its contexts MyContexts.

    >>> from weebill.events import Event, Listener, Param
    >>> class Door(Listener):
    ...     async def listen(self):
    ...         await self.trigger_event("knock at 7")
    ...         await self.trigger_event("knock at 0")
    ...         await self.graceful_shutdown()
    >>> door = Door(graceful_timeout="5s")
    >>> @door.startup
    ... async def arrive():
    ...     print("at home")
    >>> @door.before_event
    ... async def look(event: Event):
    ...     print("knocked at", event.params["hour"])
    >>> @door.on_event("knock at {hour:int}")
    ... async def knock(hour: Param):
    ...     return 84 // hour
    >>> @door.after_event
    ... async def tell(event: Event):
    ...     print("answered", event.result)
    >>> @door.on_error(ZeroDivisionError)
    ... async def excuse(event: Event):
    ...     print("asleep")
    >>> @door.shutdown
    ... async def leave():
    ...     print("gone")
    >>> door.run()
    at home
    knocked at 7
    answered 12
    knocked at 0
    asleep
    gone
    """

    context_cls: type[Context] = Context

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            kinds = get_args(base) if inspect.isclass(get_origin(base)) else ()
            if kinds and inspect.isclass(kinds[0]) and issubclass(kinds[0], Context):
                cls.context_cls = kinds[0]

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.ctxs: dict[str, C] = {}
        self._routes: dict[str, Route] = {}
        self._static: dict[str, Route] = {}
        self._dynamic: list[Route] = []
        self._before: list[Plan[Event[Any]]] = []
        self._after: list[Plan[Event[Any]]] = []
        self._on_error: list[tuple[type[Exception], Plan[Event[Any]]]] = []
        self._startup: list[CoroutineFunction] = []
        self._shutdown: list[CoroutineFunction] = []
        self._tasks: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks weakly
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self._routes)} routes>"

    # -- registration

    def add_on_event_hook(self, fn: CoroutineFunction, path: str = ANYTHING, **opts: Any) -> None:
        """Let `fn` answer to the events that match `path`; `opts` are kept with the route.

        Where several patterns match, the one registered first wins. Raises RouteError, SignatureError, and
        EventAlreadyExists for the same function with the same pattern.
        """
        route = Route(path, fn, opts)
        if any(known.fn == fn and known.path == path for known in self._routes.values()):
            raise EventAlreadyExists(f"{describe(fn)} is registered for {path!r} already")
        key, number = route.name, 1
        while key in self._routes:
            number += 1
            key = f"{route.name}_{number}"
        self._routes[key] = route
        self._index()

    def remove_on_event_hook(self, handler: str | CoroutineFunction) -> bool:
        """Forget the routes of a handler, given itself or by name. False if there are none.

        >>> from weebill.events import Listener
        >>> async def knock():
        ...     pass
        >>> door = Listener()
        >>> door.add_on_event_hook(knock, "knock")
        >>> door.remove_on_event_hook("knock"), list(door.routes)
        (True, [])
        """
        doomed = [key for key, route in self._routes.items() if handler in (route.name, route.fn)]
        for key in doomed:
            del self._routes[key]
        self._index()
        return bool(doomed)

    def _index(self) -> None:
        """Static patterns by their text, the others in order (see match_route)."""
        self._static, self._dynamic = {}, []
        for order, route in enumerate(self._routes.values()):
            route.order = order
            if route.pattern.is_static:
                self._static.setdefault(route.path, route)
            else:
                self._dynamic.append(route)

    def on_event(self, path: str = ANYTHING, **opts: Any) -> Callable[[F], F]:
        """`add_on_event_hook` as a decorator."""
        if not isinstance(path, str):
            raise RouteError(f"{path!r} is no pattern; write @app.on_event(...), with parentheses")

        def register(fn: F) -> F:
            self.add_on_event_hook(fn, path, **opts)
            return fn

        return register

    def add_before_event_hook(self, fn: CoroutineFunction) -> None:
        """Call `fn` before the handler of every event."""
        self._before.append(event_injection.plan(fn, "as a before_event hook"))

    def add_after_event_hook(self, fn: CoroutineFunction) -> None:
        """Call `fn` after the handler of every event that succeeded."""
        self._after.append(event_injection.plan(fn, "as an after_event hook"))

    def add_on_error_hook(self, fn: CoroutineFunction, exc: type[Exception]) -> None:
        """Call `fn` for every event that `exc` ended; `event.error` is the exception."""
        self._on_error.append((exc, event_injection.plan(fn, "as an on_error hook")))

    def add_startup_callback(self, fn: CoroutineFunction) -> None:
        """Call `fn()` before `listen`. An exception ends the start."""
        self._startup.append(_checked(fn, "as a startup callback"))

    def add_shutdown_callback(self, fn: CoroutineFunction) -> None:
        """Call `fn()` when the last event is over, in order of registration."""
        self._shutdown.append(_checked(fn, "as a shutdown callback"))

    def before_event(self, fn: F) -> F:
        """`add_before_event_hook` as a decorator."""
        self.add_before_event_hook(fn)
        return fn

    def after_event(self, fn: F) -> F:
        """`add_after_event_hook` as a decorator."""
        self.add_after_event_hook(fn)
        return fn

    def on_error(self, exc: type[Exception]) -> Callable[[F], F]:
        """`add_on_error_hook` as a decorator."""
        if not (inspect.isclass(exc) and issubclass(exc, Exception)):
            raise SignatureError(f"{exc!r} is no kind of Exception; write @app.on_error(ValueError)")

        def register(fn: F) -> F:
            self.add_on_error_hook(fn, exc)
            return fn

        return register

    def startup(self, fn: F) -> F:
        """`add_startup_callback` as a decorator."""
        self.add_startup_callback(fn)
        return fn

    def shutdown(self, fn: F) -> F:
        """`add_shutdown_callback` as a decorator."""
        self.add_shutdown_callback(fn)
        return fn

    # -- routes and contexts

    @property
    def routes(self) -> Mapping[str, Route]:
        """The routes in order, by the name of their handler; a further one of that name is "name_2"."""
        return MappingProxyType(self._routes)

    def get_route(self, name: str) -> Route:
        """The route of the handler called `name`. Raises EventNotFound.

        >>> from weebill.events import Listener
        >>> door = Listener()
        >>> @door.on_event("knock at {hour:int}", loud=True)
        ... async def knock():
        ...     pass
        >>> door.get_route("knock").opts
        {'loud': True}
        >>> door.match_route("knock at 7")
        (<Route 'knock at {hour:int}' knock (...)>, {'hour': 7})
        """
        if name not in self._routes:
            raise EventNotFound(
                f"no handler is called {name!r}; there are {', '.join(self._routes) or 'none'}"
            )
        return self._routes[name]

    def match_route(self, path: str) -> tuple[Route, dict[str, Any]]:
        """The route that answers to `path`, and its parameters' values. Raises EventNotFound."""
        exact = self._static.get(path)
        for route in self._dynamic:
            if exact is not None and exact.order < route.order:
                break
            params = route.match(path)
            if params is not None:
                return route, params
        if exact is not None:
            return exact, {}
        raise EventNotFound(f"no pattern matches the event {path!r}")

    def set_context_cls(self, kls: type[Context]) -> None:
        """Make new contexts of this subclass of Context. Raises TypeError for anything else."""
        if not (inspect.isclass(kls) and issubclass(kls, Context)):
            raise TypeError(f"{kls!r} is no subclass of Context")
        self.context_cls = kls

    def new_ctx(self, cid: str | None = None, scope: dict[str, Any] | None = None) -> C:
        """A context that lives until it is dropped; without a `cid` it gets a random one.

        Raises ContextAlreadyExists.

        >>> from weebill.events import Context, Listener
        >>> class Visitor(Context):
        ...     pass
        >>> door = Listener()
        >>> door.set_context_cls(Visitor)
        >>> door.new_ctx("ann", {"shoes": "muddy"}), door.get_ctx("ann").scope
        (<Visitor 'ann'>, {'shoes': 'muddy'})
        """
        if cid is None:
            cid = str(uuid4())
        elif cid in self.ctxs:
            raise ContextAlreadyExists(f"a context {cid!r} is alive already")
        ctx: C = self.context_cls(self, cid=cid, scope=scope)  # type: ignore[assignment]
        self.ctxs[cid] = ctx
        return ctx

    def get_ctx(self, cid: str) -> C:
        """The living context of that name. Raises ContextNotFound."""
        if cid not in self.ctxs:
            raise ContextNotFound(f"no context {cid!r} is alive")
        return self.ctxs[cid]

    # -- events

    def trigger_event(
        self,
        path: str,
        cid: str | None = None,
        timeout: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> asyncio.Task[Any]:
        """Start the handler that answers to `path`; the task's result is the event's.

        The event joins the context `cid`, which is made if it is not there and lives until it is dropped;
        without one it has a context of its own, which goes with it. `timeout` in seconds is for the
        handler. Raises EventNotFound at once, and RuntimeError where no event loop runs.
        """
        route, params = self.match_route(path)
        return self.start_event(self.new_event(route, params, cid, timeout, data))

    def new_event(
        self,
        route: Route,
        params: dict[str, Any],
        cid: str | None = None,
        timeout: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> Event[C]:
        """An event that does not run yet; what `trigger_event` starts."""
        if cid in self.ctxs:
            ctx = self.ctxs[cid]
        else:
            ctx = self.new_ctx(cid)
            ctx.drops_itself = cid is None
        return ctx.new_event(route, data, params, timeout)

    def start_event(self, event: Event[Any]) -> asyncio.Task[Any]:
        """Run `event` in a task of its own."""
        return self._hold(asyncio.get_running_loop().create_task(self._run(event)))

    def _hold(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._tasks.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # counts as seen: `report` has told of it

    async def _run(self, event: Event[Any]) -> Any:
        try:
            await self._handle(event)
        except Exception as error:
            self.report(event, error)
            raise
        finally:
            if event.auto_done:
                event.done()
        return event.result

    async def _handle(self, event: Event[Any]) -> None:
        try:
            for hook in self._before:
                await hook(event)
            await event()
            for hook in self._after:
                await hook(event)
        except Exception as error:
            event.error = error
            hooks = [hook for kind, hook in self._on_error if isinstance(error, kind)]
            if not hooks:
                raise
            for hook in hooks:
                await hook(event)

    def report(self, event: Event[Any], error: Exception) -> None:
        """Log an exception that no on_error hook has taken, or that came from one."""
        where, kind = describe(event.route.fn), type(error).__name__
        logger.error("%r failed in %s: %s: %s", event, where, kind, error, exc_info=error)

    # -- life

    async def listen(self) -> None:
        """To be overridden: wait for what happens and trigger events.

        It may run on until it is cancelled, or set something up and return.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an `async def listen(self)`")

    def run(self) -> None:
        """Run until a signal or `graceful_shutdown`; blocks.

        Raises DuplicateListener if another one runs in this thread, and what a startup callback or `listen`
        raises.
        """
        if (other := getattr(_here, "listener", None)) is not None:
            raise DuplicateListener(f"{other!r} runs in this thread already; start a thread for {self!r}")
        _here.listener = self
        try:
            with asyncio.Runner(loop_factory=self.setup_event_loop) as runner:
                runner.run(self._live())
        finally:
            _here.listener = None

    def setup_event_loop(self) -> asyncio.AbstractEventLoop:
        """A new event loop for `run`. Override it to have another kind.

        >>> import asyncio
        >>> from weebill.events import Listener
        >>> class Guest(Listener):  # of a program that has a loop, signals and logs of its own
        ...     def setup_event_loop(self):
        ...         return asyncio.SelectorEventLoop()
        ...
        ...     def install_signal_handlers(self):
        ...         pass
        ...
        ...     def report(self, event, error):
        ...         print("failed:", event, error)
        ...
        ...     async def listen(self):
        ...         await self.trigger_event("greet")
        >>> guest = Guest()
        >>> @guest.on_event("greet")
        ... async def greet():
        ...     guest.add_shutdown_callback(guest.wait_for_shutdown)
        ...     await guest.graceful_shutdown()
        >>> guest.run()
        """
        return asyncio.new_event_loop()

    def install_signal_handlers(self) -> None:
        """Let SIGINT and SIGTERM call `graceful_shutdown`. In a thread other than the main one: nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, self._on_signal, number)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda n, _: loop.call_soon_threadsafe(self._on_signal, n))

    def _on_signal(self, number: int) -> None:
        self._hold(asyncio.get_running_loop().create_task(self.graceful_shutdown(number)))

    async def graceful_shutdown(self, number: int = signal.SIGTERM) -> None:
        """Begin to stop; returns at once, so that a handler may await it. `number` is the signal.

        Called again, it cuts short what is being waited for: all events in flight, or one shutdown callback.
        """
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def wait_for_shutdown(self) -> None:
        """Return when it is time to stop."""
        await self._stopping.wait()

    async def _live(self) -> None:
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        grace: float = load(self.options).graceful_timeout
        self.install_signal_handlers()
        working = loop.create_task(self._start_and_listen())
        waiting = loop.create_task(self.wait_for_shutdown())
        try:
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not working.cancelled() and working.exception() is None:
                await asyncio.wait((waiting,))  # listen() has set something up and returned
        finally:
            self._stopping.set()
            working.cancel()
            waiting.cancel()
            await self._wind_down((working, waiting), loop.time() + grace)
            for number in SIGNALS:  # from here on they end the process, whatever hangs
                with suppress(NotImplementedError, ValueError):  # Windows; uvloop beside the main thread
                    loop.remove_signal_handler(number)
        for task in (working, waiting):
            if task.done() and not task.cancelled():
                task.result()

    async def _start_and_listen(self) -> None:
        for callback in self._startup:
            await callback()
        await self.listen()

    async def _wind_down(self, cancelled: Collection[asyncio.Task[None]], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        await self._finish(cancelled, deadline - loop.time())
        while self._tasks and not self._hurry.is_set() and loop.time() < deadline:
            # Again and again, because an event may trigger others.
            await self._finish(self._tasks, deadline - loop.time())
        await self._finish(self._tasks, 0)
        for callback in self._shutdown:
            self._hurry.clear()
            task = loop.create_task(callback())
            await self._finish((task,), None)
            if not task.done() or task.cancelled():
                logger.warning("%s was cut short", describe(callback))
            elif error := task.exception():
                logger.error("%s failed: %s", describe(callback), error, exc_info=error)

    async def _finish(self, tasks: Collection[asyncio.Task[Any]], seconds: float | None) -> None:
        """Wait for the tasks, at most that long and not in a hurry, then cancel what is left."""
        if not tasks:
            return
        tasks = set(tasks)
        over = asyncio.ensure_future(asyncio.wait(tasks))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((over, hurry), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (over, hurry, *tasks):
            task.cancel()
        await asyncio.wait(tasks, timeout=1)  # one that refuses to be cancelled does not keep us


def _checked(fn: CoroutineFunction, purpose: str) -> CoroutineFunction:
    require_async(fn, purpose)
    bind(fn, (), purpose)
    return fn
