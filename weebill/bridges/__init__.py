"""Bridges to the interfaces of others: ASGI, WSGI and the handler classes of `http.server`.

`adapt` finds out what a program is and makes it an Application that any of our wires can serve.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..exchange import Application

__all__ = ["adapt"]

INTERFACES = ("auto", "weebill", "asgi", "wsgi", "http.server")


def adapt(program: Any, interface: str = "auto", root_path: str = "") -> Application:
    """The Application that serves `program`.

    `program` is a Weebill application, an ASGI 3 or WSGI application, a subclass of
    `http.server.BaseHTTPRequestHandler` (or a partial of one), or a function or class without parameters
    that makes one of these. `interface` is "weebill", "asgi", "wsgi" or "http.server" to force it.
    `root_path` is the prefix that a proxy has taken off the path, for ASGI and WSGI programs.

    Raises ConfigurationError, in one sentence, for anything else.
    """
    if interface not in INTERFACES:
        raise ConfigurationError(f"there is no interface {interface!r}; there are {', '.join(INTERFACES)}")
    if _is_factory(program):
        program = _call_factory(program)
    if interface == "auto":
        interface = _interface_of(program)
    elif not _may_be(program, interface):
        raise ConfigurationError(f"{_name(program)} is {_kind(program)}, which is no {interface} program")
    return _wrap(program, interface, root_path)


def _wrap(program: Any, interface: str, root_path: str) -> Application:
    # Imported here: a native application needs no bridge.
    application: Application
    if interface == "asgi":
        from .asgi import ASGIApplication

        application = ASGIApplication(program, root_path)
    elif interface == "wsgi":
        from .wsgi import WSGIApplication

        application = WSGIApplication(program, root_path)
    elif interface == "http.server":
        from .http_server import HandlerClassApplication

        application = HandlerClassApplication(program)
    else:
        application = program
    return application


def _is_factory(program: Any) -> bool:
    if not callable(program) or _is_weebill(program) or _is_handler_class(program):
        return False
    least, most = _positional_parameters(program)
    if inspect.isclass(program):
        return least == 0
    return most == 0 and not _is_async(program)


def _call_factory(factory: Any) -> Any:
    program = factory()
    if _is_factory(program):
        raise ConfigurationError(f"{_name(factory)} makes {_name(program)}, which takes no parameters either")
    return program


def _interface_of(program: Any) -> str:
    """Which interface `program` has. Raises ConfigurationError where it has none."""
    if _is_weebill(program):
        return "weebill"
    if _is_handler_class(program):
        return "http.server"
    if not callable(program):
        raise ConfigurationError(
            f"{_name(program)} is {_kind(program)}; "
            "name a Weebill, ASGI or WSGI application or a handler class"
        )
    least, most = _positional_parameters(program)
    if inspect.isclass(program):
        return _interface_of_class(program, least, most)
    if least == most == 1:
        raise _asgi_2(program)
    if _is_async(program):
        if least <= 3 <= most:
            return "asgi"
        raise ConfigurationError(
            f"{_name(program)} is async and takes {_count(least, most)}; "
            "an ASGI application takes three: scope, receive, send"
        )
    if least == 2:  # also (environ, start_response, something=None)
        return "wsgi"
    if least == 3:  # not async itself, but it returns an awaitable: a decorated or compiled ASGI application
        return "asgi"
    raise ConfigurationError(
        f"{_name(program)} takes {_count(least, most)}, which is neither ASGI nor WSGI for certain; "
        "force one by --interface asgi or --interface wsgi"
    )


def _interface_of_class(program: type, least: int, most: float) -> str:
    if least == 2 and hasattr(program, "__iter__"):  # PEP 3333: a class whose instances are the answers
        return "wsgi"
    if least == 1 and _is_async(program):
        raise _asgi_2(program)
    raise ConfigurationError(
        f"{_name(program)} is a class that takes {_count(least, most)}; name an instance of it"
    )


def _asgi_2(program: Any) -> ConfigurationError:
    return ConfigurationError(
        f"{_name(program)} takes one parameter, as ASGI 2 applications did; ASGI 3 takes scope, receive and "
        "send, so wrap it in asgiref.compatibility.guarantee_single_callable"
    )


def _may_be(program: Any, interface: str) -> bool:
    if interface == "weebill":
        return _is_weebill(program)
    if interface == "http.server":
        return _is_handler_class(program)
    return callable(program)


def _is_weebill(program: Any) -> bool:
    return hasattr(program, "__exchange__") and not inspect.isclass(program)


def _is_handler_class(program: Any) -> bool:
    program = _without_partials(program)
    if not inspect.isclass(program):
        return False
    from http.server import BaseHTTPRequestHandler

    return issubclass(program, BaseHTTPRequestHandler)


def _is_async(program: Any) -> bool:
    program = _without_partials(program)
    return inspect.iscoroutinefunction(program) or inspect.iscoroutinefunction(
        getattr(program, "__call__", None)  # noqa: B004
    )


def _without_partials(program: Any) -> Any:
    while isinstance(program, functools.partial):
        program = program.func
    return program


def _positional_parameters(program: Callable[..., Any]) -> tuple[int, float]:
    """The least and the greatest number of positional arguments that `program` takes."""
    try:
        parameters = inspect.signature(program).parameters.values()
    except (ValueError, TypeError):  # built in or compiled, without a signature
        return 0, math.inf
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    endless = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return least, math.inf if endless else len(positional)


def _count(least: int, most: float) -> str:
    if most == math.inf:
        return f"any number of parameters from {least} up"
    many = f"{least}" if least == most else f"{least} to {most}"
    return f"{many} parameter" if many == "1" else f"{many} parameters"


def _kind(program: Any) -> str:
    if inspect.isclass(program):
        return "a class"
    if inspect.ismodule(program):
        return "a module"
    return f"of the type {type(program).__qualname__}"


def _name(program: Any) -> str:
    program = _without_partials(program)
    module, name = getattr(program, "__module__", None), getattr(program, "__qualname__", None)
    return f"{module}.{name}" if module and name else repr(program)
