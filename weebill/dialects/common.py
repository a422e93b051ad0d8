"""What the dialects share: handlers with a signature other than Weebill's own, and text of any bytes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import PatternError, SignatureError
from ..functions import describe, is_async
from ..requests import Request
from ..responses import PlainTextResponse, Response
from ..routing import compile_pattern

__all__ = ["check_call", "names_in", "plain_text", "stand_in", "text_of", "with_text_as"]

_OF_THE_REQUEST = inspect.Signature([inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD)])


def check_call(
    function: Callable[..., Any], path: str, positional: Sequence[str], named: Iterable[str]
) -> None:
    """Make sure that `function` can be called with these arguments. Raises SignatureError that names it and
    `path`; a coroutine function is refused too."""
    if is_async(function):
        raise SignatureError(f"{describe(function)} of {path} is async; write it with def")
    try:
        inspect.signature(function).bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        call = ", ".join((*positional, *(f"{name}=..." for name in named)))
        raise SignatureError(f"{describe(function)} of {path} is called with ({call}): {error}") from None


def names_in(pattern: str, function: Callable[..., Any]) -> list[str]:
    """The names of the parameters of `pattern`, the path of `function`. Raises PatternError."""
    try:
        return list(compile_pattern(pattern).converters)
    except PatternError as error:
        raise PatternError(f"{error}; it is the path of {describe(function)}") from None


def stand_in(function: Callable[..., Any], answer: Callable[[Request], Response]) -> Callable[..., Response]:
    """`answer`, to be registered as a handler in the place of `function`, whose name it bears in the log."""

    def handler(request: Request) -> Response:
        return answer(request)

    handler.__name__ = getattr(function, "__name__", type(function).__name__)
    vars(handler).update(__wrapped__=function, __signature__=_OF_THE_REQUEST)
    return handler


def text_of(content: bytes) -> str:
    """Content as UTF-8; bytes that are none survive as surrogates until `plain_text`."""
    return content.decode("utf-8", "surrogateescape")


def plain_text(text: str) -> Response:
    """Text as an answer, with the bytes of `text_of` again."""
    return PlainTextResponse(text.encode("utf-8", "surrogateescape"))


def with_text_as(kind: Callable[[str], Response], value: Any) -> Any:
    """What a handler returned, with text, alone or first of a tuple, made an answer of this kind."""
    if isinstance(value, str):
        return kind(value)
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return (kind(value[0]), *value[1:])
    return value
