"""ASGI applications of others on our waist."""

import asyncio
import logging

import pytest
from asgi_programs import START, body, starlette_app
from bridge_helpers import Peer, ask, exchange, scope_of

from weebill.bridges.asgi import ASGIApplication, serve_scope
from weebill.errors import StartError


def only_http(app):
    """`app` for requests; no lifespan."""

    async def wrapped(scope, receive, send):
        assert scope["type"] == "http"
        await app(scope, receive, send)

    return ASGIApplication(wrapped)


# -- scope


def scope_seen(*args, root_path: str = "", **options) -> dict:
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await send(START)
        await send(body())

    asyncio.run(exchange(ASGIApplication(app, root_path), *args, **options))
    return seen


def test_the_scope_is_complete():
    scope = scope_seen("/a%20b/%C3%BC?x=%20&y", "POST", [("X-Name", "Value"), ("x-name", "2")])
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/a b/ü",
        "raw_path": b"/a%20b/%C3%BC",
        "query_string": b"x=%20&y",
        "root_path": "",
        "headers": [(b"x-name", b"Value"), (b"x-name", b"2")],
        "client": ("192.0.2.7", 50000),
        "server": ("example.org", 8080),
    }


def test_an_encoded_slash_is_a_slash_in_path_and_kept_in_raw_path():
    scope = scope_seen("/a%2Fb%2fc")
    assert scope["path"] == "/a/b/c"
    assert scope["raw_path"] == b"/a%2Fb%2fc"


def test_the_path_includes_the_root_path():
    scope = scope_seen("/x%20y", root_path="/my api/")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (
        "/my api",
        "/my api/x y",
        b"/my%20api/x%20y",
    )


def test_methods_are_upper_case():
    assert scope_seen("/", "get")["method"] == "GET"


def test_a_path_that_cannot_be_decoded_is_400_and_the_application_is_not_asked():
    async def app(scope, receive, send):
        raise AssertionError

    assert asyncio.run(exchange(ASGIApplication(app), "/%zz")).status == 400


# -- content


def test_content_arrives_piece_by_piece():
    messages = []

    async def app(scope, receive, send):
        while True:
            messages.append(await receive())
            if not messages[-1]["more_body"]:
                break
        await send(START)
        await send(body())

    asyncio.run(exchange(ASGIApplication(app), "/", "POST", content=(b"ab", b"cd")))
    assert b"".join(m["body"] for m in messages) == b"abcd"
    assert [m["type"] for m in messages] == ["http.request"] * len(messages)


def test_content_is_not_read_before_the_application_asks():
    async def main():
        peer = Peer(b"a", b"b", b"c")

        async def app(scope, receive, send):
            assert peer.received == 0
            await receive()
            assert peer.received == 1
            await send(START)
            await send(body())

        await serve_scope(ASGIApplication(app), scope_of("/", "POST"), peer.receive, peer.send)

    asyncio.run(main())


def test_content_beyond_the_limit_is_413_and_the_application_is_told_that_its_client_is_gone(caplog):
    caplog.set_level(logging.DEBUG, "weebill")
    seen = []

    async def app(scope, receive, send):
        while True:
            seen.append(await receive())
            if seen[-1]["type"] == "http.disconnect":
                break
        await send(START)

    content = (b"x" * 6, b"x" * 6)
    answer = asyncio.run(exchange(ASGIApplication(app), "/", "POST", content=content, max_body=10))
    assert answer.status == 413
    assert answer.complete
    assert [m["type"] for m in seen] == ["http.request", "http.disconnect"]
    assert "ended with OSError('the client has gone') after its client had gone" in caplog.text
    assert "Traceback" not in caplog.text


def test_content_that_announces_itself_as_too_long_is_413_without_asking_the_application():
    async def app(scope, receive, send):
        raise AssertionError

    headers = [("content-length", "11")]
    assert asyncio.run(exchange(ASGIApplication(app), "/", "POST", headers, max_body=10)).status == 413


