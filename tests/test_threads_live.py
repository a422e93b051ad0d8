"""`def` handlers that block, and what they cost those that do not."""

from __future__ import annotations

import threading
import time

import pytest
from live_client import Server

from weebill import App

BLOCKED = 0.2  # seconds
MOST = 0.020  # seconds of delay for others
COUNT = 100


class Blocking:
    """An app, and how many of its blocking handlers run."""

    def __init__(self) -> None:
        self.app = App(__name__)
        self.running = 0
        self.most = 0
        self.done = 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()
        self.app.get("/block")(self.block)
        self.app.get("/async")(self.on_loop)

    def block(self) -> str:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.current_thread().name)
        time.sleep(BLOCKED)
        with self._lock:
            self.running -= 1
            self.done += 1
        return "done"

    async def on_loop(self) -> str:
        return str(self.running)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_hundred_handlers_that_block_delay_no_other(loop: str) -> None:
    blocking = Blocking()
    worst = []
    with Server(blocking.app, loop=loop) as server, server.client() as other:
        clients = [server.client() for _ in range(COUNT)]
        for _ in range(4):  # the machine may have had something else to do
            blocking.done = 0
            for client in clients:
                client.ask("/block")
            server.until(lambda: blocking.running == 40)
            delays = []
            while blocking.done < COUNT // 2:
                began = time.monotonic()
                answer = other.get("/async")
                delays.append(time.monotonic() - began)
                assert answer.status == 200
            assert len(delays) > 5
            assert [client.answer().content for client in clients] == [b"done"] * COUNT
            worst.append(max(delays))
            if worst[-1] < MOST:
                break
        for client in clients:
            client.__exit__()
    print(f"\n{loop}: the slowest of {len(delays)} others took {worst[-1] * 1000:.1f} ms")
    assert min(worst) < MOST
    assert blocking.most == 40
    assert len(blocking.threads) <= 40


def test_more_than_the_queue_takes_is_503_at_once() -> None:
    """... and says when to come again; those that wait are answered all the same."""
    may_end = threading.Event()
    app = App(__name__)

    @app.get("/block")
    def block() -> str:
        may_end.wait(15)
        return "done"

    with Server(app, threads=2, thread_queue=3) as server:
        clients = [server.client() for _ in range(8)]
        for client in clients[:5]:
            client.ask("/block")
        server.until(lambda: sum(c.exchange is not None for c in server.connections) == 5)
        for client in clients[5:]:
            answer = client.get("/block")
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        may_end.set()
        assert [client.answer().content for client in clients[:5]] == [b"done"] * 5
        assert clients[7].get("/block").content == b"done"
        for client in clients:
            client.__exit__()
