"""Dependencies: what a function is given because it asks for it in its signature.

    async def get_user(name: Param): ...
    async def show(user=Depends(get_user)): ...

`Injection.plan` works out once, at registration, how each parameter is filled: by the sources of the
subject (an event or a request), or by another function, whose own plan hangs below. Calling the plan
with a subject runs it, inner dependencies first. Values are kept in the subject's DependencyCache, so that
within one context each dependency runs once, even when two calls ask for it at the same time.

For an event every function is an `async def`. For a request (`bind_handler`) it is anything that can be
called: what is `def` runs in a worker thread, all of it in one hop where nothing in the tree needs the loop;
what yields is gone on with when the answer has been sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

import msgspec

from .annotations import metadata, metadata_within, stripped
from .binding import Handler, Parameter, Resolver, Source, bind, itself, takes_first
from .errors import Fault, SignatureError, ValidationError
from .functions import describe, is_async, is_generator
from .requests import Request
from .routing import Converter
from .sources import FromContent, FromPath, RequestSources
from .threads import run_in_thread

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "Bound",
    "Dependency",
    "DependencyCache",
    "Depends",
    "Injection",
    "Overrides",
    "Plan",
    "bind_handler",
    "depend",
    "require_async",
]

S = TypeVar("S")

Function = Callable[..., Any]
Call = Callable[[S, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Dependency:
    """What `Depends` returns. Two of the same function are equal: they share one cached value."""

    fn: Function | None
    use_cache: bool = field(default=True, compare=False)
    timeout: float | None = field(default=None, compare=False)


def Depends(  # noqa: N802
    fn: Function | None = None, use_cache: bool = True, timeout: float | None = None
) -> Any:
    """As a parameter's default, or in its `Annotated[...]`: fill it with what `fn` returns or yields.

    The parameters of `fn` are filled in the same way as a handler's. `fn` is a function, `async def` or
    `def`, a class, or a generator, whose part after `yield` runs when the answer has been sent; raised at the
    `yield` is the exception that was answered, broke the answer off, or kept it from being given (a handler
    that was cancelled: CancelledError), if there was one. For events it is an `async def`.
    Without `fn` it is the class that the parameter is annotated with. `use_cache`: once per request or
    context. `timeout` in seconds, for `fn` and what it depends on; beyond it TimeoutError.

    >>> from typing import Annotated
    >>> def page(number: int = 1) -> int:
    ...     return max(number, 1)
    >>> app = App()
    >>> @app.get("/")
    ... async def index(page: Annotated[int, Depends(page)]) -> list[int]:
    ...     return [page]
    >>> TestClient(app).get("/?number=-3").json()
    [1]
    """
    return Dependency(fn, use_cache, timeout)


depend = Depends


def require_async(function: Function, purpose: str) -> None:
    """Raises SignatureError, which is a TypeError, for anything but an `async def` without `yield`."""
    if not callable(function):
        raise SignatureError(f"{function!r} cannot be called {purpose}")
    if is_generator(function):
        raise SignatureError(f"{describe(function)} yields; {purpose} it must return: return a generator")
    if not is_async(function):
        raise SignatureError(f"{describe(function)} is not an async def, as it must be {purpose}")


class Overrides(dict[Function, Function]):
    """Dependencies in the place of others; `changed` is called when there are others."""

    def __init__(self, functions: Mapping[Function, Function], changed: Callable[[], None]) -> None:
        super().__init__(functions)
        self._changed = changed

    def __setitem__(self, function: Function, other: Function) -> None:
        super().__setitem__(function, other)
        self._changed()

    def __delitem__(self, function: Function) -> None:
        super().__delitem__(function)
        self._changed()

    clear, pop, popitem = MutableMapping.clear, MutableMapping.pop, MutableMapping.popitem
    setdefault, update = MutableMapping.setdefault, MutableMapping.update

    def __ior__(self, others: Any) -> Overrides:  # type: ignore[override,misc]
        self.update(others)
        return self


class DependencyCache(dict[Any, Any]):
    """The values of one context, by Dependency."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        super().__init__()
        self._running: dict[Any, asyncio.Future[Any]] = {}

    async def once(self, key: Any, make: Callable[[], Awaitable[Any]]) -> Any:
        """The value for `key`, made by the first that asks; who asks meanwhile waits for the same.

        An exception goes to all of them and is not kept. If the first is cancelled, the next one makes it.
        """
        while key not in self:
            import asyncio  # a hello does not need it

            running = self._running.get(key)
            if running is None:
                future = self._running[key] = asyncio.get_running_loop().create_future()
                return await self._make(key, make, future)
            await asyncio.wait((running,))
            if not running.cancelled():
                return running.result()
        return self[key]

    async def _make(self, key: Any, make: Callable[[], Awaitable[Any]], future: asyncio.Future[Any]) -> Any:
        try:
            value = self[key] = await make()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # nobody else may be waiting: it counts as seen
            raise
        else:
            future.set_result(value)
            return value
        finally:
            del self._running[key]
            future.cancel()  # does nothing unless we were cancelled


