"""Pieces that come one by one: made where they belong, closed whatever happens, not waited for in vain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from .errors import ClientDisconnected
from .logs import logger
from .threads import finish_in_thread, run_in_thread

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from .exchange import Exchange

__all__ = ["interrupted_by", "stepped", "until_gone"]


@asynccontextmanager
async def interrupted_by(*watchers: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run `watchers` beside what is inside. The first of them that raises has it cancelled, and what it
    raised is raised here: who waits for the next piece of a stream would learn of nothing else."""
    import asyncio  # a hello does not need it

    task = cast("asyncio.Task[Any]", asyncio.current_task())
    reason: BaseException | None = None
    is_over = False

    def interrupt(watcher: asyncio.Future[None]) -> None:
        nonlocal reason
        error = None if watcher.cancelled() else watcher.exception()
        if error is not None and reason is None and not is_over and not task.cancelling():
            reason = error
            task.cancel()

    running = [asyncio.ensure_future(watcher) for watcher in watchers]
    for watcher in running:
        watcher.add_done_callback(interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if reason is None or task.uncancel():
            raise
        raise reason from None
    else:
        if reason is not None:  # it was cancelled, and made nothing of it
            task.uncancel()
            raise reason
    finally:
        is_over = True
        for watcher in running:
            watcher.cancel()


async def until_gone(exchange: Exchange) -> None:
    """Raise ClientDisconnected when the client goes away."""
    await exchange.disconnected()
    raise ClientDisconnected


def stepped(pieces: AsyncIterable[Any] | Iterable[Any]) -> AsyncGenerator[Any, None]:
    """The same pieces, those of an ordinary iterable from worker threads; when it is closed, so is what they
    come from."""
    if not isinstance(pieces, AsyncIterable):
        return _in_threads(iter(pieces))
    source = aiter(pieces)
    return source if isinstance(source, AsyncGenerator) else _stepped(source)


async def _stepped(pieces: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    async for piece in pieces:
        yield piece


def _next(pieces: Iterator[Any], end: object) -> Any:
    return next(pieces, end)


async def _in_threads(pieces: Iterator[Any]) -> AsyncGenerator[Any, None]:
    """Step an ordinary iterator in worker threads, always in the same context."""
    import asyncio  # a hello does not need it

    context, end = copy_context(), object()
    step: asyncio.Future[Any] | None = None

    try:
        while True:
            # Who waits in vain for a thread is refused at the first piece, and not in the middle.
            run = run_in_thread if step is None else finish_in_thread
            step = run(context.run, _next, pieces, end)
            piece = await asyncio.shield(step)  # a thread cannot be stopped
            if piece is end:
                return
            yield piece
    finally:
        if hasattr(pieces, "close"):  # a generator, or an open file
            if step is not None and not step.done():  # given up while it runs: it is closed after that
                step.add_done_callback(lambda _: finish_in_thread(context.run, _close_quietly, pieces))
            else:
                await finish_in_thread(context.run, pieces.close)


def _close_quietly(pieces: Any) -> None:
    try:
        pieces.close()
    except Exception:
        logger().exception("a stream failed while it was closed, for its client has gone")
