"""The server over real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from live_client import Client, Programs, Server, echo, hello

from weebill.errors import ClientDisconnected
from weebill.exchange import Exchange, Intake

MIB = 1 << 20
PIECE = bytes(range(256)) * 256


class Told:
    """What the programs below tell the test."""

    def __init__(self) -> None:
        self.written = 0
        self.ended: list[str] = []
        self.may_read = asyncio.Event()


@pytest.fixture
def told() -> Told:
    return Told()


def programs(told: Told) -> Programs:
    async def slow(exchange: Exchange) -> None:
        for _ in range(int(exchange.query_string)):
            await asyncio.sleep(0)
        await echo(exchange)

    async def stream(exchange: Exchange) -> None:
        try:
            await exchange.start(200, [])
            for _ in range(int(exchange.query_string)):
                await exchange.write(PIECE)
                told.written += 1
            await exchange.finish()
        except ClientDisconnected:
            told.ended.append("stream")

    async def upload(exchange: Exchange) -> None:
        await told.may_read.wait()
        digest = hashlib.sha256()
        while piece := await exchange.read():
            digest.update(piece)
        await exchange.respond(200, [], digest.hexdigest().encode())

    async def digest(exchange: Exchange) -> None:
        await exchange.respond(200, [], hashlib.sha256(exchange.body.read_all()).hexdigest().encode())

    async def wait(exchange: Exchange) -> None:
        try:
            await exchange.disconnected()
            told.ended.append("told")
        except asyncio.CancelledError:
            told.ended.append("cancelled")
            raise

    return Programs(
        hello=hello,
        echo=echo,
        slow=slow,
        stream=stream,
        digest=digest,
        wait=wait,
        upload=(upload, Intake(stream=True, max_body=64 * MIB)),
        leave=(wait, Intake(cancel_on_disconnect=True)),
    )


@pytest.fixture(params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest, told: Told, caplog: pytest.LogCaptureFixture) -> Iterator[Server]:
    with caplog.at_level(logging.WARNING), Server(programs(told), loop=request.param) as server:
        yield server
    assert caplog.records == []
    assert server.connections == []


def test_many_requests_go_over_one_connection(server: Server) -> None:
    with server.client() as client:
        for n in range(200):
            answer = client.get(f"/echo?{n}")
            assert (answer.status, answer.content) == (200, b"%d" % n)
        assert len(server.connections) == 1


def test_pipelined_requests_of_all_kinds_are_answered_in_order(server: Server) -> None:
    with server.client() as client:
        requests, expected = [], []
        for n in range(100):
            steps = n * 7 % 5
            requests.append(
                (
                    b"GET /slow?%d HTTP/1.1\r\nHost: a\r\n\r\n" % steps,
                    b"POST /slow?%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" % steps,
                    b"PUT /slow?%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"2\r\nde\r\n1\r\nf\r\n0\r\n\r\n" % steps,
                )[n % 3]
            )
            expected.append(b"%d" % steps + (b"", b"abc", b"def")[n % 3])
        client.send(b"".join(requests))
        assert [client.answer().content for _ in requests] == expected


def test_requests_beyond_the_bound_of_pipelining_are_all_answered(server: Server) -> None:
    with server.client() as client:
        request = b"GET /echo?%04d HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200 + b"\r\n\r\n"
        client.send(b"".join(request % n for n in range(1500)))
        assert [client.answer().content for _ in range(1500)] == [b"%04d" % n for n in range(1500)]


def test_a_request_in_single_bytes_is_a_request(server: Server) -> None:
    with server.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST /echo? HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            client.send(bytes([byte]))
        assert client.answer().content == b"abc"


def test_a_client_that_shuts_its_side_is_answered(server: Server) -> None:
    for target, content in (("/hello", b"hello"), ("/slow?50", b"50"), ("/stream?3", PIECE * 3)):
        with server.client() as client:
            client.ask(target)
            client.shut()
            assert client.answer().content == content
            assert client.is_ended()
    with server.client() as client:
        client.shut()
        assert client.is_ended()


def test_the_date_is_now(server: Server) -> None:
    with server.client() as client:
        date = client.get().headers["date"]
        assert abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time()) < 5


def test_an_answer_to_head_has_no_content(server: Server) -> None:
    with server.client() as client:
        for target, field in (("/hello", "content-length"), ("/stream?3", "transfer-encoding")):
            answer = client.get(target, method="HEAD")
            assert field in answer.headers
            assert answer.content == b""
        assert client.get().content == b"hello"


def test_a_client_of_1_0_is_answered_and_closed(server: Server) -> None:
    for target, content in (("/hello", b"hello"), ("/stream?2", PIECE * 2)):
        with server.client() as client:
            answer = client.get(target, version="1.0")
            assert answer.content == content
            assert answer.headers["connection"] == "close"
            assert client.is_ended()
    with server.client() as client:
        for _ in range(3):
            answer = client.get(version="1.0", fields="Connection: keep-alive\r\n")
            assert answer.headers["connection"] == "keep-alive"


def test_connection_close_closes(server: Server) -> None:
    with server.client() as client:
        assert client.get(fields="Connection: x, Close\r\n").headers["connection"] == "close"
        assert client.is_ended()


def test_content_goes_in_and_out_in_chunks(server: Server) -> None:
    with server.client() as client:
        for _ in range(2):
            client.ask("/echo", "POST", "Transfer-Encoding: chunked\r\n")
            client.send(b"".join(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) for _ in range(10)) + b"0\r\n\r\n")
            assert client.answer().content == PIECE * 10
            answer = client.get("/stream?10")
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.content == PIECE * 10


def test_three_mebibytes_go_through_a_temporary_file(server: Server) -> None:
    content = PIECE * 48
    with server.client() as client:
        for _ in range(2):
            client.ask("/digest", "POST", f"Content-Length: {len(content)}\r\n")
            client.send(content)
            assert client.answer().content.decode() == hashlib.sha256(content).hexdigest()


def test_who_expects_100_gets_it(server: Server) -> None:
    with server.client() as client:
        client.ask("/echo", "POST", "Content-Length: 3\r\nExpect: 100-continue\r\n")
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        client.send(b"abc")
        assert client.answer().content == b"abc"
        assert client.get().content == b"hello"


@pytest.mark.parametrize("fields", ["Content-Length: 50000000\r\n", "Transfer-Encoding: chunked\r\n"])
def test_content_that_is_too_long_is_refused_with_an_answer_that_can_be_read(
    server: Server, fields: str
) -> None:
    with server.client() as client:
        client.ask("/echo", "POST", fields)
        # It sends on and on and reads only then: what it sends must not reset the answer.
        for _ in range(320):
            client.send(PIECE if fields.startswith("C") else b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        answer = client.answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert answer.content
        assert client.is_ended()


def test_a_client_that_does_not_read_is_waited_for_with_little_memory(server: Server, told: Told) -> None:
    with server.client(SO_RCVBUF=65536) as client:
        client.ask("/stream?1024")  # 64 MiB
        server.until(lambda: server.connections and server.connections[0].output.paused)
        (connection,) = server.connections
        most = 0
        for _ in range(100):
            most = max(most, server.on_loop(connection.transport.get_write_buffer_size))
        assert told.written < 200
        assert most < 65536 + 2 * len(PIECE)
        assert hashlib.sha256(client.answer().content).digest() == hashlib.sha256(PIECE * 1024).digest()
        assert client.get().content == b"hello"


def test_a_handler_that_does_not_read_makes_its_client_wait(server: Server, told: Told) -> None:
    with server.client(SO_SNDBUF=65536) as client:
        client.ask("/upload", "POST", f"Content-Length: {32 * MIB}\r\n")
        client.socket.setblocking(False)
        sent = 0
        try:
            while True:
                sent += client.socket.send(PIECE[sent % len(PIECE) :])
        except BlockingIOError:
            pass
        server.until(lambda: server.connections and server.connections[0]._paused_reading)
        (connection,) = server.connections
        assert sent < 16 * MIB  # the kernel's buffers
        assert connection._content._waiting < 65536 + 262144
        assert connection._content.received < 65536 + 262144
        server.on_loop(told.may_read.set)
        client.socket.settimeout(15)
        while sent < 32 * MIB:
            at = sent % len(PIECE)
            client.send(PIECE[at:])
            sent += len(PIECE) - at
        assert client.answer().content.decode() == hashlib.sha256(PIECE * 512).hexdigest()


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_and_no_word(server: Server, told: Told) -> None:
    server.on_loop(told.may_read.set)
    for data in (
        *(
            b"",
            b"GET /",
            b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /stream?1000 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc",
        b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 50,
    ):
        for _ in range(5):
            client = server.client()
            client.send(data)
            if data:
                server.until(lambda: server.connections)
            client.reset()
    server.until(lambda: not server.connections)
    with server.client() as client:
        assert client.get().content == b"hello"
    assert server.on_loop(lambda: len(asyncio.all_tasks())) <= 4


def test_handlers_learn_of_a_client_that_has_gone(server: Server, told: Told) -> None:
    def ask(target: str) -> Client:
        client = server.client()
        client.ask(target)
        server.until(lambda: any(c.exchange is not None for c in server.connections))
        return client

    ask("/wait").reset()
    server.until(lambda: told.ended == ["told"])
    ask("/leave").reset()
    server.until(lambda: told.ended == ["told", "cancelled"])
    with ask("/leave"):
        pass
    server.until(lambda: told.ended == ["told", "cancelled", "cancelled"])
    with ask("/stream?100000"):
        server.until(lambda: told.written)
    server.until(lambda: told.ended[3:] == ["stream"])


def test_a_server_that_stops_ends_idle_connections_at_once(told: Told) -> None:
    for loop in ("uvloop", "asyncio"):
        server = Server(programs(told), loop=loop)
        server.start()
        clients = [server.client() for _ in range(3)]
        assert clients[0].get().status == 200
        clients[1].send(b"\r\n")
        clients[2].ask("/slow?5000")
        server.until(lambda server=server: any(c.exchange is not None for c in server.connections))
        began = time.monotonic()
        server.begin_stop()
        assert clients[0].is_ended()
        assert clients[1].is_ended()
        answer = clients[2].answer()
        assert (answer.content, answer.headers["connection"]) == (b"5000", "close")
        with pytest.raises(ConnectionRefusedError):
            server.client()
        server.wait()
        assert time.monotonic() - began < 5
        for client in clients:
            client.file.close()
            client.socket.close()


def test_what_never_ends_is_cut_when_its_time_is_over(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    with Server(programs(told), graceful_timeout=0.2) as server:
        client = server.client()
        client.ask("/wait")
        server.until(lambda: any(c.exchange is not None for c in server.connections))
        began = time.monotonic()
    assert 0.15 < time.monotonic() - began < 3
    assert told.ended == ["cancelled"]
    with client, pytest.raises(ConnectionResetError):
        client.is_ended()
    assert [record.getMessage() for record in caplog.records] == ["cutting 1 connections"]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_answer_that_only_the_end_of_the_connection_ends_is_not_cut_to_look_complete(loop: str) -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"half of")

    with Server(Programs(broken=broken), loop=loop) as server, server.client() as client:
        client.ask("/broken", version="1.0")
        with pytest.raises(ConnectionResetError):
            client.answer()


def test_answers_are_the_same_with_either_parser(told: Told) -> None:
    seen: dict[str, list[Any]] = {"httptools": [], "h11": []}
    for http, answers in seen.items():
        with Server(programs(told), http=http) as server, server.client() as client:
            for target, method in (
                ("/hello", "GET"),
                ("/echo?a=b", "POST"),
                ("/stream?2", "GET"),
                ("/hello", "HEAD"),
            ):
                answer = client.get(target, method=method)
                answer.headers.pop("date")
                answers.append((answer.status, answer.headers, answer.content))
    assert seen["httptools"] == seen["h11"]
