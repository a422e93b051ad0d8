"""What neither a peer nor a program may do to a server: keep it, stop it, or get a part for the whole."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from weebill import App, Request
from weebill.body import Body
from weebill.errors import ConfigurationError
from weebill.server.output import Output
from weebill.testing import LiveServer, TestClient

BLOCKED = """
import time
from weebill import App
from weebill.server.worker import serve
from weebill.settings import Settings

app = App(__name__)

@app.get("/")
async def block():
    print("blocked", flush=True)
    time.sleep(60)

serve(app, Settings(port=0, loop="LOOP"))
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_second_signal_ends_a_process_whose_loop_is_blocked(tmp_path: Path, loop: str) -> None:
    program = tmp_path / "blocked.py"
    program.write_text(BLOCKED.replace("LOOP", loop))
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stderr.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert process.stdout.readline() == "blocked\n"
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (128 + signal.SIGINT, 128 + signal.SIGTERM)


class Unusual(BaseException):
    """Not an Exception, as what test runners and task groups raise."""


def test_an_exception_of_any_kind_is_a_500_and_the_next_request_is_answered() -> None:
    app = App(__name__)

    @app.get("/")
    async def raises() -> None:
        raise Unusual

    @app.get("/next")
    async def following() -> str:
        return "next"

    with LiveServer(app) as server, httpx.Client(base_url=server.url, timeout=10) as client:
        assert client.get("/").status_code == 500
        assert client.get("/next").text == "next"


def test_a_client_that_goes_away_is_noticed_after_content_that_went_to_a_file() -> None:
    app = App(__name__)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @app.post("/", cancel_on_disconnect=True)
    async def wait(request: Request) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with LiveServer(app, spool=1000) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
            content = b"x" * 5000
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + content)
            loop = server._server.worker.state.loop
            asyncio.run_coroutine_threadsafe(begun.wait(), loop).result(10)
        assert asyncio.run_coroutine_threadsafe(cancelled.wait(), loop).result(10)


def test_content_is_not_read_in_part_once_its_file_is_closed() -> None:
    async def gather() -> Body:
        body = Body(spool=10)
        body.add(b"x" * 20)
        await body.flush()
        body.add(b"end")
        return body

    body = asyncio.run(gather())
    assert body.read_all() == b"x" * 20 + b"end"
    body.close()
    with pytest.raises(ValueError, match="closed file"):
        body.read_all()


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    async def wait_in_vain() -> int:
        output = Output(asyncio.get_running_loop(), 0.0)
        for _ in range(100):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(output.wait(), 0)
            task = asyncio.ensure_future(output.wait())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        return len(output.waiters)

    assert asyncio.run(wait_in_vain()) == 0


def test_a_link_to_a_hidden_file_is_hidden_too(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "key").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / ".hidden" / "key")
    (tmp_path / "shown").write_text("shown")
    app = App(__name__)
    app.static("/files", tmp_path)
    client = TestClient(app)
    assert client.get("/files/shown").text == "shown"
    assert client.get("/files/link").status_code == 404


def test_a_backslash_in_a_redirected_target_is_encoded() -> None:
    app = App(__name__, redirect_slashes=True)

    @app.get("/there/")
    async def there() -> str:
        return "there"

    answer = TestClient(app).get("/there?a=\\")
    assert (answer.status_code, answer.headers["location"]) == (308, "/there/?a=%5C")


@pytest.mark.parametrize("methods", [[], ["G T"], [""], ["GET\r\n"]])
def test_methods_that_are_none_are_refused(methods: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"the methods of ./., .*handler"):
        App(__name__).route("/", methods)(handler)


def handler() -> str:
    return ""