def _check_none_within(parameter: Parameter, function: Function, purpose: str) -> None:
    """Raises SignatureError for a Depends() that nobody would see: what it is to check would be believed."""
    if any(isinstance(m, Dependency) for m in metadata_within(parameter.annotation)):
        raise SignatureError(
            f"the Depends() of {parameter.name!r} of {describe(function)} {purpose} is inside of its type; "
            "write Annotated[... | None, Depends(...)], around the whole"
        )


def _awaited(function: Function, purpose: str) -> Call[Any]:
    """How an event's functions are called."""
    require_async(function, purpose)
    return lambda subject, arguments: cast("Awaitable[Any]", function(**arguments))


class Injection(msgspec.Struct, Generic[S], frozen=True, eq=False):
    """The rules for one kind of subject.

    `sources(function, purpose)` are the ways to fill the parameters of `function`, asked in order (see
    binding.py); `cache(subject)` is where the values of its dependencies are kept, a DependencyCache if two
    calls may ask at the same time; `caller(function, purpose)` says how it is called, or raises
    SignatureError; `overrides` replaces functions by others.
    """

    sources: Callable[[Function, str], Sequence[Source[S]]]
    cache: Callable[[S], dict[Any, Any]]
    caller: Callable[[Function, str], Call[S]] = _awaited
    overrides: Mapping[Function, Function] = msgspec.field(default_factory=dict)

    def plan(self, function: Function, purpose: str) -> Plan[S]:
        """How to call `function` for a subject. Raises SignatureError, with `purpose` at its end."""
        return self._plan(function, purpose, (), {})

    def _plan(
        self, function: Function, purpose: str, above: tuple[Function, ...], known: dict[Any, Plan[S]]
    ) -> Plan[S]:
        # What many depend on is planned once. Not with overrides: what stands for what depends on who asks.
        if (plan := known.get(_key(function))) is not None and not self.overrides:
            return plan
        call = self.caller(function, purpose)
        if function in above:
            raise SignatureError(f"{describe(function)} depends on itself {purpose}")
        below = (*above, function)

        def dependency(parameter: Parameter) -> _Resolved[S] | None:
            said = (parameter.default, *metadata(parameter.annotation))
            asked = [m for m in said if isinstance(m, Dependency)]
            if not asked:
                _check_none_within(parameter, function, purpose)
                return None
            fn = asked[0].fn or stripped(parameter.annotation)
            if fn is inspect.Parameter.empty:
                who = f"{parameter.name!r} of {describe(function)} {purpose}"
                raise SignatureError(f"the Depends() of {who} names no function, and no annotation a class")
            if self.overrides and (other := self.overrides.get(_key(fn), fn)) not in below:
                fn = other  # which may ask for the one that it replaces
            inner = self._plan(fn, f"as a dependency of {describe(function)} {purpose}", below, known)
            key = Dependency(fn, asked[0].use_cache, asked[0].timeout)
            return _Resolved(key, inner, self.cache)

        sources = (dependency, *self.sources(function, purpose))
        plan = known[_key(function)] = Plan(function, call, bind(function, sources, purpose))
        return plan