def test_receive_tells_of_a_client_that_goes():
    async def main():
        peer, waiting, seen = Peer(), asyncio.Event(), []

        async def app(scope, receive, send):
            await receive()
            waiting.set()
            seen.append(await receive())
            seen.append(await receive())
            with pytest.raises(OSError, match="gone"):
                await send(START)

        task = asyncio.create_task(
            serve_scope(ASGIApplication(app), scope_of("/"), peer.receive, peer.send),
        )
        await waiting.wait()
        peer.leave()
        await task
        assert seen == [{"type": "http.disconnect"}] * 2
        assert peer.answer.messages == []

    asyncio.run(main())


def test_receive_after_the_answer_is_a_disconnect():
    seen = []

    async def app(scope, receive, send):
        await send(START)
        await send(body(b"x"))
        seen.append(await receive())

    asyncio.run(exchange(only_http(app)))
    assert seen == [{"type": "http.disconnect"}]


def test_send_raises_oserror_when_the_client_goes_in_a_stream(caplog):
    caplog.set_level(logging.DEBUG, "weebill")

    async def main():
        peer = Peer()

        async def app(scope, receive, send):
            await send(START)
            await send(body(b"1", more=True))
            peer.leave()
            await send(body(b"2", more=True))
            raise AssertionError("it went on")

        await serve_scope(ASGIApplication(app), scope_of("/"), peer.receive, peer.send)
        assert peer.answer.pieces == [b"1"]

    asyncio.run(main())
    assert "OSError" in caplog.text
    assert "AssertionError" not in caplog.text


# -- its answer


def test_an_answer_in_one_message_is_one_write():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 201, "headers": [[b"x-a", b"b"]]})
        await send({"type": "http.response.body", "body": b"hello"})

    answer = asyncio.run(exchange(only_http(app)))
    assert (answer.status, answer.headers) == (201, {"x-a": "b", "content-length": "5"})
    assert answer.pieces == [b"hello"]


def test_an_answer_in_several_messages_is_streamed():
    async def app(scope, receive, send):
        await send(START | {"headers": [(b"transfer-encoding", b"chunked")]})
        await send(body(b"", more=True))
        await send(body(b"one", more=True))
        await send(body(bytearray(b"two"), more=True))
        await send(body(b"three"))

    answer = asyncio.run(exchange(only_http(app)))
    assert answer.headers == {}
    assert answer.pieces == [b"one", b"two", b"three", b""]


def test_the_head_waits_for_the_body():
    async def main():
        peer = Peer()

        async def app(scope, receive, send):
            await send(START)
            assert peer.answer.messages == []
            await send(body(b"", more=True))
            assert peer.answer.status == 200
            await send(body())

        await serve_scope(only_http(app), scope_of("/"), peer.receive, peer.send)
        assert peer.answer.complete

    asyncio.run(main())


def test_head_says_no_length_for_an_answer_without_content():
    async def app(scope, receive, send):
        await send(START)
        await send(body())

    assert asyncio.run(exchange(only_http(app), method="HEAD")).headers == {}
    assert asyncio.run(exchange(only_http(app), method="GET")).headers == {"content-length": "0"}


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([body()], "RuntimeError: 'http.response.body' was sent where 'http.response.start' was expected"),
        ([START, START], "RuntimeError: 'http.response.start' was sent where 'http.response.body'"),
        ([START, {"type": "http.response.trailers"}], "RuntimeError: 'http.response.trailers' was sent"),
        ([START | {"status": 101}], "ValueError: the status of 'http.response.start' is 101"),
        ([START | {"status": "200"}], "ValueError: the status"),
        ([START | {"headers": [("a", "b")]}], "TypeError: the header ('a', 'b')"),
        ([START, body("text")], "TypeError: the body of 'http.response.body' is str"),
        ([START | {"headers": [(b"a", b"b\r\nc: d")]}, body()], "ResponseError: the field a holds"),
        ([START | {"headers": [(b"content-length", b"1")]}, body(b"ab")], "ResponseError"),
    ],
)
def test_what_breaks_the_protocol_is_500_and_logged_once(messages, error, caplog):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    answer = asyncio.run(exchange(only_http(app), "/path"))
    assert answer.status == 500
    assert error in caplog.text
    assert "in answer to GET '/path'" in caplog.text
    assert len(caplog.records) == 1


