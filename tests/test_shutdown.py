"""The end of a server: no accepted request is lost, and nothing keeps it from ending."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from live_client import Client, Programs, hello
from processes import PATIENCE, Running

from weebill.server.listen import turn_away
from weebill.server.worker import Worker
from weebill.settings import Settings

HERE = Path(__file__).parent
COMMAND = (sys.executable, "-m", "shutdown_program")
CONNECTIONS = 64

each_loop = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


@contextmanager
def running(loop: str, graceful_timeout: float = 10.0, *more: str) -> Iterator[tuple[Running, int]]:
    """A server and its port."""
    with Running(loop, str(graceful_timeout), *more, cwd=HERE, command=COMMAND) as server:
        port = urlsplit(server.url()).port
        assert port is not None
        yield server, port


async def use(port: int, seed: int, outcomes: Counter[str], is_stopped: asyncio.Event) -> None:
    """Ask again and again, on one connection as long as it lasts, until the server is gone."""
    rng = random.Random(seed)
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except (ConnectionRefusedError, ConnectionResetError):
            assert is_stopped.is_set()
            return
        try:
            while await ask(reader, writer, rng, outcomes):
                pass
        finally:
            writer.close()


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random, outcomes: Counter[str]
) -> bool:
    """One request; whether another may follow on the connection."""
    path = rng.choice(("/work", "/work", "/block", "/stream"))
    close = "Connection: close\r\n" if rng.random() < 0.05 else ""
    writer.write(f"GET {path}?ms={rng.randint(0, 20)} HTTP/1.1\r\nHost: a\r\n{close}\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        outcomes["closed before a byte" if not error.partial else "cut"] += 1
        return False
    except ConnectionError:
        outcomes["reset"] += 1
        return False
    try:
        if b"transfer-encoding" in head:
            content = b""
            while size := int(await reader.readuntil(b"\r\n"), 16):
                content += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            content = await reader.readexactly(5000)
    except (asyncio.IncompleteReadError, ConnectionError):
        outcomes["cut"] += 1
        return False
    assert head.startswith(b"HTTP/1.1 200 ")
    outcomes["whole" if content == b"x" * 5000 else "wrong"] += 1
    return b"connection: close" not in head


@each_loop
@pytest.mark.parametrize("seed", range(3))
def test_sigterm_under_load_loses_no_request(loop: str, seed: int) -> None:
    async def load(server: Running, port: int) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        is_stopped = asyncio.Event()
        users = [
            asyncio.create_task(use(port, seed * 1000 + n, outcomes, is_stopped)) for n in range(CONNECTIONS)
        ]
        async with asyncio.timeout(PATIENCE):
            while outcomes["whole"] < CONNECTIONS * (seed + 1):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            is_stopped.set()
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*users)
        return outcomes

    with running(loop) as (server, port):
        outcomes = asyncio.run(load(server, port))
        assert server.process.wait(PATIENCE) == 0
        server.wait_for_silence()
    assert set(outcomes) <= {"whole", "closed before a byte"}, outcomes
    assert not any("Traceback" in line or "cutting" in line for line in server.said)


@pytest.mark.parametrize(("loop", "number"), [("uvloop", signal.SIGTERM), ("asyncio", signal.SIGINT)])
def test_what_is_in_flight_is_finished_while_the_rest_ends_at_once(loop: str, number: signal.Signals) -> None:
    with running(loop) as (server, port), ExitStack() as stack:
        fresh, idle, working, blocked, endless, piped = (stack.enter_context(Client(port)) for _ in range(6))
        assert idle.get("/work?ms=0").status == 200
        working.ask("/work?ms=400")
        blocked.ask("/block?ms=400")
        endless.ask("/endless")
        while b"begun" not in endless.file.readline():
            pass
        piped.ask("/work?ms=400")
        piped.ask("/work?ms=0")
        # All have been taken in when one that came after them is answered.
        assert idle.get("/work?ms=50").status == 200
        began = time.monotonic()
        server.process.send_signal(number)
        assert idle.is_ended()
        assert fresh.is_ended()
        with pytest.raises(ConnectionRefusedError):
            Client(port)
        assert time.monotonic() - began < 0.3
        for client in (working, blocked, piped):
            answer = client.answer()
            assert (answer.status, len(answer.content)) == (200, 5000)
            assert answer.headers["connection"] == "close"
            assert client.is_ended()
        assert endless.file.read().endswith(b"ended\r\n0\r\n\r\n")
        assert server.process.wait(PATIENCE) == 0
        assert time.monotonic() - began < 3
        server.wait_for_silence()
        assert sum("the application has shut down" in line for line in server.said) == 1


@each_loop
def test_an_upload_that_comes_to_its_end_is_answered_and_one_that_does_not_is_cut(loop: str) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n"
    unwanted = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n"
    with running(loop, 1.0) as (server, port), ExitStack() as stack:
        idle, slow, stuck, refused = (stack.enter_context(Client(port)) for _ in range(4))
        for client, request in ((slow, head), (stuck, head), (refused, unwanted)):
            client.send(request + b"x" * 1000)
        assert refused.answer().status == 404
        assert idle.get("/work?ms=50").status == 200
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert idle.is_ended()
        assert refused.is_ended()  # it has its answer, and nobody waits for the rest
        assert time.monotonic() - began < 0.5
        slow.send(b"x" * 1000)
        slow.send(b"x" * 1000)
        answer = slow.answer()
        assert (answer.content, answer.headers["connection"]) == (b"3000 bytes", "close")
        assert server.process.wait(PATIENCE) == 0
        assert 0.9 < time.monotonic() - began < 3
        server.wait_for_silence()
        assert any("cutting 1 connection" in line for line in server.said)


@each_loop
def test_one_signal_ends_it_although_a_handler_will_not(loop: str) -> None:
    with running(loop, 0.2) as (server, port), Client(port) as client:
        client.ask("/stubborn")
        while b"begun" not in client.file.readline():
            pass
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == 128 + signal.SIGINT
        assert time.monotonic() - began < 0.2 + 5
        server.wait_for_silence()
        assert any("the application has shut down" in line for line in server.said)


@each_loop
def test_a_stream_that_does_not_end_is_cut_when_the_time_is_over(loop: str) -> None:
    with running(loop, 0.3) as (server, port), Client(port) as client:
        client.ask("/deaf")
        while b"begun" not in client.file.readline():
            pass
        began = time.monotonic()
        assert server.stop() == 0
        assert 0.25 < time.monotonic() - began < 3
        with pytest.raises(ConnectionResetError):
            client.file.read()
        server.wait_for_silence()
        assert any("cutting 1 connection" in line for line in server.said)
        assert any("the application has shut down" in line for line in server.said)


@each_loop
def test_a_handler_that_is_interrupted_ends_it(loop: str) -> None:
    with running(loop) as (server, port), Client(port) as client:
        client.ask("/interrupt")
        assert server.process.wait(PATIENCE) != 0


@each_loop
def test_the_second_signal_ends_it_at_once(loop: str) -> None:
    with running(loop, 60.0) as (server, port), Client(port) as client, Client(port) as other:
        client.ask("/deaf")
        while b"begun" not in client.file.readline():
            pass
        server.process.send_signal(signal.SIGINT)
        assert other.is_ended()
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 3


@each_loop
def test_the_second_signal_ends_it_although_the_application_does_not(loop: str) -> None:
    with running(loop, 60.0, "stuck") as (server, _):
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("the application has shut down")
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 3


def test_connections_that_the_kernel_has_taken_are_answered_or_closed_and_not_reset() -> None:
    """They have connected and asked, and the server has not accepted them yet when it is told to stop."""
    for loop in ("uvloop", "asyncio"):
        with running(loop) as (server, port), ExitStack() as stack:
            server.process.send_signal(signal.SIGSTOP)
            clients = [stack.enter_context(Client(port)) for _ in range(50)]
            for client in clients:
                client.send(b"GET /work?ms=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGCONT)
            for client in clients:
                client.socket.settimeout(PATIENCE)
                content = client.file.read()
                assert not content or content.endswith(b"x" * 5000)
            assert server.process.wait(PATIENCE) == 0


def test_a_port_is_free_again_when_its_server_has_ended() -> None:
    with running("uvloop") as (server, port):
        with Client(port) as client:
            assert client.get("/work?ms=0").status == 200
        assert server.stop() == 0
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_a_listener_that_turns_away_keeps_what_has_begun() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(listener.getsockname()[1]) as early:
        listener.setblocking(False)
        turn_away(listener)
        with socket.socket() as late:
            late.settimeout(0.1)
            with pytest.raises(TimeoutError):
                late.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            early.send(b"x" * 10_000)
            early.shut()
            with accepted.makefile("rb") as file:
                accepted.setblocking(True)
                assert len(file.read()) == 10_000


def test_a_listener_that_was_lent_goes_on_without_the_server() -> None:
    async def serve_once(listener: socket.socket) -> None:
        worker = Worker(Programs(hello=hello), Settings(), [listener.dup()])
        await worker.start()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        writer.close()
        worker.stop()
        await worker.wait_stopped()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(3):
            asyncio.run(serve_once(listener))
        with Client(listener.getsockname()[1]) as client:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"x")
                assert client.file.read(1) == b"x"