class Plan(Generic[S]):
    """A function and how each of its parameters is filled: `await plan(subject)`.

    `is_plain`: neither it nor what it depends on needs the loop, so that `here` can run it in a thread.
    """

    __slots__ = ("call", "dependencies", "function", "is_plain", "values")

    def __init__(self, function: Function, call: Call[S], resolvers: dict[str, Resolver[S]]) -> None:
        self.function = function
        self.call = call
        self.values = {n: r for n, r in resolvers.items() if not isinstance(r, _Resolved)}
        self.dependencies = {n: r for n, r in resolvers.items() if isinstance(r, _Resolved)}
        self.is_plain = not is_async(function) and not is_generator(function)
        self.is_plain &= all(inner.is_plain for inner in self.dependencies.values())

    async def __call__(self, subject: S) -> Any:
        """Fill the parameters and call the function. Raises what it, a source or a dependency raises."""
        return await self.call(subject, await self.fill(subject))

    async def fill(self, subject: S) -> dict[str, Any]:
        """The arguments, dependencies first: who may not ask is not told what is wrong with the question.

        What does not fit is gathered from all of them, and raised as one ValidationError.
        """
        arguments: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, dependency in self.dependencies.items():
            try:
                arguments[name] = await dependency(subject)
            except ValidationError as error:
                faults += error.errors
        content = _content_among(self.values)
        if content is not None and content.is_large(cast(Request, subject)):
            return await run_in_thread(_filled, self.values, subject, arguments, faults)
        return _filled(self.values, subject, arguments, faults)

    def here(self, subject: S) -> Any:
        """The same without the loop."""
        arguments: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, dependency in self.dependencies.items():
            try:
                arguments[name] = dependency.here(subject)
            except ValidationError as error:
                faults += error.errors
        return self.function(**_filled(self.values, subject, arguments, faults))


def _filled(
    values: dict[str, Resolver[S]], subject: S, arguments: dict[str, Any], faults: list[Fault]
) -> dict[str, Any]:
    """`arguments`, and the values that come from the subject itself. Raises ValidationError for `faults`
    and those that come to them."""
    for name, resolve in values.items():
        try:
            arguments[name] = resolve(subject)
        except ValidationError as error:
            faults += error.errors
    if faults:
        raise ValidationError(faults)
    return arguments


def _content_among(values: Mapping[str, Resolver[Any]]) -> FromContent | None:
    return next((resolve for resolve in values.values() if isinstance(resolve, FromContent)), None)


class _Resolved(Generic[S]):
    """A Dependency whose own plan is made."""

    __slots__ = ("_cache", "_dependency", "_key", "_plan", "is_plain")

    def __init__(self, dependency: Dependency, plan: Plan[S], cache: Callable[[S], dict[Any, Any]]) -> None:
        self._dependency = dependency
        self._plan = plan
        self._cache = cache
        self._key = _key(plan.function)
        self.is_plain = plan.is_plain and dependency.timeout is None

    async def __call__(self, subject: S) -> Any:
        if not self._dependency.use_cache:
            return await self._run(subject)
        cache = self._cache(subject)
        if isinstance(cache, DependencyCache):
            return await cache.once(self._dependency, lambda: self._run(subject))
        if self._key not in cache:
            cache[self._key] = await self._run(subject)
        return cache[self._key]

    async def _run(self, subject: S) -> Any:
        if self._dependency.timeout is None:
            return await self._plan(subject)
        import asyncio  # a hello does not need it

        async with asyncio.timeout(self._dependency.timeout):
            return await self._plan(subject)

    def here(self, subject: S) -> Any:
        """The value, without the loop."""
        if not self._dependency.use_cache:
            return self._plan.here(subject)
        cache = self._cache(subject)
        if self._key not in cache:
            cache[self._key] = self._plan.here(subject)
        return cache[self._key]


