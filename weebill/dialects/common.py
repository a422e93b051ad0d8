"""What the dialects share: handlers with a signature other than Weebill's own, and text of any bytes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from ..binding import describe, is_async
from ..errors import SignatureError
from ..requests import Request
from ..responses import PlainTextResponse, Response

__all__ = ["check_call", "plain_text", "stand_in", "text_of"]

_OF_THE_REQUEST = inspect.Signature([inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD)])


def check_call(function: Callable[..., Any], path: str, call: str, count: int, names: Iterable[str]) -> None:
    """Make sure that `function` can be called with `count` arguments by position and with `names`.

    `path` and `call` show in the SignatureError where it is used and how. A coroutine function is refused.
    """
    if is_async(function):
        raise SignatureError(f"{describe(function)} of {path} is async; write it with def, or for weebill.App")
    try:
        inspect.signature(function).bind(*range(count), **dict.fromkeys(names))
    except TypeError as error:
        raise SignatureError(f"{describe(function)} of {path} is called as {call}, but: {error}") from None


def stand_in(function: Callable[..., Any], answer: Callable[[Request], Response]) -> Callable[..., Response]:
    """`answer`, to be registered as a handler in the place of `function`, whose name it bears in the log."""

    def handler(request: Any) -> Response:
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
