"""Functions of dependencies, and handlers behind some, in threads, which cannot be stopped.

In a file of their own, for they need asyncio, which a hello does not import (see injection.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .requests import Request
from .threads import finish_in_thread, run_in_thread

__all__ = ["enter_in_thread", "run_to_its_end"]


async def run_to_its_end(request: Request, function: Callable[[], Any]) -> Any:
    """Call it in a thread. That cannot be stopped: if it is given up while it runs, nothing that it may use
    is closed before it has done. If it has not begun, it never will."""
    left = [function]  # whoever takes it, the thread or who gives up, has the say

    def run() -> Any:
        return left.pop()()

    running = run_in_thread(run)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        try:
            left.pop()
            running.cancel()
        except IndexError:
            request.afterwards.cleanup.push_async_callback(asyncio.wait, (running,))
        raise


async def enter_in_thread(request: Request, context: Any) -> Any:
    """Run a generator to its `yield`. A thread cannot be stopped: who gives up waiting leaves it entered, and
    so it is left, too, when the answer has been sent."""
    entering = run_in_thread(context.__enter__)

    async def leave(*error: Any) -> bool | None:
        await asyncio.wait((entering,))
        if entering.cancelled() or entering.exception() is not None:
            return None
        left: bool | None = await asyncio.shield(finish_in_thread(context.__exit__, *error))
        return left

    request.afterwards.cleanup.push_async_exit(leave)
    return await asyncio.shield(entering)
