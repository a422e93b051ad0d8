"""What happens around a handler, composed once.

    middleware of the app, its routers, the route  async (request, call_next), outermost first
      └─ before hooks ─ handler ─ to_response      the first value ends the row
           └─ an exception: recover()              one path for every error
         after hooks                               the inner router's first; errors pass them too

What a middleware raises is an answer too for the one outside of it, so that nobody's fields are missing.

Steps are rows of data, and what they call is awaited by one loop over them. Consecutive `def` steps share
one hop to a worker thread; with no hooks and no middleware the handler is called with nothing around it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from .binding import Handler, bind_hook
from .errors import HandlerTimeout, ReturnValueError
from .functions import describe, is_async
from .injection import Bound, bind_handler
from .requests import Request
from .responses import Response, to_response
from .threads import run_in_thread

if TYPE_CHECKING:
    from .router import Route, Router

__all__ = [
    "AfterHookFailed",
    "Answer",
    "after_steps",
    "bound",
    "compose",
    "run_steps",
]

Answer = Callable[[Request], Awaitable[Response]]
Recover = Callable[[Request, Exception], Awaitable[Response]]
Overrides = Mapping[Callable[..., Any], Callable[..., Any]]


class AfterHookFailed(Exception):
    """An after hook raised `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


BEFORE, HANDLER, AFTER, HOP = range(4)


class Step(NamedTuple):
    """One call in the row, on the loop or in a thread: `call(request)` before there is an answer and
    `call(request, answer)` from then on. What it returns is `author`'s."""

    call: Callable[..., Any]
    place: int
    author: Handler
    on_loop: bool


def compose(
    route: Route, recover: Recover, recover_outside: Recover, overrides: Overrides | None = None
) -> Answer:
    """The function that answers a request of `route`. `recover_outside` makes an answer of what a middleware
    raises, `overrides` are dependencies in the place of others. SignatureError for an unfit hook."""
    answer = _core(route, recover, _timed(route, bound(route, overrides)))
    for middleware in reversed(route.whole_chain):
        answer = _wrap(middleware, answer, recover_outside)
    return answer


def _wrap(middleware: Handler, call_next: Answer, recover: Recover) -> Answer:
    async def layer(request: Request) -> Response:
        try:
            response = await middleware(request, call_next)
            if isinstance(response, Response):
                return response._own()
            if response is None:  # not a 204: somebody forgot a return
                raise ReturnValueError(
                    f"the middleware {describe(middleware)} returned None, not the response"
                )
            return to_response(response, middleware)
        except Exception as error:
            return await recover(request, error)

    return layer


def bound(route: Route, overrides: Overrides | None = None) -> Bound:
    """The handler of `route`, with its arguments filled. SignatureError for one that cannot be."""
    purpose = f"for {' '.join((*route.methods, route.pattern.text))}"
    return bind_handler(
        route.handler,
        route.converters,
        purpose,
        methods=route.methods,
        is_streamed=route.intake.stream,
        overrides=overrides,
    )


def _timed(route: Route, handler: Bound) -> Bound:
    """The handler within its timeout, and behind its form: that comes as slowly as its client sends it."""
    if route.timeout is not None:
        handler = Bound(_within(route.timeout, handler), "on_loop", handler.wants_form)
    return Bound(_with_form(handler), "on_loop") if handler.wants_form else handler


def _with_form(handler: Bound) -> Callable[[Request], Any]:
    call, runs, _ = handler

    async def behind_the_form(request: Any) -> Any:
        await request.load_form()
        if runs == "in_thread":
            return await run_in_thread(call, request)
        return call(request) if runs == "at_once" else await call(request)

    return behind_the_form


def _core(route: Route, recover: Recover, handler: Bound) -> Answer:
    before = [_before(hook) for router in route.routers for hook in router.before_hooks]
    after = after_steps(route.routers)
    if not before and not after:
        return _bare(route.handler, recover, handler)
    row = _hops([*before, _handling(route.handler, handler), *after])
    ending = _hops(after)

    async def answer(request: Request) -> Response:
        try:
            try:
                response: Response = await _walk(row, request, None)
            except AfterHookFailed:
                raise
            except Exception as error:
                response = await _walk(ending, request, await recover(request, error))
        except AfterHookFailed as failed:  # those hooks are not tried again on the answer to their own error
            response = await recover(request, failed.error)
        return response

    return answer


def _bare(handler: Handler, recover: Recover, filled: Bound) -> Answer:
    """Nothing around the handler."""
    call, runs, _ = filled

    async def on_loop(request: Request) -> Response:
        try:
            return to_response(await call(request), handler)
        except Exception as error:
            return await recover(request, error)

    async def in_thread(request: Request) -> Response:
        try:
            return to_response(await run_in_thread(call, request), handler)
        except Exception as error:
            return await recover(request, error)

    async def at_once(request: Request) -> Response:
        try:
            return to_response(call(request), handler)
        except Exception as error:
            return await recover(request, error)

    if runs == "at_once":  # calling a generator does nothing yet; the stream runs it where it belongs
        return at_once
    return on_loop if runs == "on_loop" else in_thread


def _within(seconds: float, handler: Bound) -> Callable[[Request], Any]:
    """The call on the loop, with so much time. Raises HandlerTimeout."""
    import asyncio  # a hello does not need it

    call, waits = handler.call, handler.runs == "on_loop"

    async def limited(request: Request) -> Any:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await (call(request) if waits else run_in_thread(call, request))
        except TimeoutError:
            if not limit.expired():  # it is the handler's own
                raise
            raise HandlerTimeout(seconds) from None

    return limited


def _handling(handler: Handler, filled: Bound) -> Step:
    call, runs, _ = filled
    return Step(_awaitable(call) if runs == "at_once" else call, HANDLER, handler, runs != "in_thread")


def _before(hook: Handler) -> Step:
    return Step(bind_hook(hook, "", "as a before_request hook"), BEFORE, hook, is_async(hook))


def after_steps(routers: Sequence[Router]) -> list[Step]:
    """The after hooks of these routers, the inner router's first."""
    return [_after(hook) for router in reversed(routers) for hook in router.after_hooks]


def _after(hook: Handler) -> Step:
    return Step(bind_hook(hook, "response", "as an after_request hook"), AFTER, hook, is_async(hook))


def _hops(steps: Sequence[Step]) -> list[Step]:
    """The steps with each run of consecutive `def` steps joined into one hop to a worker thread."""
    row: list[Step] = []
    for on_loop, run in groupby(steps, key=lambda step: step.on_loop):
        joined = list(run)
        row.extend(joined if on_loop else [Step(_in_thread(joined), HOP, _in_thread, True)])
    return row


def _in_thread(steps: Sequence[Step]) -> Callable[[Request, Any], Awaitable[Any]]:
    row = [step._replace(call=_awaitable(step.call)) for step in steps]
    return lambda request, value: run_in_thread(_walk_here, row, request, value)


def _awaitable(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def awaited(*args: Any) -> Any:
        return call(*args)

    return awaited


async def _walk(row: Sequence[Step], request: Request, value: Any) -> Any:
    """Pass `value` through the row. Raises AfterHookFailed for what an after hook raises."""
    for call, place, author, _ in row:
        if place == AFTER:
            try:
                changed = await call(request, value)
                value = to_response(value if changed is None else changed, author)
            except Exception as error:
                raise AfterHookFailed(error) from error
        elif place == HOP:
            value = await call(request, value)
        elif value is None:
            value = await call(request)
            if value is not None or place == HANDLER:
                value = to_response(value, author)
    return value


def _walk_here(row: Sequence[Step], request: Request, value: Any) -> Any:
    """The same in a thread, where nothing is waited for: one step goes through it all."""
    try:
        _walk(row, request, value).send(None)
    except StopIteration as done:
        return done.value


async def run_steps(steps: Sequence[Step], request: Request, value: Any) -> Any:
    """Pass `value` through the steps."""
    return await _walk(_hops(steps), request, value)