def _key(function: Function) -> Any:
    """The function, as two objects that are equal are one dependency; of what has no hash each is its own."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function


# -- requests


class Bound(NamedTuple):
    """A handler whose arguments are filled: `call(request)`.

    `runs` says where: "on_loop" it is awaited, "in_thread" called in a worker thread, "at_once" called where
    one is, for it gives a generator. `wants_form`: the form must have been read before.
    """

    call: Callable[[Request], Any]
    runs: str
    wants_form: bool = False


def bind_handler(
    handler: Handler,
    converters: Mapping[str, Converter],
    purpose: str,
    *,
    methods: Sequence[str] = (),
    is_streamed: bool = False,
    overrides: Mapping[Function, Function] | None = None,
) -> Bound:
    """How to call `handler` for a request; everything is worked out here. Raises SignatureError.

    `converters` are those of its path, by parameter. `is_streamed`: it reads the content itself. `overrides`
    are dependencies in the place of others.
    """
    sources = RequestSources(converters, methods, is_streamed)
    plan = Injection(sources.of, _cache_of, _called, overrides or {}).plan(handler, purpose)
    runs = "at_once" if is_generator(handler) else "on_loop" if is_async(handler) else "in_thread"
    if not plan.dependencies:
        return Bound(_direct(handler, plan.values, len(converters)), runs, sources.wants_form)
    if runs == "in_thread" and plan.is_plain:
        return Bound(plan.here, runs, sources.wants_form)

    from .dependency_threads import run_to_its_end  # a hello does not need it

    async def call(request: Request) -> Any:
        arguments = await plan.fill(request)
        if runs == "in_thread":
            return await run_to_its_end(request, partial(handler, **arguments))
        return handler(**arguments) if runs == "at_once" else await handler(**arguments)

    return Bound(call, "on_loop", sources.wants_form)


def _direct(handler: Handler, values: dict[str, Resolver[Request]], in_path: int) -> Callable[[Request], Any]:
    """The call of a handler without dependencies."""
    if not values:
        return lambda request: handler()
    resolvers, first = list(values.values()), next(iter(values))
    if resolvers == [itself]:
        return handler if takes_first(handler, [first]) else lambda request: handler(**{first: request})
    if in_path == len(values) and all(isinstance(resolver, FromPath) for resolver in resolvers):
        if in_path == 1 and takes_first(handler, [first]):
            return lambda request: handler(request.params[first])  # PERF: by name a dict is copied
        return lambda request: handler(**request.params)  # PERF: no dict is built for the usual handler
    content = _content_among(values)
    if content is None or not is_async(handler) or is_generator(handler):
        return lambda request: handler(**_filled(values, request, {}, []))

    async def read_in_thread(request: Request) -> Any:
        return await handler(**await run_in_thread(_filled, values, request, {}, []))

    return lambda request: (
        read_in_thread(request) if content.is_large(request) else handler(**_filled(values, request, {}, []))
    )


def _cache_of(request: Request) -> dict[Any, Any]:
    try:
        return request._dependencies
    except AttributeError:
        request._dependencies = {}
        return request._dependencies


def _called(function: Function, purpose: str) -> Call[Request]:
    """How a request's functions are called, each where it belongs."""
    if not callable(function):
        raise SignatureError(f"{function!r} cannot be called {purpose}")
    if is_async(function) and not is_generator(function):
        return lambda request, arguments: cast("Awaitable[Any]", function(**arguments))
    from .dependency_threads import enter_in_thread, run_to_its_end  # a hello does not need them

    if not is_generator(function):
        return lambda request, arguments: run_to_its_end(request, partial(function, **arguments))
    if is_async(function):
        open_async = asynccontextmanager(function)
        return lambda request, arguments: request.afterwards.cleanup.enter_async_context(
            open_async(**arguments)
        )
    opened = contextmanager(function)

    async def enter(request: Request, arguments: dict[str, Any]) -> Any:
        return await enter_in_thread(request, opened(**arguments))

    return enter
