"""Our applications as ASGI applications: what `serve_scope` and ASGIExchange make of scopes and messages."""

import asyncio

import pytest
from bridge_helpers import Peer, exchange, scope_of

from weebill.bridges.asgi import serve_scope
from weebill.errors import ClientDisconnected, HTTPException, ResponseError
from weebill.exchange import BUFFERED, UNWANTED, Intake


class Native:
    """A small application of ours; `answer` is its handler."""

    def __init__(self, answer, intake=BUFFERED):
        self.answer = answer
        self.intake = intake
        self.life = []

    async def __startup__(self):
        self.life.append("up")

    async def __shutdown__(self):
        self.life.append("down")

    def __intake__(self, exchange):
        return self.intake

    async def __exchange__(self, exchange):
        if exchange.refusal is not None:
            await exchange.respond(exchange.refusal.status_code, [])
        else:
            await self.answer(exchange)


def seen_exchange(*args, **options):
    seen = []

    async def answer(exchange):
        seen.append(exchange)
        await exchange.respond(200, [])

    asyncio.run(exchange(Native(answer), *args, **options))
    return seen[0]


def test_an_exchange_is_filled_from_the_scope():
    ex = seen_exchange("/a%2Fb%20c?q=%20", "PUT", [("x-a", "1")], http_version="2", scheme="https")
    assert (ex.method, ex.target, ex.raw_path, ex.path) == (
        "PUT",
        "/a%2Fb%20c?q=%20",
        "/a%2Fb%20c",
        "/a\udc2fb c",
    )
    assert (ex.query_string, ex.http_version, ex.scheme) == ("q=%20", "2", "https")
    assert (ex.fields, ex.client, ex.server) == (
        [(b"x-a", b"1")],
        ("192.0.2.7", 50000),
        ("example.org", 8080),
    )


def test_an_exchange_is_filled_without_a_raw_path_and_without_addresses():
    ex = seen_exchange("/", path="/a b/ü%?", raw_path=None, client=None, server=["/run/sock", None])
    assert (ex.target, ex.path) == ("/a%20b/%C3%BC%25%3F", "/a b/ü%?")
    assert (ex.client, ex.server) == (None, None)


def test_bytes_that_a_target_may_not_hold_are_encoded():
    assert seen_exchange("/\xc3\xbc?\xff").target == "/%C3%BC?%FF"
    assert seen_exchange("/\xc3\xbc").path == "/ü"


@pytest.mark.parametrize(
    ("root_path", "target", "path"),
    [
        ("/root", "/root/x%20y", "/x y"),
        ("/root", "/root", "/"),
        ("/root/", "/root/x", "/x"),
        ("/root", "/x", "/x"),
        ("/root", "/rootbeer", "/rootbeer"),
        ("/my root", "/my%20root/x", "/x"),
    ],
)
def test_the_root_path_is_taken_off_the_path(root_path, target, path):
    ex = seen_exchange(target, root_path=root_path)
    assert (ex.root_path, ex.path) == (root_path.rstrip("/"), path)


async def echo(exchange):
    await exchange.respond(200, [], exchange.body.read_all())


def test_content_is_gathered_before_the_handler_runs():
    assert asyncio.run(exchange(Native(echo), content=(b"ab", b"", b"cd"))).body == b"abcd"


def test_long_content_goes_to_disk_and_comes_back_whole():
    pieces = tuple(bytes([65 + n]) * 1000 for n in range(20))
    answer = asyncio.run(exchange(Native(echo), content=pieces, spool=2500))
    assert answer.body == b"".join(pieces)

    async def read(exchange):
        await exchange.respond(200, [], await exchange.read() + await exchange.read())

    assert asyncio.run(exchange(Native(read), content=pieces, spool=2500)).body == b"".join(pieces)


def test_content_beyond_the_limit_is_refused_by_the_application():
    assert asyncio.run(exchange(Native(echo), content=(b"x" * 11,), max_body=10)).status == 413
    assert asyncio.run(exchange(Native(echo), content=(b"x" * 6, b"x" * 5), max_body=10)).status == 413
    assert asyncio.run(exchange(Native(echo), content=(b"x" * 10,), max_body=10)).status == 200


def test_the_limit_of_the_intake_counts_for_more():
    small, large = Native(echo, Intake(max_body=3)), Native(echo, Intake(max_body=100))
    assert asyncio.run(exchange(small, content=(b"x" * 4,))).status == 413
    assert asyncio.run(exchange(large, content=(b"x" * 50,), max_body=10)).status == 200


def test_a_refusal_of_the_intake_is_answered_without_the_content():
    class Refusing(Native):
        def __intake__(self, exchange):
            exchange.refusal = HTTPException(404)
            return BUFFERED

    async def main():
        peer = Peer(b"never", b"read")
        await serve_scope(Refusing(echo), scope_of("/"), peer.receive, peer.send)
        assert (peer.answer.status, peer.received) == (404, 0)

    asyncio.run(main())


