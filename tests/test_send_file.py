"""Large files on a socket: whole, in order, for as long as the client takes them, and not a moment longer."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_client import Client, Server

from weebill import App, FileResponse
from weebill.server.output import unsent_limit
from weebill.server.send_file import MOST

SIZE = 8 << 20
LOOPS = ("uvloop", "asyncio")

if not hasattr(os, "sendfile"):
    pytest.skip("this system has no sendfile", allow_module_level=True)


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(1 << 16) * (SIZE >> 16)


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(content)
    return path


@pytest.fixture(params=LOOPS)
def server(request: pytest.FixtureRequest, file: Path) -> Iterator[Server]:
    app = App(__name__)

    @app.get("/big")
    async def big() -> FileResponse:
        return FileResponse(file)

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    with Server(app, loop=request.param) as server:
        yield server


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def stalled(server: Server, client: Client) -> Any:
    """Ask for the file and read nothing, until the kernel takes no more; the connection."""
    client.ask("/big")
    server.until(lambda: any(connection.output.blocked for connection in server.connections))
    (connection,) = server.connections
    return connection


def test_a_large_file_comes_whole_and_the_next_answer_behind_it(server: Server, content: bytes) -> None:
    with server.client() as client:
        for _ in range(2):
            client.ask("/big")
            client.ask("/hello")
            assert client.answer().content == content
            assert client.answer().content == b"hello"
        assert client.get("/big", fields="Range: bytes=1000-6000000\r\n").content == content[1000:6000001]


def test_a_client_that_reads_slowly_gets_everything(server: Server, content: bytes) -> None:
    with server.client(SO_RCVBUF=4096) as client:
        connection = stalled(server, client)
        written = connection.output.written
        assert written < SIZE
        assert client.answer().content == content
        server.until(lambda: not connection.output.blocked)
        assert connection.output.written > SIZE
        assert client.get("/hello").content == b"hello"


@pytest.mark.parametrize("reason", ["not in memory", "no sendfile there", "none at all"])
def test_a_file_system_that_helps_less_gives_the_same(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    calls: list[int] = []

    def fail(*args: Any) -> int:
        calls.append(1)
        raise OSError(errno.EAGAIN if reason == "not in memory" else errno.EINVAL, "")

    if reason == "none at all":
        monkeypatch.delattr(os, "sendfile")
    else:
        monkeypatch.setattr(os, "preadv" if reason == "not in memory" else "sendfile", fail)
    with server.client() as client:
        assert client.get("/big").content == content
        assert client.get("/hello").content == b"hello"
    assert bool(calls) is (reason != "none at all")


def test_a_client_that_takes_nothing_is_cut_off(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "weebill"), server.client(SO_RCVBUF=4096) as client:
        connection = stalled(server, client)
        now = server.worker.state.now
        server.on_loop(lambda: connection.tick(now))
        server.on_loop(lambda: connection.tick(now + 25))
        assert server.connections == [connection]
        server.on_loop(lambda: connection.tick(now + 60))
        server.on_loop(lambda: connection.tick(now + 100))  # had the kernel just taken some more
        server.until(lambda: not server.connections)
        with pytest.raises(ConnectionError):
            read_to_the_end(client)
    assert "it read nothing for 30s" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def read_to_the_end(client: Client) -> int:
    length = 0
    while piece := client.socket.recv(1 << 18):
        length += len(piece)
    return length


def test_a_client_that_takes_a_little_is_not(server: Server) -> None:
    with server.client(SO_RCVBUF=4096) as client:
        connection = stalled(server, client)
        now = server.worker.state.now
        for seconds in range(25, 200, 25):
            before = taken(server, connection)
            while taken(server, connection) == before:
                assert client.socket.recv(1 << 14)
            assert connection.output.blocked
            server.on_loop(lambda: connection.tick(now + seconds))  # noqa: B023
        assert server.connections == [connection]


def taken(server: Server, connection: Any) -> int:
    """Bytes that the client has taken, as far as the kernel tells."""

    def look() -> int:
        output = connection.output
        return int(output.written - (output.blocked() if output.blocked else 0))

    return int(server.on_loop(look))


def test_a_client_that_goes_leaves_nothing_behind(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    opened: list[int] = []
    with caplog.at_level(logging.INFO, "weebill"):
        for go in (Client.reset, lambda client: client.__exit__(None, None, None)) * 3:
            client = server.client(SO_RCVBUF=4096)
            stalled(server, client)
            go(client)
            server.until(lambda: not server.connections and not server.worker.state.left_behind)
            server.until(lambda: not opened or descriptors() <= opened[0])
            opened.append(descriptors())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_file_that_shrinks_ends_the_connection_and_nothing_else(
    server: Server, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client(SO_RCVBUF=4096) as client:
        stalled(server, client)
        os.truncate(file, SIZE // 2)
        assert read_to_the_end(client) < SIZE
    assert "has become shorter" in caplog.text
    with server.client() as client:
        assert len(client.get("/big").content) == SIZE // 2


def test_a_client_that_shuts_its_side_still_gets_the_file(server: Server, content: bytes) -> None:
    with server.client(SO_RCVBUF=4096) as client:
        stalled(server, client)
        client.shut()
        assert client.answer().content == content


def test_the_server_stops_when_the_file_is_sent(file: Path, content: bytes) -> None:
    app = App(__name__)
    app.get("/big")(lambda: FileResponse(file))
    with Server(app) as server, server.client(SO_RCVBUF=4096) as client:
        stalled(server, client)
        server.worker.state.loop.call_soon_threadsafe(server.worker.stop)
        assert client.answer().content == content


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system has no such limit")
@pytest.mark.parametrize("limit", [0, 1 << 17])  # 0: that of the system
def test_the_limit_on_unsent_bytes_is_as_before_a_file(limit: int) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, limit)
        with unsent_limit(sock, MOST):
            lifted = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            assert lifted == (MOST if sys.platform == "linux" else limit)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == limit
