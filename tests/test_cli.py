"""The command line: what it finds, what it says, and with which code it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from processes import PATIENCE, Running, environment, weebill

from weebill import App, __version__
from weebill.cli import main
from weebill.errors import StartError
from weebill.events import Listener
from weebill.loading import find_program, locate
from weebill.server.worker import is_loopback
from weebill.settings import options

Here = Callable[..., tuple[object, str, str]]

HELLO = """
from weebill import App

app = App()

@app.get("/")
def hello():
    return "hello"
"""

WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"wsgi at " + environ["SCRIPT_NAME"].encode()]
"""

ASGI = """
async def site(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi"})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program of a beginner in it."""
    (tmp_path / "app.py").write_text(HELLO)
    return tmp_path


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    """A function that runs a command line in this process, in the test's folder; for what does not serve.

    It gives the exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    path = list(sys.path)

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["weebill", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capfd.readouterr())

    yield call
    sys.path[:] = path
    for name, loaded in tuple(sys.modules.items()):
        if (getattr(loaded, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


# -- serving


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_finds_app_py_serves_it_and_ends_with_0(folder: Path, number: signal.Signals) -> None:
    with Running("run", "--port", "0", cwd=folder) as program:
        assert program.get(program.url()) == "hello"
        assert program.stop(number) == 0


def test_run_imports_only_what_a_hello_needs(folder: Path) -> None:
    (folder / "app.py").write_text(HELLO.replace('"hello"', "sorted(__import__('sys').modules)"))
    with Running("run", "--port", "0", cwd=folder) as program:
        loaded = set(json.loads(program.get(program.url())))
    assert "weebill.server.http1" in loaded
    unwanted = {"jinja2", "watchfiles", "anyio", "multipart", "websockets", "h11", "itsdangerous", "difflib"}
    assert not unwanted & loaded


def test_the_environment_and_pyproject_name_program_and_options(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "other.py").write_text(WSGI)
    (folder / "pyproject.toml").write_text(
        '[tool.weebill]\napp = "sub/other.py"\nport = 0\nroot-path = "/below"\n'
    )
    with Running("run", cwd=folder) as program:
        assert program.get(program.url()) == "wsgi at /below"
    with Running("run", cwd=folder, WEEBILL_APP="app") as program:
        assert program.get(program.url()) == "hello"
    with Running("run", cwd=folder, WEEBILL_ROOT_PATH="/env") as program:
        assert program.get(program.url()) == "wsgi at /env"
    with Running("run", "--root-path", "/flag", cwd=folder, WEEBILL_ROOT_PATH="/env") as program:
        assert program.get(program.url()) == "wsgi at /flag"


def test_run_serves_an_asgi_program_by_module_and_attribute(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "asgi_program.py").write_text(ASGI)
    arguments = ("run", "asgi_program:site", "--app-dir", "src", "--interface", "asgi", "--port", "0")
    with Running(*arguments, cwd=folder) as program:
        assert program.get(program.url()) == "asgi"


def test_a_listener_runs_by_itself_with_the_options_of_the_command_line(folder: Path) -> None:
    (folder / "app.py").write_text(
        """
import sys
from weebill.events import Listener

class Mine(Listener):
    async def listen(self):
        print("options", self.options["graceful_timeout"], self.options["port"], file=sys.stderr, flush=True)

