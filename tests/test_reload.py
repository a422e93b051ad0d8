"""`weebill dev`: it serves what is in the files now; and the keys of a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from processes import PATIENCE, Running

from weebill.server.keys import watch_keys
from weebill.server.reload import is_source

PROGRAM = """
import os
from weebill import App, render_template

app = App(templates="templates")

@app.get("/")
def text():
    return {text!r}

@app.get("/pid")
def pid():
    return str(os.getpid())

@app.get("/page")
def page():
    return render_template("page.html")

@app.get("/fail")
def fail():
    1 / 0

@app.get("/hang")
async def hang():
    import time
    print("hanging", file=__import__("sys").stderr, flush=True)
    time.sleep(60)
"""


def write(folder: Path, text: str) -> None:
    (folder / "app.py").write_text(PROGRAM.format(text=text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text("first page")
    write(tmp_path, "first")
    return tmp_path


@pytest.fixture
def dev(folder: Path) -> Iterator[Running]:
    with Running("dev", "--port", "0", cwd=folder) as program:
        yield program
        if program.process.poll() is None:
            assert program.stop() == 0


def test_a_change_of_the_program_is_served_at_the_same_address(dev: Running, folder: Path) -> None:
    url = dev.url()
    assert dev.get(url) == "first"
    write(folder, "the second one")
    dev.wait_for("app.py changed, restarting")
    assert dev.get(url) == "the second one"
    assert dev.url() == url


def test_a_change_of_a_template_is_served(dev: Running, folder: Path) -> None:
    url = dev.url()
    assert dev.get(url + "/page") == "first page"
    (folder / "templates" / "page.html").write_text("another page")
    dev.wait_for("templates/page.html changed")
    assert dev.get(url + "/page") == "another page"


def test_a_program_that_breaks_is_reported_and_a_request_waits_until_it_is_mended(
    dev: Running, folder: Path
) -> None:
    url = dev.url()
    (folder / "app.py").write_text("import nosuchthing")
    dev.wait_for("ModuleNotFoundError: No module named 'nosuchthing'")
    dev.wait_for("waiting for a change")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(dev.get, url)  # the parent holds the socket: nothing is refused
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), PATIENCE):
            write(folder, "mended")
        assert answer.result(PATIENCE) == "mended"


def test_a_program_that_is_broken_from_the_start_can_be_mended(folder: Path) -> None:
    (folder / "app.py").write_text("from weebill import App\napp = App(")
    with Running("dev", "--port", "0", cwd=folder) as program:
        program.wait_for("SyntaxError: ")
        program.wait_for("waiting for a change")
        write(folder, "mended")
        assert program.get(program.url()) == "mended"
        assert program.stop() == 0


def test_it_shows_tracebacks_and_logs_each_answer_unless_told_not_to(dev: Running, folder: Path) -> None:
    assert "ZeroDivisionError" in httpx.get(dev.url() + "/fail").text
    assert '"GET /fail HTTP/1.1" 500' in dev.wait_for("/fail HTTP")
    with Running("dev", "--port", "0", "--no-access-log", cwd=folder) as quiet:
        assert quiet.get(quiet.url()) == "first"
        assert quiet.stop() == 0
        quiet.wait_for_silence()
        assert "GET /" not in "".join(quiet.said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_ends_both_with_0(dev: Running, number: signal.Signals) -> None:
    assert dev.get(dev.url()) == "first"
    assert dev.stop(number) == 0
    dev.wait_for_silence()


def test_a_child_whose_parent_is_killed_ends_as_well(dev: Running) -> None:
    assert dev.get(dev.url()) == "first"
    dev.process.kill()
    dev.process.wait(PATIENCE)
    dev.wait_for_silence()
    assert any("stopping" in line for line in dev.said)


def test_a_child_that_is_killed_is_started_again_by_a_change(dev: Running, folder: Path) -> None:
    url = dev.url()
    os.kill(int(dev.get(url + "/pid")), signal.SIGKILL)
    dev.wait_for("waiting for a change")
    write(folder, "alive again")
    assert dev.get(url) == "alive again"


def test_a_child_that_does_not_stop_is_killed(folder: Path) -> None:
    with Running("dev", "--port", "0", "--graceful-timeout", "0", cwd=folder) as program:
        url = program.url()
        with ThreadPoolExecutor() as pool:
            hanging = pool.submit(program.get, url + "/hang")
            program.wait_for("hanging")
            write(folder, "after the kill")
            program.wait_for("killing it")
            assert program.get(url) == "after the kill"
            assert hanging.exception(PATIENCE) is not None
        assert program.stop() == 0


def test_keys_restart_the_child_and_end_both(folder: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with Running("dev", "--port", "0", cwd=folder, stdin=theirs) as program:
            url = program.url()
            before = program.get(url + "/pid")
            os.write(ours, b"r\n")
            assert program.url() == url
            assert program.get(url + "/pid") != before
            os.write(ours, b"q\n")
            assert program.process.wait(PATIENCE) == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_listener_is_restarted_too_and_opens_what_it_wants_itself(tmp_path: Path) -> None:
    source = """
