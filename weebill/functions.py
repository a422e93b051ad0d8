"""What a function is: its name and place, and whether it waits or yields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["describe", "is_async", "is_generator"]


def describe(function: Callable[..., Any]) -> str:
    """Name a handler as its author would look for it: `show_user (app.py:12)`."""
    target = inspect.unwrap(function)
    while hasattr(target, "func"):  # functools.partial
        target = target.func
    code = getattr(target, "__code__", None)
    name = getattr(target, "__qualname__", None) or repr(target)
    if code is None:
        return str(name)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})"


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine or an async generator: it belongs on the loop."""
    return any(
        inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in _what_is_called(function)
    )


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a generator or an async generator, and does nothing else yet."""
    return any(
        inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in _what_is_called(function)
    )


def _what_is_called(function: Callable[..., Any]) -> tuple[Any, ...]:
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if isinstance(function, type):  # its __call__ is that of its instances
        return ()
    return function, getattr(function, "__call__", None)  # noqa: B004