app = Mine(graceful_timeout=7.0, port=1)
"""
    )
    with Running("run", "--port", "2", cwd=folder) as program:
        assert program.wait_for("options") == "options 7.0 2\n"
        assert program.stop() == 0


def test_a_program_that_runs_itself_when_it_is_imported_is_served_once(folder: Path) -> None:
    (folder / "app.py").write_text(HELLO + "\napp.run(port=0)\napp.get('/late')(lambda: 'late')\n")
    with Running("run", "--port", "0", cwd=folder) as program:
        assert program.get(program.url() + "/late") == "late"
        assert program.stop() == 0


def test_debug_on_a_public_address_is_warned_of_loudly(folder: Path) -> None:
    # 192.0.2.1 is for documentation (RFC 5737): no machine has it, so nothing is opened to anybody.
    done = weebill("run", "--debug", "--host", "192.0.2.1", "--port", "0", cwd=folder)
    assert done.returncode == 3
    assert "WARNING: debug is on, and 192.0.2.1 is open to other machines" in done.stderr
    assert "WARNING" not in weebill("run", "--host", "192.0.2.1", "--port", "0", cwd=folder).stderr
    program = "from weebill import App\nApp(debug=True).run(host='192.0.2.1', port=0)\n"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "WARNING: debug is on, and 192.0.2.1 is open to other machines" in done.stderr
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "")] == [
        *[True] * 3,
        *[False] * 3,
    ]


# -- keys


def test_keys_on_a_terminal_show_help_restart_and_quit(folder: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with Running("run", "--port", "0", cwd=folder, stdin=theirs) as program:
            assert program.get(program.url()) == "hello"
            os.write(ours, b"h\n")
            assert "q + Enter" in program.wait_for("Enter")
            os.write(ours, b"r\n")
            assert program.get(program.url()) == "hello"
            os.write(ours, b"q\n")
            assert program.process.wait(PATIENCE) == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_standard_input_at_its_end_is_no_reason_to_stop(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    try:
        with Running("run", "--port", "0", cwd=folder, stdin=reading) as program:
            assert program.get(program.url()) == "hello"
            assert program.stop() == 0
    finally:
        os.close(reading)


IN_BACKGROUND = """
# A shell in small: starts a program in the background of its terminal, and brings it to the foreground.
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
child = subprocess.Popen([sys.executable, "-m", "weebill", "run", "--port", "0"], process_group=0)
signal.sigwait({signal.SIGUSR1})
os.tcsetpgrp(0, child.pid)
sys.exit(child.wait())
"""


def test_a_server_in_the_background_leaves_the_terminal_to_the_shell(folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = (sys.executable, "-c", IN_BACKGROUND)
    try:
        with Running(cwd=folder, stdin=theirs, command=command, new_session=True) as shell:
            url = shell.url()
            os.write(ours, b"q\n")
            for _ in range(3):  # neither stopped by the kernel nor quit
                assert shell.get(url) == "hello"
            shell.process.send_signal(signal.SIGUSR1)
            shell.wait_for("stopping")
            assert shell.process.wait(PATIENCE) == 0
    finally:
        os.close(ours)
        os.close(theirs)


# -- exit codes and their sentences


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--prot", "1"], "there is no option --prot; did you mean --port?"),
        (["run", "--zzz"], "there is no option --zzz; weebill run --help lists those there are"),
        (["rnu"], "there is no command 'rnu'; did you mean weebill run?"),
        (["site.py"], "there is no command 'site.py'; did you mean weebill run site.py?"),
        (["run", "--port", "http"], "'http' is no whole number"),
        (["run", "--port", "65536"], "65536 is more than 65535"),
        (["run", "--http", "h12"], "'h12' is none of auto, httptools, h11"),
        (["run", "--idle-timeout", "soon"], "'soon' is no duration; write 30s, 1.5m, 200ms or 2h"),
        (["run", "a", "b"], "unexpected extra argument (b)"),
        (["routes", "--port", "1"], "there is no option --port"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    here: Here, arguments: list[str], sentence: str
) -> None:
    code, stdout, stderr = here(*arguments)
    assert (code, stdout) == (2, "")
    assert sentence in stderr
    assert stderr.startswith("weebill: ")
    assert stderr.count("\n") == 1


def test_no_command_at_all_shows_the_help_and_ends_with_2(here: Here) -> None:
    code, _, stderr = here()
    assert code == 2
    assert "run " in stderr
    assert "routes " in stderr


@pytest.mark.parametrize(
    ("source", "name", "sentence"),
    [
        ("", "nosuch", "there is no module 'nosuch' in {folder}, nor is one installed"),
        ("", "json.nosuch", "there is no module 'json.nosuch' in {folder}"),
        ("", "nosuch.py", "there is no file nosuch.py"),
        (
            "",
            ".",
            "there is no app.py or main.py in {folder}; name the program, as in weebill run module:app",
        ),
        ("", "a:b:c", "'a:b:c' names no program; write module:app, file.py or file.py:app"),
        ("", "p:make()", "'p:make()' names no program; write module:app, file.py or file.py:app"),
        ("from weebill import App\nsite = App()", "p:app", "p (p.py) has no attribute 'app'; there is site"),
        (
            "from weebill import App\na = App(); b = App()",
            "p",
            "p (p.py) has 2 programs; add :a or :b to its",
        ),
        ("", "p.py", "p (p.py) has no App and nothing called app, application or create_app; if its program"),
        ("app = 3", "p.py", "3 is of the type int"),
        (
            "from weebill import App\napp = App()\n@app.get('/{x')\ndef f(): ...",
            "p",
            "the pattern '/{{x' has a brace without its partner; it is the path of f (p.py:3)",
        ),
        (
            "from weebill import App\napp = App()\n@app.get('/')\ndef f(x): ...",
            "p",
            "nothing fills the parameter 'x' of f (p.py:3) for GET /: annotate it",
        ),
        (
            "from weebill import App\napp = App()\n@app.get('/')\ndef a(): ...\n@app.get('/')\ndef b(): ...",
            "p",
            "GET / is registered twice: a (p.py:3) and b (p.py:5)",
        ),
        (
            "from weebill import App\napp = App(templates='nowhere')",
            "p",
            "p.py:2: the template folder {folder}/nowhere does not exist",
        ),
    ],
)
def test_what_cannot_start_is_one_sentence_and_exit_code_3(
    tmp_path: Path, here: Here, source: str, name: str, sentence: str
) -> None:
    if source or name == "p.py":
        (tmp_path / "p.py").write_text(source)
    code, stdout, stderr = here("run", name, "--port", "0")
    assert (code, stdout) == (3, "")
    assert stderr.startswith("weebill: " + sentence.format(folder=tmp_path))
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "dev"])
def test_a_port_that_is_taken_is_named(folder: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = weebill(command, "--port", str(port), cwd=folder)
    assert done.returncode == 3
    assert done.stderr == (
        f"weebill: port {port} on 127.0.0.1 is taken; stop the program that has it, "
        "or choose another with --port\n"
    )


def test_a_wrong_option_in_the_environment_could_not_start(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEEBILL_PORT", "http")
    sentence = "weebill: the environment variable WEEBILL_PORT: 'http' is no whole number\n"
    assert here("run") == (3, "", sentence)


@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("import json\njson.loads('{')", "json.decoder.JSONDecodeError: "),
        ("import nosuchthing", "ModuleNotFoundError: No module named 'nosuchthing'"),
        ("def (", "SyntaxError: "),
        ("def create_app():\n    return 1 / 0", "ZeroDivisionError: "),
    ],
)
def test_an_error_of_the_users_own_code_shows_its_traceback_and_not_ours(
    tmp_path: Path, here: Here, source: str, last: str
) -> None:
    (tmp_path / "p.py").write_text(source)
    code, _, stderr = here("run", "p.py", "--port", "0")
    assert code == 3
    assert_traceback(stderr, tmp_path / "p.py", last)


def test_an_error_in_a_startup_function_shows_the_traceback_and_not_ours(folder: Path) -> None:
    with (folder / "app.py").open("a") as file:
        file.write("@app.on_startup\ndef boom():\n    1 / 0\n")
    done = weebill("run", "--port", "0", cwd=folder)
    assert done.returncode == 3
    assert_traceback(done.stderr, folder / "app.py", "ZeroDivisionError: ")


def assert_traceback(text: str, file: Path, last: str) -> None:
    lines = text.splitlines()
    assert lines[-1].startswith(last)
    assert str(file) in lines[0 if last.startswith("Syntax") else 1]
    assert str(Path(__file__).parent.parent / "weebill") not in text
    assert "click" not in text


def test_a_file_that_an_installed_module_hides_is_named(tmp_path: Path, here: Here) -> None:
    (tmp_path / "queue.py").write_text(HELLO)
    code, _, stderr = here("run", "queue.py")
    assert code == 3
    assert f"{tmp_path / 'queue.py'} is hidden by {sys.modules['queue'].__file__}" in stderr


# -- the other commands


def test_version(folder: Path) -> None:
    script = Path(sys.executable).parent / "weebill"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"weebill {__version__}\n"


def test_help_shows_the_flag_the_variable_the_key_and_the_default_of_every_option(here: Here) -> None:
    text = " ".join(here("run", "--help")[1].split())
    for option in options():
        assert f"{option.flag} " in text
        assert f"{', '.join(option.env)}; {option.name} = " in text
        assert option.help in text
    assert 'idle_timeout = "75s"' in text
    assert "debug = false" in text
    assert "debug = true" in here("dev", "--help")[1]


def test_routes_are_listed_in_columns_with_their_places(tmp_path: Path, here: Here) -> None:
    (tmp_path / "shop.py").write_text(
        """
