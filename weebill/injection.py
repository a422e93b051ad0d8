"""Dependencies: what a function is given because it asks for it in its signature.

    async def get_user(name: Param): ...
    async def show(user=Depends(get_user)): ...

`Injection.plan` works out once, at registration, how each parameter is filled: by the sources of the
subject (an event, later a request), or by another function, whose own plan hangs below. Calling the plan
with a subject runs it, inner dependencies first. Values are kept in the subject's DependencyCache, so that
within one context each dependency runs once, even when two calls ask for it at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

from .binding import Parameter, Source, bind
from .errors import SignatureError
from .functions import describe, is_async, is_generator

__all__ = [
    "Dependency",
    "DependencyCache",
    "Depends",
    "Injection",
    "Plan",
    "depend",
    "markers",
    "require_async",
]

S = TypeVar("S")

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Dependency:
    """What `Depends` returns. Two of the same function are equal: they share one cached value."""

    fn: Function
    use_cache: bool = field(default=True, compare=False)
    timeout: float | None = field(default=None, compare=False)


def Depends(fn: Function, use_cache: bool = True, timeout: float | None = None) -> Any:  # noqa: N802
    """As a parameter's default, or in its `Annotated[...]`: fill it with what `fn` returns.

    `fn` is an `async def` whose own parameters are filled in the same way. `use_cache`: once per context.
    `timeout` in seconds, for `fn` and what it depends on; beyond it TimeoutError.
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


def markers(parameter: Parameter) -> tuple[Any, ...]:
    """The metadata of a parameter that is annotated with `Annotated[...]`."""
    return get_args(parameter.annotation)[1:] if get_origin(parameter.annotation) is Annotated else ()


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
            running = self._running.get(key)
            if running is None:
                return await self._make(key, make)
            await asyncio.wait((running,))
            if not running.cancelled():
                return running.result()
        return self[key]

    async def _make(self, key: Any, make: Callable[[], Awaitable[Any]]) -> Any:
        future = self._running[key] = asyncio.get_running_loop().create_future()
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


@dataclass(frozen=True)
class Injection(Generic[S]):
    """The rules for one kind of subject.

    `sources(function)` are the ways to fill the parameters of `function`, asked in order (see binding.py);
    `cache(subject)` is where the values of its dependencies are kept.
    """

    sources: Callable[[Function], Sequence[Source[S]]]
    cache: Callable[[S], DependencyCache]

    def plan(self, function: Function, purpose: str) -> Plan[S]:
        """How to call `function` for a subject. Raises SignatureError, with `purpose` at its end."""
        return self._plan(function, purpose, ())

    def _plan(self, function: Function, purpose: str, above: tuple[Function, ...]) -> Plan[S]:
        require_async(function, purpose)
        if function in above:
            raise SignatureError(f"{describe(function)} depends on itself")
        below = (*above, function)

        def dependency(parameter: Parameter) -> _Resolved[S] | None:
            asked = [m for m in (parameter.default, *markers(parameter)) if isinstance(m, Dependency)]
            if not asked:
                return None
            inner = self._plan(asked[0].fn, f"as a dependency of {describe(function)}", below)
            return _Resolved(asked[0], inner, self.cache)

        return Plan(function, bind(function, (dependency, *self.sources(function)), purpose))


class Plan(Generic[S]):
    """An async function and how each of its parameters is filled: `await plan(subject)`."""

    __slots__ = ("_dependencies", "_values", "function")

    def __init__(self, function: Function, resolvers: dict[str, Callable[[S], Any]]) -> None:
        self.function = function
        self._values = [(n, r) for n, r in resolvers.items() if not isinstance(r, _Resolved)]
        self._dependencies = [(n, r) for n, r in resolvers.items() if isinstance(r, _Resolved)]

    async def __call__(self, subject: S) -> Any:
        """Fill the parameters and call the function. Raises what it, a source or a dependency raises."""
        arguments = {name: resolve(subject) for name, resolve in self._values}
        for name, dependency in self._dependencies:
            arguments[name] = await dependency(subject)
        return await self.function(**arguments)


class _Resolved(Generic[S]):
    """A Dependency whose own plan is made."""

    __slots__ = ("_cache", "_dependency", "_plan")

    def __init__(self, dependency: Dependency, plan: Plan[S], cache: Callable[[S], DependencyCache]) -> None:
        self._dependency = dependency
        self._plan = plan
        self._cache = cache

    async def __call__(self, subject: S) -> Any:
        if self._dependency.use_cache:
            return await self._cache(subject).once(self._dependency, lambda: self._run(subject))
        return await self._run(subject)

    async def _run(self, subject: S) -> Any:
        if self._dependency.timeout is None:
            return await self._plan(subject)
        async with asyncio.timeout(self._dependency.timeout):
            return await self._plan(subject)
