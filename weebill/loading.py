"""From what a person named to the program that is meant.

    weebill run shop.web:site       the attribute `site` of the module shop.web, found in --app-dir
    weebill run shop.web            what of it is a program (see `find_program`)
    weebill run tour.py             a file; also tour.py:site
    weebill run examples/tour       a folder: its app.py, else its main.py
    weebill run                     $WEEBILL_APP, else `app` of [tool.weebill], else app.py or main.py here

`locate` only looks where the program is, `load` imports it. The reloader's parent does the first alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import click

from .errors import ConfigurationError, StartError
from .server import worker
from .settings import read_pyproject

__all__ = ["Target", "explain", "find_program", "is_listener", "load", "locate", "shorten"]

FILES = ("app.py", "main.py")
NAMES = ("app", "application")
FACTORIES = ("create_app", "make_app")
INSTALLED = ("site-packages", "dist-packages")
OURS = tuple(os.path.dirname(file) + os.sep for file in (__file__, click.__file__))
STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep


@dataclass(frozen=True, slots=True)
class Target:
    """Where a program is. `folder` goes onto the import path; `attribute` is "" where none was named."""

    module: str
    attribute: str
    folder: Path
    file: Path | None = None

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}" if self.attribute else self.module


def locate(name: str | None, folder: Path) -> Target:
    """Find what `name` means, seen from `folder`, without importing it.

    Raises StartError, in one sentence, where there is nothing.
    """
    name = name or os.environ.get("WEEBILL_APP") or read_pyproject(Path("pyproject.toml")).get("app")
    if not folder.is_dir():
        raise StartError(f"there is no folder {folder}")
    if not name:
        return _in_file(_file_of_folder(folder), "")
    found = re.fullmatch(r"(.+?)(?::([\w.]*))?", name) if isinstance(name, str) else None
    if found is None:
        raise StartError(f"{name!r} names no program; write module:app, file.py or file.py:app")
    where, attribute = found[1], found[2] or ""
    if where.endswith(".py") or "/" in where or os.sep in where or where in (".", ".."):
        path = folder / where
        return _in_file(_file_of_folder(path) if path.is_dir() else path, attribute)
    if not all(part.isidentifier() for part in where.split(".")):
        raise StartError(f"{name!r} names no program; write module:app, file.py or file.py:app")
    return _in_module(where, attribute, folder.resolve())


def _file_of_folder(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise StartError(
        f"there is no {' or '.join(FILES)} in {folder.resolve()}; "
        "name the program, as in weebill run module:app"
    )


def _in_file(path: Path, attribute: str) -> Target:
    if not path.is_file():
        raise StartError(f"there is no file {path}")
    file = path.resolve()
    if "." in file.stem:
        raise StartError(f"{path} cannot be imported because of the dot in its name; rename it")
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():  # within a package it is imported as a part of that
        parts.insert(0, folder.name)
        folder = folder.parent
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return Target(".".join(parts), attribute, folder, file)


def _in_module(module: str, attribute: str, folder: Path) -> Target:
    _import_from(folder)
    top = module.partition(".")[0]
    try:
        there = top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        raise StartError(f"there is no module {top!r} in {folder}, nor is one installed")
    return Target(module, attribute, folder)


def _import_from(folder: Path) -> None:
    """Make `folder` the first place to import from."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def load(target: Target) -> Any:
    """Import `target` and return the program: anything that `bridges.adapt` takes, or a Listener.

    Raises StartError where there is nothing of that name, and whatever the import itself raises; `explain`
    makes a text for the terminal of either.
    """
    _import_from(target.folder)
    worker.importing = True
    try:
        module = importlib.import_module(target.module)
    except ModuleNotFoundError as error:
        wanted = error.name or ""
        if f"{target.module}.".startswith(f"{wanted}.") and not _frames_of_user(error):
            raise StartError(f"there is no module {wanted!r} in {target.folder}") from None
        raise
    finally:
        worker.importing = False
    file = getattr(module, "__file__", None)
    if target.file is not None and (file is None or not target.file.samefile(file)):
        other = file or "a module of the interpreter"
        raise StartError(f"{target.file} is hidden by {other}, which has the same name; rename it")
    return find_program(module, target.attribute)


