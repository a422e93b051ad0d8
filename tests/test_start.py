"""What a program pays before it has asked for anything."""

from __future__ import annotations

import subprocess
import sys

# Each costs a millisecond or more, and a hello needs none of them.
NOT_NEEDED = {
    "asyncio",
    "click",
    "email",
    "hashlib",
    "html",
    "http",
    "itsdangerous",
    "jinja2",
    "json",
    "logging",
    "multipart",
    "random",
    "secrets",
    "selectors",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "traceback",
    "uvloop",
    "watchfiles",
    "weebill.bridges.asgi",
    "weebill.server.worker",
    "weebill.settings",
    "weebill.testing",
}

HELLO = """
import sys
from weebill import App
app = App()
@app.get("/user/{name}")
async def hello(name: str) -> str:
    return f"Hello, {name}!"
print(*sys.modules)
"""


def test_a_hello_imports_nothing_that_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", HELLO], capture_output=True, text=True, check=True)

    assert NOT_NEEDED.isdisjoint(done.stdout.split())


LEFT_BEHIND = """
import asyncio
from weebill import App
from weebill.server.memory import MemoryExchange
app = App()
@app.get("/")
async def index():
    await asyncio.get_running_loop().create_future()
async def main():
    await app.__startup__()
    exchange = MemoryExchange("GET", "/")
    app.__intake__(exchange)
    global answering
    answering = asyncio.create_task(app.__exchange__(exchange))
    await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""


def test_a_request_that_is_left_at_the_end_of_the_program_imports_nothing_then() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, check=True)

    assert "Task was destroyed" in done.stderr  # asyncio's own, which has to be there for this to be tested
    assert "ImportError" not in done.stderr


def test_names_that_are_imported_late_are_shown_and_can_be_had() -> None:
    program = "import weebill as w; print(*dir(w)); print(w.TestClient.__name__); print(*w.__all__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    shown, test_client, public = done.stdout.splitlines()

    assert set(public.split()) <= set(shown.split())
    assert test_client == "TestClient"
