"""From a signature to its arguments, worked out once.

`bind` asks a list of sources about every parameter. A source is data about one way to fill a parameter:
it looks at the parameter and returns a resolver (a function from the subject, a Request or an Event, to the
value), or None if it is not the one. The first that answers wins; if none does, the program is wrong and
SignatureError says which parameter of which handler, in which file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar, get_type_hints
from weakref import WeakKeyDictionary

from msgspec import Struct

from .errors import SignatureError
from .functions import describe
from .habits import foreign_marker
from .requests import Request

__all__ = [
    "Handler",
    "Parameter",
    "Resolver",
    "Source",
    "bind",
    "bind_hook",
    "itself",
    "parameters",
    "request_source",
    "takes_first",
]

S = TypeVar("S")

Handler = Callable[..., Any]
Resolver = Callable[[S], Any]


class Parameter(Struct, frozen=True):
    """One parameter of a handler: `annotation` resolved, `inspect.Parameter.empty` where there is none."""

    name: str
    annotation: Any
    default: Any

    @property
    def has_default(self) -> bool:
        """Whether the handler can do without a value."""
        return self.default is not inspect.Parameter.empty


Source = Callable[[Parameter], "Resolver[S] | None"]


def parameters(function: Callable[..., Any], purpose: str = "") -> list[Parameter]:
    """The parameters to be filled, string annotations resolved. `*args` and `**kwargs` are passed over.

    Raises SignatureError for an annotation that cannot be resolved and for positional-only parameters;
    `purpose` stands behind the function's name in its sentence.
    """
    who = f"{describe(function)} {purpose}".rstrip()
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise SignatureError(f"{who} has no readable signature: {error}") from None
    try:
        hints = _hints(function)
    except Exception as error:
        inside = " (it must be one of the module, or of a function that runs)" if "<locals>" in who else ""
        raise SignatureError(f"an annotation of {who} cannot be resolved: {error}{inside}") from None
    found = []
    for p in signature.parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.kind is p.POSITIONAL_ONLY:
            raise SignatureError(f"{who} takes {p.name!r} by position only; arguments are named")
        found.append(Parameter(p.name, hints.get(p.name, p.annotation), p.default))
        if foreign := foreign_marker(found[-1].annotation, p.default):
            raise SignatureError(f"the parameter {p.name!r} of {who} has {foreign}")
    return found


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the parameters. That of the result is left alone: only a type checker needs it,
    and it is often imported for one only."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if isinstance(function, type):
        if not inspect.isfunction(function.__init__):  # type: ignore[misc]
            return get_type_hints(function, include_extras=True)
        function = function.__init__  # type: ignore[misc]
    if not inspect.isroutine(function):
        function = getattr(function, "__call__", function)  # noqa: B004
    # As inspect.signature does: a wrapper with a signature of its own stands for itself.
    function = inspect.unwrap(function, stop=lambda f: hasattr(f, "__signature__"))
    annotations = {k: v for k, v in getattr(function, "__annotations__", {}).items() if k != "return"}
    scope = getattr(function, "__globals__", {})
    holder = SimpleNamespace(__annotations__=annotations)
    try:
        return get_type_hints(holder, scope, include_extras=True)
    except NameError:  # `from __future__ import annotations`, and a name of the function around
        if function not in _found_around:
            _found_around[function] = get_type_hints(
                holder, scope, _names_around(function), include_extras=True
            )
        return _found_around[function]


# The names of a function are there only while it runs: what has been found then is kept.
_found_around: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def _names_around(function: Any) -> dict[str, Any]:
    """The names of the functions that `function` is written in, as far as they run now."""
    *around, _ = function.__qualname__.split(".<locals>.")
    outer = {".<locals>.".join(around[: n + 1]) for n in range(len(around))}
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_qualname in outer and frame.f_globals is function.__globals__:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def bind(function: Callable[..., Any], sources: Sequence[Source[S]], purpose: str) -> dict[str, Resolver[S]]:
    """A resolver for each parameter of `function`; those with a default that no source fills are left out.

    `purpose` ends the sentence of the SignatureError, as in "for GET /user/{name}".
    """
    resolvers: dict[str, Resolver[S]] = {}
    for parameter in parameters(function, purpose):
        resolver = next((found for source in sources if (found := source(parameter)) is not None), None)
        if resolver is not None:
            resolvers[parameter.name] = resolver
        elif not parameter.has_default:
            raise SignatureError(
                f"nothing fills the parameter {parameter.name!r} of {describe(function)} {purpose}"
            )
    return resolvers


def bind_hook(hook: Handler, extra: str, purpose: str) -> Callable[..., Any]:
    """A function `(request, value)` that calls `hook` with the request, where a parameter asks for it, and
    with the value in the one other parameter; `extra` names it in the SignatureError. Without `extra` there
    is no value."""
    wants = parameters(hook, purpose)
    others = [p.name for p in wants if request_source(p) is None and not p.has_default]
    ours = [p.name for p in wants if request_source(p) is not None]
    if len(others) > (1 if extra else 0):
        known = f"request and {extra}" if extra else "request"
        raise SignatureError(
            f"{describe(hook)} takes {', '.join(others)} {purpose}; it may take {known} only"
        )

    if extra:
        return _called(hook, ours, others)
    if len(ours) == 1 and takes_first(hook, ours):
        return hook
    call = _called(hook, ours, [])
    return lambda request: call(request, None)


def _called(hook: Handler, ours: Sequence[str], others: Sequence[str]) -> Callable[[Request, Any], Any]:
    """The call of bind_hook, by position where that can be. By name a dict is made for each call."""
    if takes_first(hook, [*ours, *others]):
        if len(ours) == 1:
            return hook if others else lambda request, value: hook(request)
        if not ours:
            return (lambda request, value: hook(value)) if others else lambda request, value: hook()

    def by_name(request: Request, value: Any) -> Any:
        return hook(**dict.fromkeys(others, value), **dict.fromkeys(ours, request))

    return by_name


def takes_first(function: Handler, names: Sequence[str]) -> bool:
    """Whether the function itself, and not what it wraps, takes these names first, by position."""
    code = getattr(function, "__code__", None)
    takes = code.co_varnames[inspect.ismethod(function) : code.co_argcount] if code is not None else ()
    return list(takes[: len(names)]) == list(names)


def request_source(parameter: Parameter) -> Resolver[Request] | None:
    """The request: by type, or by name where there is no annotation."""
    annotated = isinstance(parameter.annotation, type) and issubclass(parameter.annotation, Request)
    unannotated = parameter.annotation is inspect.Parameter.empty
    return itself if annotated or (parameter.name == "request" and unannotated) else None


def itself(request: Request) -> Request:
    """The resolver of a parameter that is the request."""
    return request
