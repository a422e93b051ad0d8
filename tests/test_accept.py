"""How many connections there are: in all, from one client, and when the system has no more descriptors."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from http1_wire import SECOND, Wire
from live_client import Client, Programs, Server, hello
from processes import WEEBILL, Running

from weebill.server.accept import allow_descriptors, descriptors
from weebill.server.state import _client

LOOPS = ("uvloop", "asyncio")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("loop", LOOPS)
def test_beyond_the_most_connections_accepting_pauses_and_goes_on_when_one_has_ended(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, "weebill"),
        Server(Programs(hello=hello), loop=loop, max_connections=3) as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(server.client()) for _ in range(3)]
        for client in clients:
            assert client.get().status == 200
        waiting = [stack.enter_context(server.client()) for _ in range(2)]
        for client in waiting:
            client.ask()
        for client in clients:  # those that are in are served as ever
            assert client.get().status == 200
        assert len(server.connections) == 3
        clients[0].shut()
        assert waiting[0].answer().status == 200
        assert len(server.connections) == 3
        waiting[0].reset()
        assert waiting[1].answer().status == 200
        assert clients[1].get().status == 200
    assert warnings(caplog) == ["3 connections are open: others wait until some end"]


def test_being_full_is_told_once_however_often_it_comes_about(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "weebill"),
        Server(Programs(hello=hello), max_connections=2) as server,
    ):
        for _ in range(20):
            with server.client() as one, server.client() as two, server.client() as three:
                assert (one.get().status, two.get().status) == (200, 200)
                three.ask()
                server.until(lambda: not server.worker._door._is_open)
                one.shut()
                assert three.answer().status == 200
            server.until(lambda: not server.connections)
    assert warnings(caplog) == ["2 connections are open: others wait until some end"]


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_that_wait_for_room_are_answered_when_the_server_stops(loop: str) -> None:
    with Server(Programs(hello=hello), loop=loop, max_connections=1) as server, server.client() as first:
        assert first.get().status == 200
        with server.client() as second:
            second.ask()
            server.until(lambda: not server.worker._door._is_open)
            server.begin_stop()
            answer = second.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_one_client_may_have_no_more_connections_than_allowed(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "weebill"),
        Server(Programs(hello=hello), max_connections_per_client=2) as server,
        server.client() as one,
        server.client() as two,
    ):
        assert (one.get().status, two.get().status) == (200, 200)
        with server.client() as three:
            three.ask()
            answer = three.answer()
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert answer.content == b"There are 2 connections from your address already.\n"
        with other_client(server.port) as other:
            other.send(SECOND.replace(b"/second", b"/hello"))
            assert other.answer().status == 200
        one.shut()
        assert one.is_ended()
        server.until(lambda: len(server.connections) == 1)
        with server.client() as again:
            assert again.get().status == 200
    assert len(warnings(caplog)) == 1
    assert "refused 127.0.0.1: 503 There are 2 connections" in warnings(caplog)[0]
    assert server.worker.state._by_client == {}
    assert server.worker.state._client_of == {}


def other_client(port: int) -> Client:
    """A client at another address of this machine."""
    client = Client.__new__(Client)
    client.socket = socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0))
    client.file = client.socket.makefile("rb")
    return client


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("somebody", "somebody", True),
        ("somebody", "else", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_64_bits_of_an_ipv6_address(one: str, other: str, same: bool) -> None:
    assert (_client(one) == _client(other)) is same


def test_a_connection_without_an_address_is_not_counted() -> None:
    async def main() -> None:
        wire = Wire(max_connections_per_client=1)
        before = len(wire.state.connections)
        for _ in range(3):
            wire.state.add(object(), None)  # type: ignore[arg-type]
        assert len(wire.state.connections) == before + 3

    asyncio.run(main())


@pytest.mark.parametrize("connections", [1, 100])
def test_the_soft_limit_on_descriptors_is_raised_as_far_as_it_may_be(connections: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        allow_descriptors(connections)
        assert descriptors() == 200
        allow_descriptors(600)
        assert descriptors() == min(804, before[1])
        allow_descriptors(before[1] * 2)
        assert descriptors() == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


PROGRAM = """
import os
from weebill import App

app = App(__name__)
held = []

@app.get("/hold")
async def hold():
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(3):  # for the one who asks, and the client that tells it to let go
            os.close(held.pop())
    return str(len(held))

@app.get("/let-go")
async def let_go():
    while held:
        os.close(held.pop())
    return "ok"

@app.get("/")
async def index():
    return "hello"
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_without_descriptors_waits_and_goes_on(tmp_path: Path, loop: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = ("prlimit", "--nofile=60:60", *WEEBILL)
    with Running(
        "run", "program:app", "--port", "0", "--loop", loop, cwd=tmp_path, command=command
    ) as server:
        port = int(server.url().rpartition(":")[2])
        with Client(port) as inside, ExitStack() as stack:
            assert inside.get("/hold").status == 200
            clients = [stack.enter_context(Client(port)) for _ in range(200)]
            for client in clients:
                client.ask("/")
            server.wait_for("no connection can be accepted for now: Too many open files")
            before = cpu_seconds(server.process.pid)
            server.wait_for("no connection can be accepted for now: Too many open files")
            assert cpu_seconds(server.process.pid) - before < 0.1  # of about a second: it does not spin
            assert inside.get("/let-go").status == 200
            for client in clients[:20]:
                assert client.answer().content == b"hello"
        assert server.stop() == 0


def cpu_seconds(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