def find_program(module: ModuleType, attribute: str = "") -> Any:
    """The attribute of that name (dots allowed); without a name `app`, `application`, the only App or
    Listener of the module, or a factory `create_app` or `make_app`.

    Raises StartError that lists what there is.
    """
    if attribute:
        return _attribute(module, attribute)
    for name in NAMES:
        if not inspect.ismodule(value := getattr(module, name, None)) and value is not None:
            return value
    programs = _programs(module)
    if len({id(program) for program in programs.values()}) == 1:
        return next(iter(programs.values()))
    if programs:
        choices = " or ".join(f":{name}" for name in programs)
        raise StartError(f"{_where(module)} has {len(programs)} programs; add {choices} to its name")
    for name in FACTORIES:
        if callable(factory := getattr(module, name, None)):
            return factory
    raise StartError(
        f"{_where(module)} has no App and nothing called {', '.join(NAMES)} or {FACTORIES[0]}; "
        "if its program has another name, add :name"
    )


def _attribute(module: ModuleType, attribute: str) -> Any:
    value: Any = module
    for name in attribute.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            candidates = list(_programs(module)) or [n for n in (*NAMES, *FACTORIES) if hasattr(module, n)]
            if not candidates:
                from difflib import get_close_matches  # only a mistake needs it

                candidates = get_close_matches(name, vars(module), 3)
            there = f"; there is {', '.join(candidates)}" if candidates else ""
            raise StartError(f"{_where(module)} has no attribute {attribute!r}{there}") from None
    return value


def _programs(module: ModuleType) -> dict[str, Any]:
    # The type is asked, not the value: a proxy such as Flask's `request` would answer for what is behind it.
    return {
        name: value
        for name, value in vars(module).items()
        if hasattr(type(value), "__exchange__") or is_listener(value)
    }


def is_listener(program: Any) -> bool:
    """Whether it is a `weebill.events.Listener`, which runs by itself."""
    events = sys.modules.get("weebill.events")  # a program that has a Listener has imported it
    return events is not None and isinstance(program, events.Listener)


def _where(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return f"{module.__name__} ({_short(file)})" if file else module.__name__


def explain(error: BaseException) -> str:
    """What the terminal shows of an exception from the user's program.

    A mistake in how Weebill is used is one sentence with its place. Anything else is the traceback, from
    the first line of the user's own code on.
    """
    frames = _frames_of_user(error)
    if isinstance(error, ConfigurationError):
        file = frames[-1].tb_frame.f_code.co_filename if frames else ""
        place = f"{_short(file)}:{frames[-1].tb_lineno}: " if file and f"{file}:" not in str(error) else ""
        return f"weebill: {place}{shorten(str(error))}\n"
    # Without a frame of the user's it is a syntax error in the named file, or our own fault.
    rest = None if isinstance(error, SyntaxError) else error.__traceback__
    return "".join(traceback.format_exception(type(error), error, frames[0] if frames else rest))


def _frames_of_user(error: BaseException) -> list[TracebackType]:
    """The entries of the traceback that are neither ours nor the standard library's."""
    return [e for e in _entries(error.__traceback__) if _is_user(e.tb_frame.f_code.co_filename)]


def _is_user(file: str) -> bool:
    if not os.path.isabs(file) or file.startswith(OURS):  # not absolute: frozen, compiled, made by exec
        return False
    return not file.startswith(STANDARD_LIBRARY) or any(name in file for name in INSTALLED)


def _entries(entry: TracebackType | None) -> Iterator[TracebackType]:
    while entry is not None:
        yield entry
        entry = entry.tb_next


def shorten(text: str) -> str:
    """`text` with the places of handlers (see `binding.describe`) as seen from the current folder."""
    return text.replace(f"({Path.cwd()}{os.sep}", "(")


def _short(file: str) -> str:
    """`file` as seen from the current folder, where it lies below."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