def test_unwanted_content_is_not_read():
    async def main():
        async def answer(exchange):
            await exchange.respond(200, [])

        peer = Peer(b"never", b"read")
        await serve_scope(Native(answer, UNWANTED), scope_of("/"), peer.receive, peer.send)
        assert (peer.answer.status, peer.received) == (200, 0)

    asyncio.run(main())


def test_a_client_that_goes_in_its_request_is_not_handed_on():
    async def main():
        async def answer(exchange):
            raise AssertionError

        async def receive():
            return messages.pop(0)

        messages = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}]
        peer = Peer()
        await serve_scope(Native(answer), scope_of("/", "POST"), receive, peer.send)
        assert peer.answer.messages == []

    asyncio.run(main())


STREAM = Intake(stream=True)


def test_a_streamed_content_is_read_piece_by_piece_within_the_limit():
    async def answer(exchange):
        pieces = []
        try:
            while piece := await exchange.read():
                pieces.append(piece)
        except HTTPException as error:
            await exchange.respond(error.status_code, [])
            return
        assert await exchange.read() == b""
        await exchange.respond(200, [], b"|".join(pieces))

    assert asyncio.run(exchange(Native(answer, STREAM), content=(b"ab", b"cd", b""))).body == b"ab|cd"
    assert asyncio.run(exchange(Native(answer, STREAM), content=(b"abc", b"de"), max_body=4)).status == 413


def test_a_streamed_content_that_breaks_off_raises():
    async def main():
        ended = []

        async def answer(exchange):
            assert await exchange.read() == b"a"
            with pytest.raises(ClientDisconnected):
                await exchange.read()
            ended.append(True)

        async def receive():
            return messages.pop(0)

        messages = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}]
        await serve_scope(Native(answer, STREAM), scope_of("/", "POST"), receive, Peer().send)
        assert ended

    asyncio.run(main())


def test_content_may_be_read_while_somebody_waits_for_the_client_to_go():
    async def answer(exchange):
        gone = asyncio.create_task(exchange.disconnected())
        await asyncio.sleep(0)
        pieces = []
        while piece := await exchange.read():
            pieces.append(piece)
        await exchange.respond(200, [], b"|".join(pieces))
        await gone

    assert asyncio.run(exchange(Native(answer, STREAM), content=(b"a", b"b", b"c"))).body == b"a|b|c"


def test_waiting_for_the_client_to_go_does_not_read_ahead():
    async def main():
        peer, turn = Peer(b"a", b"b", b"c"), asyncio.Event()

        async def answer(exchange):
            gone = asyncio.create_task(exchange.disconnected())
            for _ in range(20):
                await asyncio.sleep(0)
            assert peer.received == 1
            await exchange.respond(200, [])
            await gone
            turn.set()

        await serve_scope(Native(answer, STREAM), scope_of("/", "POST"), peer.receive, peer.send)
        assert turn.is_set()

    asyncio.run(main())


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_a_stream_ends_when_the_client_goes_whatever_the_server_says_on_send(spec_version):
    async def main():
        peer, ended = Peer(), []

        async def answer(exchange):
            await exchange.start(200, [])
            await exchange.write(b"1")
            peer.leave()
            try:
                while True:
                    await exchange.write(b"2")
            except ClientDisconnected:
                ended.append(True)

        async def send(message):
            if spec_version == "2.4":
                await peer.send(message)

        scope = scope_of("/", asgi={"version": "3.0", "spec_version": spec_version})
        await asyncio.wait_for(serve_scope(Native(answer), scope, peer.receive, send), 5)
        assert ended

    asyncio.run(main())


def test_a_handler_may_be_cancelled_when_its_client_goes():
    async def main():
        peer, begun, ended = Peer(), asyncio.Event(), []

        async def answer(exchange):
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append(True)
                raise

        native = Native(answer, Intake(cancel_on_disconnect=True))
        task = asyncio.create_task(serve_scope(native, scope_of("/"), peer.receive, peer.send))
        await begun.wait()
        peer.leave()
        await task
        assert ended
        assert peer.answer.messages == []

    asyncio.run(main())


def test_what_follows_the_answer_is_not_cancelled():
    done = []

    async def answer(exchange):
        await exchange.respond(200, [], b"x")
        for _ in range(5):
            await asyncio.sleep(0)
        done.append(True)

    assert asyncio.run(exchange(Native(answer, Intake(cancel_on_disconnect=True)))).body == b"x"
    assert done


def respond(status, fields, content=b"", method="GET"):
    async def answer(exchange):
        assert not exchange.started
        await exchange.respond(status, fields, content)
        assert exchange.started

    return asyncio.run(exchange(Native(answer), method=method))


