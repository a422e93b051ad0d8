"""One line for each answer, also for one that breaks off."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import httpx
import pytest
from http1_wire import Application, Wire, turns
from processes import Running

from weebill import App
from weebill.exchange import Exchange
from weebill.server.log import configure_logging
from weebill.testing import LiveServer


def make_app() -> App:
    app = App(__name__)

    @app.get("/whole")
    async def whole() -> str:
        return "whole"

    @app.get("/broken")
    async def broken() -> AsyncIterator[str]:
        yield "begun"
        raise RuntimeError("on purpose")

    return app


def test_an_answer_is_one_line_of_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="weebill")
    with LiveServer(make_app(), access_log=True) as server:
        httpx.get(f"{server.url}/whole?a=b")
    lines = [record.getMessage() for record in caplog.records if record.name == "weebill.access"]
    assert len(lines) == 1
    assert lines[0].startswith('127.0.0.1 "GET /whole?a=b HTTP/1.1" 200 5 ')


def test_an_answer_that_breaks_off_is_in_the_access_log_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="weebill")
    with LiveServer(make_app(), access_log=True) as server, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{server.url}/broken")
    lines = [record.getMessage() for record in caplog.records if record.name == "weebill.access"]
    assert len(lines) == 1
    assert lines[0].startswith('127.0.0.1 "GET /broken HTTP/1.1" 200 5 ')


# -- where the lines go


class Terminal(io.StringIO):
    """Standard error, and how often it was written to."""

    writes = 0
    is_full = False

    def write(self, text: str) -> int:
        self.writes += 1
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


@contextmanager
def own_log() -> Iterator[Terminal]:
    """Our own log alone, on a standard error that is looked at. No fixture, for pytest adds handlers of its
    own to what is there when a test begins."""
    stream, logger = Terminal(), logging.getLogger("weebill")
    level, propagate, handlers = logger.level, logger.propagate, logger.handlers
    logger.handlers = []
    try:
        with redirect_stderr(stream):
            configure_logging("info")
        yield stream
    finally:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


class Lines(logging.Handler):
    """A program's own handler."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def ask(*targets: str) -> None:
    """Have them answered in the same turns of the loop, each on a connection of its own."""
    state = Wire(Application(), access_log=True).state
    for target in targets:
        Wire(Application(), state=state).send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await turns(10)


def test_the_answers_of_one_turn_are_one_write() -> None:
    with own_log() as terminal:
        asyncio.run(ask("/a", "/b", "/c%0aweebill:"))
    lines = terminal.getvalue().splitlines()
    assert [line.rpartition(" ")[0] for line in lines] == [
        'weebill: 192.0.2.7 "GET /a HTTP/1.1" 200 2',
        'weebill: 192.0.2.7 "GET /b HTTP/1.1" 200 2',
        'weebill: 192.0.2.7 "GET /c%0aweebill: HTTP/1.1" 200 13',
    ]
    assert terminal.writes == 1


def test_the_duration_is_that_of_the_clock_to_a_tenth_of_a_millisecond() -> None:
    async def main() -> None:
        async def program(exchange: Exchange) -> None:
            wire.clock.time += 0.0123
            await exchange.respond(200, [])

        wire = Wire(Application(program), access_log=True)
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await turns(10)

    with own_log() as terminal:
        asyncio.run(main())
    assert terminal.getvalue().endswith("200 0 12.3ms\n")


def test_a_line_is_escaped_whatever_is_in_it() -> None:
    async def main() -> None:
        log = Wire(access_log=True).state.access_log
        assert log is not None
        log.add("a\nweebill: b", "GET", "/\x1b[2J\u2028", "1.1", 200, 0, 1.0)
        await turns()

    with own_log() as terminal:
        asyncio.run(main())
    assert terminal.getvalue() == ('weebill: a\\x0aweebill: b "GET /\\x1b[2J\\x2028 HTTP/1.1" 200 0 1.0ms\n')


def test_a_handler_that_a_program_adds_late_gets_every_line_behind_it() -> None:
    handler, access = Lines(), logging.getLogger("weebill.access")

    async def main() -> None:
        await ask("/a")
        access.addHandler(handler)
        await ask("/b")
        access.removeHandler(handler)
        await ask("/c")

    with own_log() as terminal:
        asyncio.run(main())
    assert [line.split()[2] for line in handler.lines] == ["/b"]
    assert [line.split()[3] for line in terminal.getvalue().splitlines()] == ["/a", "/b", "/c"]


def test_a_filter_and_a_level_of_a_program_count() -> None:
    access = logging.getLogger("weebill.access")

    def is_other(record: logging.LogRecord) -> bool:
        return "/health" not in record.getMessage()

    async def main() -> None:
        access.addFilter(is_other)
        await ask("/health", "/a")
        access.removeFilter(is_other)
        access.setLevel(logging.WARNING)
        await ask("/b")
        access.setLevel(logging.NOTSET)

    with own_log() as terminal:
        asyncio.run(main())
    assert [line.split()[3] for line in terminal.getvalue().splitlines()] == ["/a"]


def test_a_log_that_cannot_be_written_stops_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with own_log() as terminal:
        terminal.is_full = True
        asyncio.run(ask("/a"))
        terminal.is_full = False
        asyncio.run(ask("/b"))
    assert [line.split()[3] for line in terminal.getvalue().splitlines()] == ["/b"]
    assert "No space left on device" in capsys.readouterr().err


def test_every_answer_before_the_end_has_its_line(tmp_path: Path) -> None:
    Path(tmp_path, "app.py").write_text("from weebill import App\napp = App()\n")
    with Running("run", "--port", "0", "--access-log", cwd=tmp_path) as running:
        url = running.url()
        with httpx.Client() as client:
            for number in range(50):
                client.get(f"{url}/{number}")
        assert running.stop(signal.SIGINT) == 0
        running.wait_for_silence()
    assert [line.split()[3] for line in running.said if "GET" in line] == [f"/{n}" for n in range(50)]