import sys
from weebill.events import Listener

class Mine(Listener):
    async def listen(self):
        print("{text}", self.options["graceful_timeout"], file=sys.stderr, flush=True)

app = Mine()
"""
    (tmp_path / "app.py").write_text(source.format(text="one"))
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,  # a port that the parent could not open
        Running("dev", "--port", str(taken.getsockname()[1]), cwd=tmp_path) as program,
    ):
        assert program.wait_for("one") == "one 1.0\n"
        (tmp_path / "app.py").write_text(source.format(text="another"))
        program.wait_for("another")
        assert program.stop() == 0


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/p/app.py", True),
        ("/p/templates/mail.txt", True),
        ("/p/pages/a.html", True),
        ("/p/a.jinja2", True),
        ("/p/pyproject.toml", True),
        ("/p/data.db", False),
        ("/p/templates", False),
        ("/p/app.py.swp", False),
        ("/p/log.txt", False),
    ],
)
def test_what_counts_as_a_source(path: str, counts: bool) -> None:
    assert is_source(path) is counts


# -- keys


def typed(*texts: bytes) -> list[str]:
    """What `watch_keys` calls when `texts` are typed one after the other, then "q"."""
    called: list[str] = []
    ours, theirs = pty.openpty()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        quitting = asyncio.Event()
        restarting = asyncio.Event()

        def on(name: str, event: asyncio.Event) -> None:
            called.append(name)
            event.set()

        stop = watch_keys(loop, lambda: on("quit", quitting), lambda: on("restart", restarting), theirs)
        for text in texts:
            os.write(ours, text)
        os.write(ours, b"q\n")
        await asyncio.wait_for(quitting.wait(), PATIENCE)
        stop()
        stop()  # once more does no harm
        assert not loop.remove_reader(theirs)

    try:
        asyncio.run(run())
    finally:
        os.close(ours)
        os.close(theirs)
    return called


def test_keys_are_taken_by_line_in_either_case_and_with_blanks() -> None:
    assert typed(b"R\n", b"\n", b"  r \n") == ["restart", "restart", "quit"]


def test_any_other_key_shows_the_list(capfd: pytest.CaptureFixture[str]) -> None:
    assert typed(b"x\n", "ü\n".encode()) == ["quit"]
    assert capfd.readouterr().err.count("q + Enter stops, r + Enter restarts") == 2


def test_the_end_of_the_input_of_a_terminal_ends_the_watch_and_nothing_else() -> None:
    ours, theirs = pty.openpty()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        stop = watch_keys(loop, pytest.fail, pytest.fail, theirs)
        os.write(ours, b"\x04")  # Ctrl+D
        async with asyncio.timeout(PATIENCE):
            while theirs in watched(loop):  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0)
        stop()

    try:
        asyncio.run(run())
    finally:
        os.close(ours)
        os.close(theirs)


def watched(loop: asyncio.AbstractEventLoop) -> list[int]:
    """The descriptors that the loop reads."""
    return [key.fd for key in loop._selector.get_map().values()]  # type: ignore[attr-defined]


def test_what_is_no_terminal_is_not_watched() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        stop = watch_keys(loop, pytest.fail, pytest.fail, reading)
        assert not loop.remove_reader(reading)
        stop()
        os.close(reading)
        os.close(writing)

    asyncio.run(run())