def test_the_length_is_added_and_names_are_lower_case():
    answer = respond(200, [(b"X-A", b"b")], b"abc")
    assert answer.headers == {"x-a": "b", "content-length": "3"}


def test_head_204_and_304_have_no_content():
    head = respond(200, [], b"abc", method="HEAD")
    assert (head.headers, head.body, head.complete) == ({"content-length": "3"}, b"", True)
    for status in (204, 304):
        answer = respond(status, [(b"content-length", b"3"), (b"etag", b'"x"')], b"abc")
        assert (answer.headers, answer.body, answer.complete) == ({"etag": '"x"'}, b"", True)


def test_fields_of_the_connection_are_the_servers():
    fields = [(b"connection", b"keep-alive"), (b"keep-alive", b"timeout=5"), (b"upgrade", b"h2c")]
    assert respond(200, fields).headers == {"content-length": "0"}
    assert respond(200, [(b"connection", b"close")]).headers["connection"] == "close"


@pytest.mark.parametrize(
    "fields",
    [
        [(b"a b", b"c")],
        [(b"a", b"b\r\nset-cookie: x")],
        [(b"content-length", b"2")],
        [(b"content-length", b"+1")],
        [(b"content-length", b"1"), (b"Content-Length", b"1")],
        [(b"transfer-encoding", b"chunked")],
    ],
)
def test_an_answer_that_would_break_the_framing_is_not_sent(fields):
    async def answer(exchange):
        with pytest.raises(ResponseError):
            await exchange.respond(200, fields, b"x")
        assert not exchange.started
        await exchange.respond(500, [])

    assert asyncio.run(exchange(Native(answer))).status == 500


def test_a_stream_is_held_to_its_length():
    async def too_long(exchange):
        await exchange.start(200, [(b"content-length", b"3")])
        await exchange.write(b"ab")
        with pytest.raises(ResponseError, match="longer"):
            await exchange.write(b"cd")

    async def too_short(exchange):
        await exchange.start(200, [(b"content-length", b"3")])
        await exchange.write(b"ab")
        with pytest.raises(ResponseError, match="1 bytes shorter"):
            await exchange.finish()

    async def right(exchange):
        await exchange.start(200, [(b"content-length", b"3")])
        await exchange.write(b"ab")
        await exchange.write(b"c")
        await exchange.finish()

    for answer in (too_long, too_short):
        sent = asyncio.run(exchange(Native(answer)))
        assert (sent.body, sent.complete) == (b"ab", False)
    sent = asyncio.run(exchange(Native(right)))
    assert (sent.body, sent.complete) == (b"abc", True)


def test_a_streamed_answer_to_head_is_a_head():
    async def answer(exchange):
        await exchange.start(200, [(b"content-length", b"3")])
        await exchange.write(b"abc")
        await exchange.finish()

    sent = asyncio.run(exchange(Native(answer), method="HEAD"))
    assert (sent.headers, sent.body, sent.complete) == ({"content-length": "3"}, b"", True)


def test_an_answer_is_given_once():
    async def answer(exchange):
        await exchange.respond(200, [], b"x")
        with pytest.raises(ResponseError, match="begun already"):
            await exchange.respond(200, [], b"y")
        with pytest.raises(ResponseError, match="has ended"):
            await exchange.write(b"y")

    assert asyncio.run(exchange(Native(answer))).body == b"x"


def test_an_answer_that_is_given_up_is_left_without_its_end():
    async def answer(exchange):
        await exchange.start(200, [])
        await exchange.write(b"x")
        exchange.abort()

    assert not asyncio.run(exchange(Native(answer))).complete


def lifespan_of(application, *received):
    """Drive the lifespan of `application`; what it sent."""

    async def main():
        messages, sent = [{"type": f"lifespan.{phase}"} for phase in received], []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        await serve_scope(application, {"type": "lifespan"}, receive, send)
        return sent

    return asyncio.run(main())


def test_the_lifespan_starts_and_ends_the_application():
    native = Native(echo)
    sent = lifespan_of(native, "startup", "shutdown")
    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert native.life == ["up", "down"]


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
def test_a_start_or_an_end_that_fails_is_told_and_logged(phase, caplog):
    async def fail():
        raise ZeroDivisionError("of course")

    native = Native(echo)
    setattr(native, f"__{phase}__", fail)
    sent = lifespan_of(native, "startup", "shutdown")
    assert sent[-1] == {"type": f"lifespan.{phase}.failed", "message": "ZeroDivisionError: of course"}
    assert caplog.text.count("Traceback") == 1


def test_a_websocket_is_denied():
    async def main():
        sent = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        await serve_scope(Native(echo), {"type": "websocket"}, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1000}]
        with pytest.raises(ValueError, match="'gopher'"):
            await serve_scope(Native(echo), {"type": "gopher"}, receive, send)

    asyncio.run(main())
