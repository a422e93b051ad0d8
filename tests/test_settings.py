"""The table of settings, and what is derived from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weebill import App
from weebill.cli import settings_page
from weebill.errors import ConfigurationError
from weebill.settings import (
    Settings,
    format_duration,
    format_size,
    load,
    options,
    parse_duration,
    parse_size,
)
from weebill.testing import LiveServer

ROOT = Path(__file__).parent.parent


def pyproject(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1.5m", 90), ("200ms", 0.2), ("2h", 7200), ("7", 7), (" 3 s ", 3)]
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"),
    [("16MiB", 16 << 20), ("64 KiB", 64 << 10), ("500kB", 500_000), ("9", 9), ("1GB", 10**9), ("5B", 5)],
)
def test_a_size_is_read_with_its_unit(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1e3", "1_0", "ten", "\u0661"])
def test_what_is_no_duration_and_no_size_is_refused_and_shown(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with pytest.raises(ValueError, match=r"is no (duration|size)"):
            parse(text)


@pytest.mark.parametrize("seconds", [0, 0.2, 1.5, 10.0, 75.0, 90.0, 120, 3600.0, 5400, 1000001])
def test_a_duration_that_is_written_is_read_as_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize("count", [0, 1, 240, 1 << 10, 1500, 16 << 20, 3 << 30])
def test_a_size_that_is_written_is_read_as_the_same(count: int) -> None:
    assert parse_size(format_size(count)) == count


def test_durations_and_sizes_are_written_short() -> None:
    assert [format_duration(s) for s in (0.2, 75.0, 120.0, 1.5)] == ["200ms", "75s", "2m", "1.5s"]
    assert [format_size(n) for n in (16 << 20, 240)] == ["16MiB", "240B"]


def test_every_default_is_read_back_from_its_text() -> None:
    for option in options():
        assert option.check(option.show(option.default)) == option.default, option.name


def test_every_option_has_a_flag_a_variable_a_group_and_a_help() -> None:
    for option in options():
        assert option.flag == "--" + option.name.replace("_", "-")
        assert option.env[0] == "WEEBILL_" + option.name.upper()
        assert option.group
        assert option.help.endswith(".")


def test_the_first_place_that_says_it_wins(tmp_path: Path) -> None:
    file = pyproject(tmp_path, '[tool.weebill]\nport = 3\nmax-body = "1KiB"\nthreads = 3\nbacklog = 3\n')
    env = {"WEEBILL_PORT": "2", "WEEBILL_THREADS": "2"}
    found = load({"port": 1, "threads": None}, env, file, {"backlog": 4, "spool": 4})
    assert (found.port, found.threads, found.backlog, found.spool) == (1, 2, 3, 4)
    assert found.max_body == 1024
    assert found.idle_timeout == Settings().idle_timeout


def test_bare_host_and_port_count_below_the_names_of_our_own(tmp_path: Path) -> None:
    env = {"PORT": "5000", "HOST": "::1", "WEEBILL_PORT": "6000"}
    found = load({}, env, tmp_path / "none.toml")
    assert (found.host, found.port) == ("::1", 6000)


@pytest.mark.parametrize(
    ("given", "env", "toml", "sentence"),
    [
        ({"prot": 1}, {}, "", r"no option 'prot'; did you mean port\?"),
        ({"zzz": 1}, {}, "", r"no option 'zzz'; there are host, port"),
        ({"port": "x"}, {}, "", r"^port=: 'x' is no whole number"),
        ({"port": 65536}, {}, "", r"^port=: 65536 is more than 65535"),
        ({"port": True}, {}, "", r"^port=: True is no int"),
        ({"threads": 0}, {}, "", r"^threads=: 0 is less than 1"),
        ({"max_body": -1}, {}, "", r"^max_body=: -1 is less than 0"),
        ({"http": "h12"}, {}, "", r"^http=: 'h12' is none of auto, httptools, h11"),
        ({}, {"WEEBILL_IDLE_TIMEOUT": "soon"}, "", r"^the environment variable WEEBILL_IDLE_TIMEOUT: 'soon'"),
        ({}, {"PORT": "http"}, "", r"^the environment variable PORT: 'http'"),
        ({}, {"WEEBILL_DEBUG": "perhaps"}, "", r"'perhaps' is neither yes nor no"),
        ({}, {}, "[tool.weebill]\nport = 'x'", r"^port in \[tool.weebill\] of .*pyproject.toml: 'x'"),
        ({}, {}, "[tool.weebill]\nthread = 1", r"unknown option 'thread'; did you mean threads\?"),
        ({}, {}, "[tool]\nweebill = 3", r"is 3 and not a table"),
        ({}, {}, "[tool.weebill", r"pyproject.toml cannot be read: "),
    ],
)
def test_a_wrong_option_is_one_sentence_that_says_where(
    tmp_path: Path, given: dict[str, object], env: dict[str, str], toml: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        load(given, env, pyproject(tmp_path, toml))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "value"), [("1", True), ("on", True), ("Yes", True), ("0", False), ("off", False), ("", False)]
)
def test_a_switch_in_the_environment_is_a_word(tmp_path: Path, word: str, value: bool) -> None:
    assert load({}, {"WEEBILL_ACCESS_LOG": word}, tmp_path / "none.toml").access_log is value


def test_settings_that_are_made_by_hand_are_read_and_checked_too() -> None:
    given: dict[str, Any] = {"header_timeout": "10ms", "max_body": "1KiB", "idle_timeout": 3}
    made = Settings(**given)
    assert (made.header_timeout, made.max_body, made.idle_timeout) == (0.01, 1024, 3.0)
    with pytest.raises(ConfigurationError, match=r"^max_body=: 'much' is no size"):
        Settings(max_body="much")
    with pytest.raises(ConfigurationError, match=r"no option 'prot'; did you mean port\?"):
        LiveServer(App(), prot=1)


def test_docs_settings_md_is_current() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page(), "run: weebill settings > docs/settings.md"
