"""The options of a route, said once: for the type checker, for help() and for who misspells them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypedDict, TypeVar, get_type_hints

from .binding import Handler
from .errors import ConfigurationError, SignatureError
from .exchange import Intake
from .functions import describe, is_async, is_generator
from .habits import unknown_options

__all__ = [
    "RouteOptions",
    "check_middleware",
    "check_options",
    "intake_of",
    "middlewares_of",
    "timeout_of",
    "with_options",
]

F = TypeVar("F", bound=Callable[..., Any])


class RouteOptions(TypedDict, total=False):
    """The options of a route, see `Router.route`."""

    name: str | None
    stream: bool
    max_body: int | str | None
    timeout: float | str | None
    cancel_on_disconnect: bool
    middleware: Iterable[Handler]


def with_options(function: F) -> F:
    """Have help() show the options one by one: they are said once, in RouteOptions."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=[*own, *_options()])  # type: ignore[attr-defined]
    return function


@cache
def _options() -> list[inspect.Parameter]:
    options = []
    for name, kind in get_type_hints(RouteOptions).items():
        default = {bool: False, Iterable[Handler]: ()}.get(kind)
        options.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        )
    return options


def check_options(path: str, options: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for an option that there is not."""
    if unknown := [name for name in options if name not in RouteOptions.__annotations__]:
        raise unknown_options(f"the route {path!r}", unknown, RouteOptions.__annotations__)


def intake_of(options: RouteOptions, path: str, handler: Handler) -> Intake:
    """How the content is to be taken in, by these options."""
    return Intake(
        stream=options.get("stream", False),
        max_body=_parsed(options.get("max_body"), "max_body", path, handler),
        cancel_on_disconnect=options.get("cancel_on_disconnect", False),
    )


def timeout_of(options: RouteOptions, path: str, handler: Handler) -> float | None:
    """The seconds that the handler may take. Raises ConfigurationError where that makes no sense."""
    timeout: float | None = _parsed(options.get("timeout"), "timeout", path, handler)
    _check_timeout(timeout, path, handler)
    return timeout


def middlewares_of(options: RouteOptions, path: str) -> tuple[Handler, ...]:
    """The middleware of the route alone."""
    given = options.get("middleware", ())
    if callable(given):
        raise ConfigurationError(f"middleware= of {path!r} is a list; write middleware=[...]")
    for middleware in (middlewares := tuple(given)):
        check_middleware(middleware)
    return middlewares


def check_middleware(middleware: Handler) -> None:
    """Raise SignatureError for what is no middleware."""
    if isinstance(middleware, type):
        raise SignatureError(
            f"the middleware {middleware.__name__} is a class; write {middleware.__name__}()"
        )
    if not is_async(middleware):
        raise SignatureError(
            f"the middleware {describe(middleware)} must be `async def (request, call_next)`"
        )
    if len(inspect.signature(middleware).parameters) != 2:
        raise SignatureError(f"the middleware {describe(middleware)} must take (request, call_next)")


def _parsed(value: Any, option: str, path: str, handler: Handler) -> Any:
    """An option of a route that may be written as in the settings: "1MiB", "5s"."""
    if not isinstance(value, str):
        return value
    from .settings import parse_duration, parse_size  # few routes need them

    try:
        return parse_duration(value) if option == "timeout" else parse_size(value)
    except ValueError as error:
        raise ConfigurationError(f"the {option} of {path!r}, {describe(handler)}: {error}") from None


def _check_timeout(timeout: float | None, path: str, handler: Handler) -> None:
    if timeout is None:
        return
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise ConfigurationError(
            f"the timeout of {path!r}, {describe(handler)}, is {timeout!r}; it is a number of seconds above 0"
        )
    if is_generator(handler):
        raise ConfigurationError(
            f"{describe(handler)} at {path!r} is a generator, which has no timeout: its stream may last; "
            "limit what it waits for"
        )
