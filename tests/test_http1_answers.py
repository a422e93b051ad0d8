"""What leaves a connection: the framing of answers, and when they are the last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from http1_wire import SECOND, Application, Wire, turns

from weebill.errors import HTTPException, ResponseError
from weebill.exchange import UNWANTED, Exchange, Intake

TEXT = [(b"content-type", b"text/plain")]
LONG = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


def ask(method: str = "GET", version: str = "1.1", fields: str = "") -> bytes:
    return f"{method} / HTTP/{version}\r\nHost: a\r\n{fields}\r\n".encode()


def run(program: Callable[[Exchange], Awaitable[None]], *requests: bytes, **options: Any) -> Wire:
    """Have `program` answer these requests, one packet each."""

    async def main() -> Wire:
        wire = Wire(
            Application(program, **{k: options.pop(k) for k in ("intake",) if k in options}), **options
        )
        for request in requests or (ask(),):
            wire.send(request)
            await turns()
        return wire

    return asyncio.run(main())


def respond(status: int = 200, fields: Any = TEXT, content: bytes = b"hello") -> Any:
    async def program(exchange: Exchange) -> None:
        await exchange.respond(status, list(fields), content)

    return program


def stream(*pieces: bytes, status: int = 200, fields: Any = TEXT, finish: bool = True) -> Any:
    async def program(exchange: Exchange) -> None:
        await exchange.start(status, list(fields))
        for piece in pieces:
            await exchange.write(piece)
        if finish:
            await exchange.finish()

    return program


# -- the head


def test_a_whole_answer_leaves_in_one_write_with_length_and_date() -> None:
    wire = run(respond())
    head, _, content = wire.sent.partition(b"\r\n\r\n")
    date = wire.state.date.strip()
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"content-type: text/plain",
        b"content-length: 5",
        date,
    ]
    assert content == b"hello"
    assert date.startswith(b"date: ")
    assert date.endswith(b" GMT")


def test_the_applications_own_date_is_kept() -> None:
    date = b"Tue, 15 Nov 1994 08:12:31 GMT"
    wire = run(respond(fields=[(b"Date", date)]))
    assert wire.sent.lower().count(b"date:") == 1
    assert wire.answers()[0].headers["date"] == date.decode()


def test_the_date_moves_with_the_sweep() -> None:
    async def main() -> None:
        wire = Wire()
        wire.state.date = b"date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"
        await wire.pass_time(1)
        assert b"1994" not in wire.state.date

    asyncio.run(main())


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_has_a_line(status: int) -> None:
    wire = run(respond(status))
    line = wire.sent.partition(b"\r\n")[0]
    assert line.startswith(b"HTTP/1.1 %d " % status)
    assert wire.answers()[0].status == status


KEEP = "keep-alive"


@pytest.mark.parametrize(
    ("version", "field", "stays", "says"),
    [
        ("1.1", "", True, None),
        ("1.1", "Connection: keep-alive", True, None),
        ("1.1", "Connection: close", False, "close"),
        ("1.1", "Connection: Close", False, "close"),
        ("1.1", "Connection: x, CLOSE ,y", False, "close"),
        ("1.1", "Connection: x\r\nConnection: close", False, "close"),
        ("1.1", "Connection: close, keep-alive", False, "close"),
        ("1.1", "Connection: closed, close-notify", True, None),
        ("1.1", "Connection:", True, None),
        ("1.1", "Connection: ,,", True, None),
        ("1.1", "Proxy-Connection: close", True, None),
        ("1.1", "X: close", True, None),
        ("1.2", "", True, None),
        ("1.0", "", False, "close"),
        ("1.0", "Connection: keep-alive", True, KEEP),
        ("1.0", "Connection: x, Keep-Alive", True, KEEP),
        ("1.0", "Connection: keep-alive, close", False, "close"),
        ("1.0", "Connection: x", False, "close"),
    ],
)
@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_whether_the_connection_goes_on_is_said_and_done(
    version: str, field: str, stays: bool, says: str | None, http: str
) -> None:
    wire = run(respond(), ask(version=version, fields=field and field + "\r\n"), SECOND, parser=http)
    answers = wire.answers()
    assert answers[0].headers.get("connection") == says
    assert len(answers) == (2 if stays else 1)
    assert wire.transport.ended != stays
    assert wire.sent.lower().count(b"connection:") == (1 if says else 0)


def test_an_application_that_says_close_is_taken_at_its_word() -> None:
    for value in (b"close", b"Close", b"x, close"):
        wire = run(respond(fields=[(b"Connection", value)]), ask(), SECOND)
        assert wire.answers()[0].headers["connection"] == "close"
        assert wire.sent.count(b"HTTP/1.1") == 1
        assert wire.transport.ended
    wire = run(respond(fields=[(b"Connection", b"keep-alive, not-close")]), ask(), SECOND)
    assert len(wire.answers()) == 2
    assert b"onnection" not in wire.sent


def test_behind_a_request_that_closes_nothing_is_read() -> None:
    wire = run(respond(), ask(fields="Connection: close\r\n") + SECOND + b"\0\0")
    assert len(wire.answers()) == 1
    assert len(wire.app.seen) == 1


# -- its content


def test_pieces_of_unknown_length_are_chunked_under_1_1() -> None:
    wire = run(stream(b"ab", b"", b"c" * 16), ask(), SECOND)
    assert wire.sent.count(b"2\r\nab\r\n10\r\ncccccccccccccccc\r\n0\r\n\r\n") == 2
    answer = wire.answers()[0]
    assert answer.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in answer.headers
    assert answer.content == b"ab" + b"c" * 16
    assert not wire.transport.ended


def test_pieces_of_unknown_length_end_with_the_connection_under_1_0() -> None:
    wire = run(stream(b"ab", b"c"), ask(version="1.0", fields="Connection: keep-alive\r\n"))
    (answer,) = wire.answers()
    assert answer.content == b"abc"
    assert answer.headers["connection"] == "close"
    assert "transfer-encoding" not in answer.headers
    assert wire.transport.ended
    assert not wire.transport.aborted


def test_pieces_of_a_known_length_are_sent_as_they_are() -> None:
    wire = run(stream(b"ab", b"c", fields=[(b"Content-Length", b"3")]), ask(), SECOND)
    answer = wire.answers()[0]
    assert answer.headers["content-length"] == "3"
    assert "transfer-encoding" not in answer.headers
    assert answer.content == b"abc"
    assert len(wire.answers()) == 2


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"5")]])
@pytest.mark.parametrize("program", [respond, stream])
def test_an_answer_to_head_has_the_same_head_and_no_content(fields: Any, program: Any) -> None:
    programs = respond(fields=fields) if program is respond else stream(b"hel", b"lo", fields=fields)
    wire = run(programs, ask("HEAD"), ask("GET"))
    head, get = wire.answers("HEAD", "GET")
    assert head.headers == get.headers
    assert (head.content, get.content) == (b"", b"hello")


def test_an_answer_to_head_may_announce_a_length_without_having_the_content() -> None:
    wire = run(respond(fields=[(b"content-length", b"1000000")], content=b""), ask("HEAD"), SECOND)
    assert wire.answers("HEAD")[0].headers["content-length"] == "1000000"
    # The second is a GET with the same mistake: that is no answer at all.
    assert wire.answers("HEAD")[1].status == 500


@pytest.mark.parametrize("program", [respond, stream])
@pytest.mark.parametrize(
    ("status", "announced", "length"),
    [
        (204, None, None),
        (204, b"5", None),
        (304, None, None),
        (304, b"5", "5"),
        (304, b"0", "0"),
        (205, None, "0"),
    ],
)
def test_204_205_and_304_have_no_content(
    program: Any, status: int, announced: bytes | None, length: str | None
) -> None:
    fields = [] if announced is None else [(b"content-length", announced)]
    if program is respond:
        programs = respond(status, fields)
    else:
        programs = stream(b"hello", status=status, fields=fields)
    for method in ("GET", "HEAD"):
        wire = run(programs, ask(method), SECOND)
        first, second = wire.answers(method)
        assert (first.status, first.content) == (status, b"")
        assert first.headers.get("content-length") == length
        assert "transfer-encoding" not in first.headers
        assert second.status == status


@pytest.mark.parametrize(
    "fields",
    [
        [(b"X", b"a\r\nSet-Cookie: b")],
        [(b"X", b"a\nb")],
        [(b"X", b"a\rb")],
        [(b"X", b"a\0b")],
        [(b"X", b"a\x1bb")],
        [(b"X", b"\x7f")],
        [(b"X\r\nY", b"a")],
        [(b"X Y", b"a")],
        [(b"X:", b"a")],
        [(b"", b"a")],
        [(b"X\xe9", b"a")],
        [(b"Content-Length", b"+5")],
        [(b"Content-Length", b" 5")],
        [(b"Content-Length", b"5, 5")],
        [(b"Content-Length", b"")],
        [(b"Content-Length", b"-1")],
        [(b"Content-Length", b"1" * 5000)],
        [(b"Content-Length", b"5"), (b"content-length", b"5")],
        [(b"Content-Length", b"5\r\nX: y")],
        [(b"Connection", b"x\r\nX: y")],
        [(b"Date", b"now\r\nX: y")],
        [(b"Keep-Alive", b"\r\n")],
        [(b"Transfer-Encoding", b"chunked")],
        [(b"transfer-encoding", b"gzip")],
    ],
)
@pytest.mark.parametrize("seen_before", [False, True])
def test_a_field_that_would_break_the_answer_never_gets_onto_the_wire(fields: Any, seen_before: bool) -> None:
    errors: list[Exception] = []

    async def program(exchange: Exchange) -> None:
        for answer in (exchange.respond, exchange.start):
            with pytest.raises(ResponseError) as caught:
                await answer(200, [(b"x-before", b"1"), *fields])
            errors.append(caught.value)
        assert not exchange.started
        await exchange.respond(500, [], b"We are sorry.")

    if seen_before:  # the same name with a good value
        run(respond(fields=[(name, b"5") for name, _ in fields[:1] if name.isalpha()]))
    wire = run(program, ask(), SECOND)
    assert len(errors) == 4
    assert all(str(error).isprintable() for error in errors)
    assert [answer.status for answer in wire.answers()] == [500, 500]
    for name, value in fields:
        assert b"%b: %b" % (name, value) not in wire.sent
    assert b"x-before" not in wire.sent


@pytest.mark.parametrize("status", [100, 101, 103, 199, 600, 999, 0, -1, 1000])
def test_a_status_that_is_no_final_one_is_not_sent(status: int) -> None:
    async def program(exchange: Exchange) -> None:
        with pytest.raises(ResponseError, match="status"):
            await exchange.respond(status, [], b"")
        await exchange.respond(500, [], b"")

    assert [answer.status for answer in run(program).answers()] == [500]


# -- an application that does not do what it said


@pytest.mark.parametrize("announced", [b"4", b"6"])
def test_a_whole_answer_of_another_length_than_announced_is_not_sent(announced: bytes) -> None:
    wire = run(respond(fields=[(b"content-length", announced)]))
    assert isinstance(wire.app.failures[0], ResponseError)
    assert [answer.status for answer in wire.answers()] == [500]
    assert wire.transport.ended


def test_more_bytes_than_announced_are_not_sent_and_end_the_connection(caplog: Any) -> None:
    wire = run(stream(b"abc", b"de", fields=[(b"content-length", b"4")]), ask() + SECOND)
    assert str(wire.app.failures[0]) == "1 bytes more than Content-Length announced"
    assert wire.sent.endswith(b"\r\n\r\nabc")
    assert wire.transport.ended
    assert len(wire.app.seen) == 1


def test_fewer_bytes_than_announced_end_the_connection(caplog: Any) -> None:
    wire = run(stream(b"abc", fields=[(b"content-length", b"4")]), ask() + SECOND)
    assert str(wire.app.failures[0]) == "1 bytes fewer than Content-Length announced"
    assert wire.sent.endswith(b"\r\n\r\nabc")
    assert wire.transport.ended
    assert len(wire.app.seen) == 1


def test_an_answer_left_in_its_middle_is_seen_to_be_cut() -> None:
    for fields in ([], [(b"content-length", b"6")]):
        wire = run(stream(b"abc", fields=fields, finish=False), ask() + SECOND)
        (answer,) = wire.answers()
        assert not answer.complete
        assert wire.transport.closing
        assert not wire.transport.aborted
    # Only the end of the connection could end it: so this one must not look like an end.
    wire = run(stream(b"abc", finish=False), ask(version="1.0"))
    assert wire.transport.aborted


def test_an_exception_in_the_middle_of_an_answer_cuts_it_and_is_logged(caplog: Any) -> None:
    async def program(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"abc")
        raise ValueError("oops")

    wire = run(program)
    assert not wire.answers()[0].complete
    assert wire.transport.closing
    (record,) = caplog.records
    assert record.exc_info[0] is ValueError


def test_abort_cuts_an_answer_once_and_leaves_a_complete_one_alone() -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"abc")
        exchange.abort()
        exchange.abort()

    wire = run(cut, ask() + SECOND)
    assert not wire.answers()[0].complete
    assert wire.transport.closing
    assert len(wire.app.seen) == 1

    async def too_late(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"abc")
        exchange.abort()

    wire = run(too_late, ask(), SECOND)
    assert [answer.content for answer in wire.answers()] == [b"abc", b"abc"]

    async def too_early(exchange: Exchange) -> None:
        exchange.abort()

    assert [answer.status for answer in run(too_early).answers()] == [500]


@pytest.mark.parametrize("error", [None, ValueError("oops"), SystemExit(3)])
def test_an_application_that_gives_no_answer_gets_one(error: BaseException | None, caplog: Any) -> None:
    async def program(exchange: Exchange) -> None:
        if error is not None:
            raise error

    wire = run(program, ask() + SECOND)
    (answer,) = wire.answers()
    assert (answer.status, answer.content) == (500, b"The application gave no answer.\n")
    assert wire.transport.ended
    assert [record.levelno for record in caplog.records] == ([logging.ERROR] if error else [])


def test_an_answer_has_one_beginning_and_one_end() -> None:
    async def program(exchange: Exchange) -> None:
        for early in (exchange.write(b"x"), exchange.finish()):
            with pytest.raises(ResponseError):
                await early
        assert not exchange.started
        await exchange.start(200, [])
        assert exchange.started
        for again in (exchange.start(200, []), exchange.respond(200, [], b"")):
            with pytest.raises(ResponseError):
                await again
        await exchange.write(b"x")
        await exchange.finish()
        for late in (exchange.write(b"y"), exchange.finish(), exchange.respond(200, [], b"")):
            with pytest.raises(ResponseError):
                await late

    wire = run(program)
    assert not wire.app.failures
    assert [answer.content for answer in wire.answers()] == [b"x"]


# -- answers that come before the content


@pytest.mark.parametrize("size", [1, 1000, 65536])
def test_content_that_nobody_wants_is_read_to_its_end_if_it_is_small(size: int) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    wire = run(respond(), request, b"x" * size + SECOND, intake=UNWANTED)
    assert len(wire.answers()) == 2
    assert [seen.content for seen in wire.app.seen] == [b"", b""]
    assert not wire.transport.ended


@pytest.mark.parametrize(
    "request_", [LONG, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"]
)
def test_content_that_nobody_wants_and_that_may_be_long_ends_the_connection(request_: bytes) -> None:
    async def main() -> None:
        wire = Wire(Application(respond(), UNWANTED))
        wire.send(request_)
        await turns()
        (answer,) = wire.answers()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        # Our side is shut, and what comes is thrown away, so that no reset overtakes the answer.
        assert wire.transport.shut
        assert not wire.transport.closing
        wire.send(b"x" * 90000 + SECOND)
        assert not wire.transport.closing
        assert len(wire.app.seen) == 1
        wire.send_eof()
        assert wire.transport.closing

    asyncio.run(main())


def test_content_announced_as_too_long_is_refused_before_it_comes() -> None:
    wire = run(respond(), LONG.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"), max_body=99999)
    (answer,) = wire.answers()
    assert answer.status == 413
    assert answer.interim == []
    assert answer.headers["connection"] == "close"
    assert wire.transport.shut
    assert wire.app.seen == []


def test_chunks_that_become_too_long_are_refused_while_they_come() -> None:
    async def main() -> None:
        wire = Wire(Application(respond()), max_body=10)
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        await turns()
        assert wire.sent == b""
        wire.send(b"5\r\nabcde\r\n1\r\nx\r\n")
        await turns()
        (answer,) = wire.answers()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert wire.transport.shut
        wire.send(b"5\r\nabcde\r\n" * 10 + b"0\r\n\r\n" + SECOND)
        await turns()
        assert len(wire.answers()) == 1
        assert wire.app.seen == []

    asyncio.run(main())


def test_content_of_just_the_limit_is_taken() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"
    plain = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"
    wire = run(respond(), chunked, plain, max_body=10)
    assert [answer.status for answer in wire.answers()] == [200, 200]


# -- Expect (RFC 9110 section 10.1.1)

EXPECTING = b"POST / HTTP/%b\r\nHost: a\r\nContent-Length: 3\r\nExpect: %b\r\n\r\n"


def test_who_expects_100_gets_it_when_the_content_is_wanted() -> None:
    async def main() -> None:
        wire = Wire()
        wire.send(EXPECTING % (b"1.1", b"100-Continue"))
        assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"abc")
        await turns()
        (answer,) = wire.answers()
        assert (answer.interim, answer.status) == ([100], 200)
        assert wire.app.seen[0].content == b"abc"
        assert not wire.transport.ended

    asyncio.run(main())


def test_nobody_gets_100_who_does_not_wait_for_it() -> None:
    for request in (
        EXPECTING % (b"1.1", b"100-continue") + b"abc",  # it has begun already
        EXPECTING % (b"1.0", b"100-continue") + b"abc",  # 1.0 does not know it
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    ):
        (answer,) = run(respond(), request).answers()
        assert (answer.interim, answer.status) == ([], 200)


def test_a_final_answer_instead_of_100_ends_the_connection() -> None:
    wire = run(respond(401), EXPECTING % (b"1.1", b"100-continue"), intake=UNWANTED)
    (answer,) = wire.answers()
    assert (answer.interim, answer.status) == ([], 401)
    assert answer.headers["connection"] == "close"
    assert wire.transport.shut


@pytest.mark.parametrize(
    "expectation", [b"200-ok", b"100-continue, x", b'"100-continue"', b"100-continue;a=b"]
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_unknown_expectation_is_417(expectation: bytes, version: bytes) -> None:
    wire = run(respond(), EXPECTING % (version, expectation) + b"abc")
    (answer,) = wire.answers()
    assert answer.status == 417
    assert wire.app.seen == []


def test_the_same_expectation_twice_is_one() -> None:
    wire = run(respond(), EXPECTING % (b"1.1", b"100-continue\r\nexpect: 100-CONTINUE,"), b"abc")
    assert wire.answers()[0].interim == [100]


# -- the access log


def test_the_access_log_has_a_line_for_each_answer(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "weebill.access"):
        run(stream(b"abc", b"d"), b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", access_log=True)
    (record,) = [record for record in caplog.records if record.name == "weebill.access"]
    assert record.getMessage().startswith('192.0.2.7 "GET /a?b HTTP/1.1" 200 4 ')
    assert record.getMessage().endswith("ms")


# -- fields between neighbours


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", b"", "upgrade"),
        (b"1.1", b"Connection: close\r\n", "close, upgrade"),
        (b"1.0", b"", "close, upgrade"),
    ],
)
def test_an_upgrade_on_offer_is_named_in_connection(version: bytes, connection: bytes, expected: str) -> None:
    program = respond(426, [(b"Upgrade", b"HTTP/2.0")])
    wire = run(program, b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + connection + b"\r\n")
    (answer,) = wire.answers()
    assert answer.headers["upgrade"] == "HTTP/2.0"
    assert answer.headers["connection"] == expected


def test_of_two_dates_the_first_is_sent() -> None:
    wire = run(respond(200, [(b"Date", b"yesterday"), (b"X", b"y"), (b"date", b"today")]), SECOND)
    assert wire.answers()[0].headers["date"] == "yesterday"
    assert wire.sent.lower().count(b"date: ") == 1


# -- what is refused already, and content that is too long besides


@pytest.mark.parametrize("framing", [b"Content-Length: 99999999", b"Transfer-Encoding: chunked"])
def test_content_that_is_too_long_does_not_hide_what_is_wrong_before(framing: bytes) -> None:
    class Refusing(Application):
        def __intake__(self, exchange: Exchange) -> Intake:
            exchange.refusal = HTTPException(405)
            return UNWANTED

    async def main() -> None:
        wire = Wire(Refusing())
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        await turns()
        assert wire.answers("POST")[0].status == 405

    asyncio.run(main())


def test_content_that_nobody_wants_waits_while_its_answer_is_made() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def slow(exchange: Exchange) -> None:
            await go_on.wait()
            await exchange.respond(200, [])

        wire = Wire(Application(slow, UNWANTED))
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        wire.send(b"x" * 100_000)
        assert not wire.transport.reading
        await wire.pass_time(100)
        go_on.set()
        await turns()
        (answer,) = wire.answers("POST")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert wire.transport.reading

    asyncio.run(main())


# -- pieces


def test_what_is_written_in_one_turn_goes_out_together_and_no_later_than_in_the_next() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def program(exchange: Exchange) -> None:
            await exchange.start(200, TEXT)
            for piece in (b"one", b"two", b"three"):
                await exchange.write(piece)
            await go_on.wait()
            await exchange.write(b"four")
            await exchange.finish()

        wire = Wire(Application(program))
        written: list[bytes] = []
        write = wire.transport.write
        wire.transport.write = lambda data: (written.append(bytes(data)), write(data))[1]  # type: ignore[method-assign]
        wire.send(ask())
        await turns(2)
        assert b"".join(written).endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n")
        assert len(written) == 1
        written.clear()
        go_on.set()
        await turns(3)
        assert written == [b"4\r\nfour\r\n0\r\n\r\n"]

    asyncio.run(main())


@pytest.mark.parametrize("framing", [[], [(b"content-length", b"100")]])
def test_what_was_written_goes_out_before_a_broken_answer_is_cut_off(framing: Any) -> None:
    async def program(exchange: Exchange) -> None:
        await exchange.start(200, framing)
        await exchange.write(b"the beginning")
        raise RuntimeError("broken")

    wire = run(program)
    assert b"the beginning" in wire.sent
    assert wire.transport.closing
    assert not wire.sent.endswith(b"0\r\n\r\n")


def test_pieces_of_a_client_that_has_gone_are_dropped() -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            await exchange.start(200, TEXT)
            await exchange.write(b"the beginning")
            wire.transport.reset()

        wire = Wire(Application(program))
        wire.send(ask())
        await turns()
        assert b"the beginning" not in wire.sent

    asyncio.run(main())


def test_long_content_comes_behind_its_head() -> None:
    content = bytes(range(256)) * 1000
    wire = run(respond(content=content), ask(), ask())
    assert [answer.content for answer in wire.answers()] == [content, content]
    assert wire.connection.output.written == len(wire.sent)