def test_a_message_after_the_end_is_an_error_and_the_answer_stands(caplog):
    async def app(scope, receive, send):
        await send(START)
        await send(body(b"done"))
        await send(body(b"more"))

    answer = asyncio.run(exchange(only_http(app)))
    assert answer.body == b"done"
    assert "was sent after the answer was complete" in caplog.text


def test_an_exception_in_the_middle_cuts_the_answer(caplog):
    async def app(scope, receive, send):
        await send(START)
        await send(body(b"one", more=True))
        raise ZeroDivisionError

    answer = asyncio.run(exchange(only_http(app)))
    assert answer.body == b"one"
    assert not answer.complete
    assert caplog.text.count("Traceback") == 1


def test_an_application_that_exits_does_not_end_the_server(caplog):
    async def app(scope, receive, send):
        raise SystemExit("enough")

    assert asyncio.run(exchange(ASGIApplication(app))).status == 500
    assert "SystemExit: enough" in caplog.text


@pytest.mark.parametrize("messages", [[], [START]])
def test_an_application_that_returns_without_an_answer_is_500(messages, caplog):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    assert asyncio.run(exchange(only_http(app))).status == 500
    assert "returned before its answer was complete" in caplog.text


# -- lifespan


def test_starlette_runs_with_its_lifespan_and_state(caplog):
    app = ASGIApplication(starlette_app())
    assert ask(app, "/hello?name=you").body == b"hello you"
    assert ask(app, "/in/hello").body == b"hello world"
    assert ask(app, "/echo", "POST", content=(b"a", b"b")).body == b'{"content":"ab","state":"kept"}'
    assert ask(app, "/stream").body == b"0;1;2;"
    assert ask(app, "/stream").headers["x-layer"] == "1"
    assert ask(app, "/upload", "POST", content=(b"x" * 1000,) * 5).body == b"5000"
    assert ask(app, "/later").body == b"now"
    assert ask(app, "/missing").status == 404
    head = ask(app, "/hello", "HEAD")
    assert (head.body, head.headers["content-length"]) == (b"", "11")
    assert not caplog.records
    assert ask(app, "/broken").status == 500
    assert caplog.text.count("The ASGI application raised") == 1


def test_each_request_has_its_own_copy_of_the_state():
    seen = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"]["shared"] = ["x"]
            for phase in ("startup", "shutdown"):
                assert await receive() == {"type": f"lifespan.{phase}"}
                await send({"type": f"lifespan.{phase}.complete"})
            seen.append("down")
        else:
            seen.append(dict(scope["state"]))
            scope["state"]["own"] = 1
            await send(START)
            await send(body())

    async def main():
        application = ASGIApplication(app)
        await application.__startup__()
        await exchange(application)
        await exchange(application)
        await application.__shutdown__()

    asyncio.run(main())
    assert seen == [{"shared": ["x"]}, {"shared": ["x"]}, "down"]


def test_an_application_without_lifespan_has_no_state():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        assert "state" not in scope
        await send(START)
        await send(body(b"ok"))

    assert ask(ASGIApplication(app)).body == b"ok"


def test_a_startup_that_fails_stops_the_start():
    async def app(scope, receive, send):
        while True:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(StartError, match="startup failed: no database"):
        asyncio.run(ASGIApplication(app).__startup__())


def test_a_shutdown_that_fails_is_logged(caplog):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "still busy"})

    async def main():
        application = ASGIApplication(app)
        await application.__startup__()
        await application.__shutdown__()

    asyncio.run(main())
    assert "shutdown failed: still busy" in caplog.text


def test_a_lifespan_that_dies_early_does_not_hold_up_the_end(caplog):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ZeroDivisionError

    async def main():
        application = ASGIApplication(app)
        await application.__startup__()
        await application.__shutdown__()

    asyncio.run(main())
    assert "lifespan ended with an exception" in caplog.text


def test_headers_may_be_any_iterable_as_asgi_has_it():
    async def app(scope, receive, send):
        pairs = [(b"content-type", b"text/plain"), (b"x-iterable", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": iter(pairs)})
        await send(body(b"hello"))

    for _ in range(2):  # the second head is known
        answer = ask(only_http(app))
        assert answer.headers["x-iterable"] == "1"