from weebill import App

app, inner = App(), App()

@app.route("/", methods=["GET", "POST"])
def home(): ...

@app.get("/user/{name}", name="user")
async def show_user(name): ...

@inner.get("/about")
def about(): ...

def wsgi(environ, start_response): ...

app.mount("/in", inner)
app.mount("/old", wsgi)
"""
    )
    code, stdout, stderr = here("routes", "shop")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == [
        "METHOD    PATH          NAME   HANDLER",
        "GET,POST  /             home   home (shop.py:6)",
        "GET       /user/{name}  user   show_user (shop.py:9)",
        "GET       /in/about     about  about (shop.py:12)",
        "*         /old/*               WSGIApplication",
    ]


def test_routes_of_a_listener_are_its_events(tmp_path: Path, here: Here) -> None:
    (tmp_path / "app.py").write_text(
        "from weebill.events import Listener\napp = Listener()\n"
        "@app.on_event('hi {name}')\nasync def hi(): ...\n"
    )
    assert here("routes")[1].splitlines()[1] == "EVENT   hi {name}  hi    hi (app.py:3)"


def test_routes_of_a_foreign_program_cannot_be_listed(tmp_path: Path, here: Here) -> None:
    (tmp_path / "app.py").write_text(WSGI)
    sentence = "weebill: app is no App and no Listener, so its routes cannot be listed\n"
    assert here("routes") == (3, "", sentence)


# -- what a name means


def module(**names: Any) -> ModuleType:
    made = ModuleType("made")
    vars(made).update(names)
    return made


def test_a_file_within_a_package_is_imported_as_a_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "shop" / "web").mkdir(parents=True)
    for name in ("__init__.py", "web/__init__.py", "web/site.py"):
        (tmp_path / "shop" / name).touch()
    found = locate("shop/web/site.py:pages.app", tmp_path)
    assert (found.module, found.attribute, found.folder) == ("shop.web.site", "pages.app", tmp_path.resolve())
    assert locate("shop/__init__.py", tmp_path).module == "shop"


def test_a_folder_means_its_app_py_or_main_py(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    assert locate(str(tmp_path), Path()).module == "main"
    (tmp_path / "app.py").touch()
    assert locate(".", tmp_path).module == "app"


def test_without_a_name_app_and_application_go_before_others() -> None:
    one, two = App(), App()
    assert find_program(module(other=one, application=two)) is two
    assert find_program(module(application=one, app=two)) is two
    assert find_program(module(app=ModuleType("app"), site=one)) is one


def test_the_only_program_of_a_module_is_found_under_any_name() -> None:
    listener, app = Listener[Any](), App()
    assert find_program(module(mine=listener, helper=len, App=App, number=3)) is listener
    assert find_program(module(one=app, again=app)) is app


def test_a_factory_is_the_last_resort() -> None:
    assert find_program(module(create_app=App)) is App
    with pytest.raises(StartError, match="made has no App and nothing called app, application or create_app"):
        find_program(module(create_app="text"))


def test_an_attribute_that_is_missing_is_met_with_those_there_are() -> None:
    with pytest.raises(StartError, match=r"made has no attribute 'ap'; there is site"):
        find_program(module(site=App()), "ap")
    with pytest.raises(StartError, match=r"made has no attribute 'make_ap'; there is make_app"):
        find_program(module(make_app=App), "make_ap")
    with pytest.raises(StartError, match=r"made has no attribute 'zzz'$"):
        find_program(module(), "zzz")
