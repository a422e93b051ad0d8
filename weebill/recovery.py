"""From an exception to the answer in its place: one path for every error.

    handler, hook ── recover() ──────────> after hooks ──> middleware
    middleware ───── recover_outside() ── which calls the after hooks itself ──> the middleware outside of it
    response.send ── send_failed() ────── another answer, or, once it has begun, an end that the client sees

Who words it: the nearest error handler of the route's routers, else a last resort, else a standard page.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from .binding import Handler, bind_hook
from .error_pages import error_response
from .errors import (
    BodyTooLarge,
    ClientDisconnected,
    ConfigurationError,
    HandlerTimeout,
    HTTPException,
    ProtocolError,
    ResponseError,
)
from .functions import describe, is_async
from .habits import note_habit
from .headers import check_field
from .logs import logger
from .pipeline import AfterHookFailed, after_steps, run_steps
from .refusals import raise_refusal
from .requests import Request
from .responses import Response, to_response
from .threads import run_in_thread

if TYPE_CHECKING:
    from .router import Route, Router

__all__ = ["cancelled_elsewhere", "recover", "recover_outside", "send_failed", "tell_cleanup"]


async def recover(route: Route, request: Request, error: Exception) -> Response:
    """The answer to an exception: the nearest handler for it, else the standard page."""
    tell_cleanup(request, error)
    if isinstance(error, ProtocolError):  # in the middle of a streamed content
        error = HTTPException(error.status_code, error.detail)
    handler, given = _error_handler(route.routers, error), error
    if isinstance(error, HandlerTimeout):
        _log(route, request, error)
    elif handler is None and not isinstance(error, HTTPException):
        _log(route, request, error)
        handler, given = _last_resort(route.routers, error)
    if handler is not None:
        try:
            return await _handle_error(handler, request, given)
        except Exception as second:
            if second.__cause__ is None and second.__context__ is None:  # it was raised in a thread
                second.__context__ = error
            error = second
            if not isinstance(error, HTTPException):
                _log(route, request, error)
    if request.app.debug and (page := _debug_response(route, request, error)) is not None:
        return page
    return error_response(request, error if isinstance(error, HTTPException) else HTTPException(500))


def _debug_response(route: Route, request: Request, error: Exception) -> Response | None:
    """The page of debug, where there is one for this error and this client."""
    from .debug_pages import exception_response, may_be_seen, missing_response

    is_missing = route.handler is raise_refusal and getattr(error, "status_code", 0) in (404, 405)
    if isinstance(error, HTTPException) and not is_missing:
        return None
    if not may_be_seen(request):
        logger().warning("no debug page for %r: open it on this machine, as http://localhost", request.host)
        return None
    if isinstance(error, HTTPException):
        return missing_response(request, error, request.app.routes)
    return exception_response(request, error)


async def recover_outside(route: Route, request: Request, error: Exception) -> Response:
    """The answer to an exception from a middleware; it passes the after hooks like any other."""
    response = await recover(route, request, error)
    try:
        passed: Response = await run_steps(after_steps(route.routers), request, response)
    except Exception as second:
        _log(route, request, second.error if isinstance(second, AfterHookFailed) else second)
        return error_response(request, HTTPException(500))
    session = getattr(request, "_session", None)
    if session is not None and session.is_touched:  # its middleware has been passed by
        from .sessions import keep_private  # a hello does not need it

        keep_private(passed.headers)
    return passed


def cancelled_elsewhere(error: BaseException) -> RuntimeError | None:
    """What to answer in the place of a cancellation that does not mean our own task, but one that the program
    waited for; None of anything else."""
    if isinstance(error, GeneratorExit):  # it may be the end of the interpreter, which imports nothing more
        return None
    import asyncio  # a hello does not need it

    if not isinstance(error, asyncio.CancelledError):
        return None
    if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
        return None
    failure = RuntimeError("something that it waited for was cancelled")
    failure.__cause__ = error
    return failure


async def send_failed(route: Route, request: Request, error: Exception, broken: Response) -> None:
    """An answer broke while it was sent: another in its place, or, once it has begun, an end that the
    client sees."""
    exchange = request.exchange
    if isinstance(error, ClientDisconnected):
        return
    if exchange.started:
        tell_cleanup(request, error)
        _log(route, request, error)
        exchange.abort()
        return
    response = await recover_outside(route, request, error)
    _keep_fields(broken, response)
    try:
        await response.send(exchange)
    except ClientDisconnected:
        return
    except ResponseError as second:
        _log(route, request, second)
        exchange.abort()


def tell_cleanup(request: Request, error: BaseException) -> None:
    """Have dependencies end with the first `error` of their request: they do not take it for done."""
    if request._afterwards is not None and request._afterwards.error is None:
        request._afterwards.error = error


def _log(route: Route, request: Request, error: Exception) -> None:
    """One entry for each failure. A sentence is enough for a mistake in how Weebill is used."""
    if isinstance(error, ClientDisconnected | ProtocolError | BodyTooLarge):  # the wire tells of its peer
        return
    request.exchange.failure = request.exchange.failure or error
    note_habit(error)
    is_sentence = isinstance(error, ConfigurationError | ResponseError | HandlerTimeout)
    handler = describe(route.handler)
    logger().error(
        "%s %s [%s] failed%s: %s",
        request.method,
        request.target,
        request.id,
        "" if handler in str(error) else f" in {handler}",
        error if is_sentence else f"{type(error).__name__}: {error}",
        exc_info=None if is_sentence else error,
    )


# What speaks of the content that was not sent, and of this answer alone.
_OF_ONE_ANSWER = frozenset(
    (
        *(b"accept-ranges", b"cache-control", b"connection", b"content-disposition", b"content-encoding"),
        *(b"content-language", b"content-length", b"content-location", b"content-range", b"content-type"),
        *(b"date", b"etag", b"expires", b"last-modified", b"location", b"set-cookie", b"trailer"),
        *(b"transfer-encoding", b"upgrade"),
    )
)


def _keep_fields(broken: Response, response: Response) -> None:
    """Give `response`, which stands in for one that could not be sent, the fields that middleware and hooks
    have set on that: without those of CORS a script would not even learn of the failure."""
    names = {name.lower() for name, _ in response.raw_headers}
    for name, value in broken.raw_headers:
        lower = name.lower()
        if (lower == b"vary" or lower not in names) and lower not in _OF_ONE_ANSWER:
            with suppress(ValueError):  # it may be what broke the answer
                check_field(name, value)
                response.raw_headers.append((name, value))


async def _handle_error(handler: Handler, request: Request, error: Exception) -> Response:
    """Call an error handler. What it returns has the status of the error, unless it names its own."""
    call = bind_hook(handler, "error", "as an error handler")
    value = await (call(request, error) if is_async(handler) else run_in_thread(call, request, error))
    response = to_response(value, handler)
    if not isinstance(value, Response | tuple):
        response.status_code = error.status_code if isinstance(error, HTTPException) else 500
    if isinstance(error, HTTPException) and response.status_code == error.status_code:
        for name, content in error.headers.items():  # a 405 needs its Allow, whoever words it
            response.headers.setdefault(name, content)
    return response


def _error_handler(routers: Iterable[Router], error: Exception) -> Handler | None:
    """The handler of the innermost router for this status, else for the nearest class of the exception."""
    status = error.status_code if isinstance(error, HTTPException) else None
    for router in reversed(tuple(routers)):
        if status in router.error_handlers:
            return router.error_handlers[status]
        for kind in type(error).__mro__:
            if kind is Exception:  # a last resort: it takes no 404 for a failure
                break
            if kind in router.error_handlers:
                return router.error_handlers[kind]
    return None


def _last_resort(routers: Iterable[Router], error: Exception) -> tuple[Handler | None, Exception]:
    """The handler of the innermost router for what nobody else takes, and what it is given: the exception
    itself, or, where it is made for HTTPException, a 500 with the exception as its cause."""
    for router in reversed(tuple(routers)):
        for case in (Exception, 500):
            if case in router.error_handlers:
                return router.error_handlers[case], error
        if HTTPException in router.error_handlers:
            stand_in = HTTPException(500)
            stand_in.__cause__ = error
            return router.error_handlers[HTTPException], stand_in
    return None, error
