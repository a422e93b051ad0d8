"""Each option of the server said once: its default, its flag, its environment variables, its help.

Everything else is derived from this table: the command line, its help, the environment, `[tool.weebill]`
in pyproject.toml, the keyword arguments of `App.run` and the table in docs/settings.md (write it anew with
`weebill settings > docs/settings.md`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import ConfigurationError

__all__ = [
    "Option",
    "Settings",
    "format_duration",
    "format_size",
    "load",
    "options",
    "parse_duration",
    "parse_size",
    "read_pyproject",
]

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_duration(text: str) -> float:
    """Seconds of "30s", "1.5m", "200ms", "2h" or a bare number of seconds. Raises ValueError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)?", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no duration; write 30s, 1.5m, 200ms or 2h")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def parse_size(text: str) -> int:
    """Bytes of "16MiB", "64KiB", "1GiB", "500kB" or a bare number of bytes. Raises ValueError."""
    found = re.fullmatch(r"([0-9]+)\s*(B|KiB|MiB|GiB|kB|MB|GB)?", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no size; write 16MiB, 64KiB, 500kB or a number of bytes")
    return int(found[1]) * _BYTES[found[2] or "B"]


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`: "30s", "1.5s", "200ms", "2m"."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.12g}ms"
    unit = next((u for u in ("h", "m") if seconds and seconds % _SECONDS[u] == 0), "s")
    return f"{seconds / _SECONDS[unit]:.12g}{unit}"


def format_size(count: int) -> str:
    """The shortest text that `parse_size` reads as `count` bytes: "16MiB", "240B"."""
    unit = next((u for u in ("GiB", "MiB", "KiB") if count and count % _BYTES[u] == 0), "B")
    return f"{count // _BYTES[unit]}{unit}"


def _option(
    default: Any,
    help_: str,
    kind: str = "",
    *,
    env: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    least: int = 0,
    most: float = math.inf,
    group: str = "",
) -> Any:
    """`kind` is "duration", "size", or "" for what the default's type says; `env` are bare aliases; a
    number is from `least` to `most`; `group` opens a group, to which the rows after it belong too."""
    metadata = {"help": help_, "kind": kind, "env": env, "choices": choices, "least": least, "most": most}
    return field(default=default, metadata={**metadata, "group": group})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one server. Durations are seconds, sizes bytes; as text they may have a unit.

    Raises ConfigurationError for a value that an option cannot have.

    >>> from weebill.settings import Settings
    >>> settings = Settings(max_body="1KiB", idle_timeout="2m")
    >>> settings.max_body, settings.idle_timeout
    (1024, 120.0)
    """

    host: str = _option("127.0.0.1", "Address to listen on.", env=("HOST",), group="Where it listens")
    port: int = _option(8000, "TCP port to listen on; 0 takes a free one.", env=("PORT",), most=65535)
    backlog: int = _option(2048, "Connections that the kernel keeps waiting for accept.")
    interface: str = _option(
        "auto",
        "What kind of program it is.",
        choices=("auto", "weebill", "asgi", "wsgi", "http.server"),
        group="How it runs",
    )
    http: str = _option("auto", "HTTP/1 parser.", choices=("auto", "httptools", "h11"))
    loop: str = _option("auto", "Event loop.", choices=("auto", "uvloop", "asyncio"))
    root_path: str = _option("", "Prefix that a proxy has taken off the path.")
    threads: int = _option(40, "Worker threads for `def` handlers.", least=1)
    thread_queue: int = _option(1000, "Calls that may wait for a worker thread; beyond it 503.")
    debug: bool = _option(
        False, "Show tracebacks to the client. Never on a public address.", group="What it tells"
    )
    access_log: bool = _option(False, "Log one line for each answer.")
    log_level: str = _option(
        "info", "Least level that is logged.", choices=("critical", "error", "warning", "info", "debug")
    )
    max_connections: int = _option(
        10_000, "Open connections; beyond it others wait in the backlog.", least=1, group="How much it takes"
    )
    max_connections_per_client: int = _option(
        0, "Open connections from one address; beyond it 503. 0 for no limit."
    )
    max_request_line: int = _option(8 << 10, "Longest request line; beyond it 414.", "size")
    max_fields_size: int = _option(64 << 10, "All fields of a request together; beyond it 431.", "size")
    max_fields: int = _option(100, "Number of fields of a request; beyond it 431.")
    max_body: int = _option(16 << 20, "Longest content of a request; beyond it 413.", "size")
    max_chunk_extension: int = _option(256, "Extensions of one chunk; beyond it 400.", "size")
    max_trailers: int = _option(8 << 10, "Trailers behind chunked content; beyond it 431.", "size")
    spool: int = _option(1 << 20, "Content beyond this goes to a temporary file.", "size")
    max_form_parts: int = _option(1000, "Fields and files of a form; beyond it 413.")
    max_part_header: int = _option(8 << 10, "Header of one part of a form; beyond it 413.", "size")
    max_form_field: int = _option(1 << 20, "One text field of a form; beyond it 413.", "size")
    max_form_text: int = _option(
        4 << 20, "Text fields and headers of a form together; beyond it 413.", "size"
    )
    max_pipelined: int = _option(
        64 << 10, "Bytes of pipelined requests that wait; beyond it reading pauses.", "size"
    )
    header_timeout: float = _option(
        10.0, "A request's head must be complete in this time.", "duration", group="How long it waits"
    )
    body_rate: int = _option(240, "Bytes per second that content must come with.", "size")
    body_grace: float = _option(5.0, "Time before the rate of content counts.", "duration")
    idle_timeout: float = _option(75.0, "An idle connection is closed after this time.", "duration")
    handler_timeout: float = _option(
        0.0, "From a handler's start until its answer begins; beyond it 503. 0 for no limit.", "duration"
    )
    write_timeout: float = _option(30.0, "A client that reads nothing for this time is cut off.", "duration")
    graceful_timeout: float = _option(10.0, "Time for requests in flight when the server stops.", "duration")

    def __post_init__(self) -> None:
        for option in options():
            value = getattr(self, option.name)
            if value is not option.default:
                try:
                    object.__setattr__(self, option.name, option.check(value))  # it is frozen
                except ValueError as error:
                    raise ConfigurationError(f"{option.name}=: {error}") from None


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table, with the names that are derived from the field's."""

    name: str
    flag: str
    env: tuple[str, ...]
    default: Any
    type: type
    kind: str
    help: str
    choices: tuple[str, ...]
    least: int
    most: float
    group: str

    def show(self, value: Any) -> str:
        """The text that `parse` reads as `value`."""
        if self.kind == "duration":
            return format_duration(value)
        if self.kind == "size":
            return format_size(value)
        return ("on" if value else "off") if self.type is bool else str(value)

    def parse(self, text: str) -> Any:
        """The value of what a person wrote. Raises ValueError with a sentence that shows it."""
        if self.kind == "duration":
            return parse_duration(text)
        if self.kind == "size":
            return parse_size(text)
        if self.type is bool:
            word = text.strip().lower()
            if word in ("1", "true", "yes", "on"):
                return True
            if word in ("0", "false", "no", "off", ""):
                return False
            raise ValueError(f"{text!r} is neither yes nor no")
        if self.type is int:
            if not re.fullmatch(r"[0-9]+", text.strip()):
                raise ValueError(f"{text!r} is no whole number")
            return int(text)
        return text

    def check(self, value: Any) -> Any:
        """`value` if it can be used, parsed if it is text for another type. Raises ValueError."""
        if isinstance(value, str) and (self.type is not str):
            value = self.parse(value)
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, self.type) or (self.type is int and isinstance(value, bool)):
            raise ValueError(f"{value!r} is no {self.kind or self.type.__name__}")
        if self.choices and value not in self.choices:
            raise ValueError(f"{value!r} is none of {', '.join(self.choices)}")
        if isinstance(value, int | float) and not self.least <= value <= self.most:
            bound = f"less than {self.least}" if value < self.least else f"more than {self.most}"
            raise ValueError(f"{value!r} is {bound}")
        return value


def options() -> list[Option]:
    """The rows of the table, in order."""
    rows: list[Option] = []
    for f in fields(Settings):
        meta = dict(f.metadata)
        meta["group"] = meta["group"] or rows[-1].group
        meta["env"] = (f"WEEBILL_{f.name.upper()}", *meta["env"])
        flag = "--" + f.name.replace("_", "-")
        rows.append(Option(name=f.name, flag=flag, default=f.default, type=type(f.default), **meta))
    return rows


def load(
    given: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    pyproject: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from, in order of precedence: `given` (None counts as absent), the environment,
    `[tool.weebill]` of `pyproject` (by default pyproject.toml in the current folder), `defaults`, the
    table's own.

    Raises ConfigurationError that names the option, where it was said and what is wrong.
    """
    environ = os.environ if environ is None else environ
    path = Path("pyproject.toml") if pyproject is None else pyproject
    in_file = {name.replace("-", "_"): v for name, v in read_pyproject(path).items() if name != "app"}
    rows = {option.name: option for option in options()}
    _refuse_unknown(given, rows, "there is no option {}")
    _refuse_unknown(in_file, rows, f"[tool.weebill] of {path} has the unknown option {{}}")
    values = dict(defaults or {})
    for name, option in rows.items():
        variable = next((v for v in option.env if v in environ), None)
        if given.get(name) is not None:
            place, value = f"{name}=", given[name]
        elif variable is not None:
            place, value = f"the environment variable {variable}", environ[variable]
        elif name in in_file:
            place, value = f"{name} in [tool.weebill] of {path}", in_file[name]
        else:
            continue
        try:
            values[name] = option.check(value)
        except ValueError as error:
            raise ConfigurationError(f"{place}: {error}") from None
    return Settings(**values)


def _refuse_unknown(names: Iterable[str], known: Iterable[str], sentence: str) -> None:
    for name in names:
        if name not in known:
            from difflib import get_close_matches  # only a mistake needs it

            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigurationError(f"{sentence.format(repr(name))}; {hint}")


def read_pyproject(path: Path) -> dict[str, Any]:
    """The table `[tool.weebill]` of a pyproject.toml, {} where there is none.

    Raises ConfigurationError for a file that cannot be read.
    """
    import tomllib  # `import weebill` does not need it

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("weebill", {})
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise ConfigurationError(f"[tool.weebill] of {path} is {table!r} and not a table")
    return table
