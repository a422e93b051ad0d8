"""ARCHITECTURE.md, the files and their imports tell the same story.

The map in the document is the only source: its headings are the layers, its lines the files. Imports for
types and inside functions count like all others.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each layer may import besides itself.
BELOW = {"0": "", "1": "0", "2": "01", "3": "012B", "S": "01", "B": "01", "T": "0123SB"}

# The one place below the top where the application knows the server.
REACHES_FOR_THE_SERVER = ("app.py", "App.run")

Map = dict[str, str]  # from a file, as in the document, to the letter of its layer


@dataclass(frozen=True)
class Import:
    """`source` imports `target`, in the function `inside` or, with "", as a whole."""

    source: str
    target: str
    line: int
    inside: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def read_map(document: str) -> Map:
    """The layers of all files."""
    for block in re.findall(r"^```\n(.*?)^```", document, re.MULTILINE | re.DOTALL):
        layers: Map = {}
        layer = ""
        for line in block.splitlines():
            if heading := re.match(r"([0-9A-Z]) \w", line):
                layer = heading[1]
            elif file := re.match(r"  ([\w/.]+\.py)  +\S", line):
                assert file[1] not in layers, f"the map names {file[1]} twice"
                layers[file[1]] = layer
        if layers:
            return layers
    raise AssertionError("there is no map")


def files_of(package: Path) -> set[str]:
    return {file.relative_to(package).as_posix() for file in package.rglob("*.py")}


def imports_of(package: Path, file: str) -> Iterator[Import]:
    """Every import of a file of ours by a file of ours."""
    tree = ast.parse((package / file).read_text(encoding="utf-8"))
    for node, inside in _walk(tree, ""):
        for target in _targets(package, file, node):
            yield Import(file, target, node.lineno, inside)


def _walk(node: ast.AST, inside: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, inside
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _walk(child, f"{inside}.{child.name}".lstrip("."))
        else:
            yield from _walk(child, inside)


def _targets(package: Path, file: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            parts = alias.name.split(".")
            if parts[0] == package.name:
                yield _file_of(package, parts[1:]) or ""
        return
    base = node.module.split(".") if node.module else []
    if node.level:
        here = Path(file).parts[:-1]
        base = [*here[: len(here) - node.level + 1], *base]
    elif base[:1] == [package.name]:
        base = base[1:]
    else:
        return
    for alias in node.names:  # each may be a module, or a name in one
        yield _file_of(package, [*base, alias.name]) or _file_of(package, base) or ""


def _file_of(package: Path, parts: list[str]) -> str | None:
    for file in (Path(*parts, "__init__.py"), Path(*parts).with_suffix(".py") if parts else Path("?")):
        if (package / file).is_file():
            return file.as_posix()
    return None


def faults(package: Path, layers: Map) -> list[str]:
    """Everything that the map and the imports do not agree about."""
    files = files_of(package)
    found = [f"the map does not name {file}" for file in sorted(files - layers.keys())]
    found += [f"the map names {file}, which is not there" for file in sorted(layers.keys() - files)]
    found += [f"{file} is in the unknown layer {at!r}" for file, at in layers.items() if at not in BELOW]
    if found:
        return found
    arrows: dict[str, set[str]] = {file: set() for file in files}
    for file in sorted(files):
        for arrow in imports_of(package, file):
            if not arrow.target:
                found.append(f"{file}:{arrow.line} imports something that is not there")
                continue
            of, to = layers[file], layers[arrow.target]
            if (file, arrow.inside) == REACHES_FOR_THE_SERVER and to == "S":
                continue
            if to != of and to not in BELOW[of]:
                found.append(f"{arrow}: upward, from {of} to {to}")
            arrows[file].add(arrow.target)
    return found + [f"a cycle: {' -> '.join(cycle)}" for cycle in _cycles(arrows)]


def _cycles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """One cycle for each group of files that import each other."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(file: str, path: list[str]) -> None:
        if file in path:
            found.append([*path[path.index(file) :], file])
        elif file not in done:
            for target in sorted(arrows[file]):
                visit(target, [*path, file])
            done.add(file)

    for file in sorted(arrows):
        visit(file, [])
    return found


def test_no_import_of_weebill_runs_upward_or_in_a_circle_and_the_map_is_complete() -> None:
    layers = read_map((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert set(layers.values()) == set(BELOW)
    found = faults(ROOT / "weebill", layers)
    assert not found, "\n".join(found)


def test_all_imports_between_our_files_are_seen() -> None:
    package = ROOT / "weebill"
    seen = {(arrow.source, arrow.target) for file in files_of(package) for arrow in imports_of(package, file)}
    for arrow in (
        ("app.py", "exchange.py"),
        ("router.py", "bridges/__init__.py"),
        ("app.py", "server/worker.py"),  # inside App.run
        ("responses.py", "exchange.py"),  # for types only
        ("server/http1.py", "errors.py"),
        ("server/worker.py", "server/http1.py"),
        ("__init__.py", "app.py"),
    ):
        assert arrow in seen


# -- the checks themselves

GOOD = {
    "errors.py": "import os\n",
    "exchange.py": "from .errors import A\nfrom __future__ import annotations\n",
    "requests.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .exchange import A\n",
    "app.py": "from . import requests\nclass App:\n  def run(self):\n    from .server.worker import main\n",
    "server/__init__.py": "",
    "server/worker.py": "from ..exchange import A\nfrom .wire import B\n",
    "server/wire.py": "import pkg.errors\nfrom pkg import exchange\n",
    "bridges/__init__.py": "from ..exchange import A\n",
    "__init__.py": "from .app import App\n",
}
MAP = """
Some words.

```
not the map
```

```
0 words (import nothing of ours)
  errors.py              what is raised
1 the waist
  exchange.py            one request
2 what handlers touch
  requests.py            a view
3 the application
  app.py                 App
S the server
  server/__init__.py     nothing
  server/wire.py         bytes
  server/worker.py       a process
B bridges
  bridges/__init__.py    others
T top
  __init__.py            the names
```
"""


def check(folder: Path, changes: dict[str, str], document: str = MAP) -> list[str]:
    package = folder / "pkg"
    for name, text in {**GOOD, **changes}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return faults(package, read_map(document))


def test_a_good_package_has_no_faults(tmp_path: Path) -> None:
    assert check(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("errors.py", "from .exchange import A\n", "errors.py:1 imports exchange.py: upward, from 0 to 1"),
        ("errors.py", "def f():\n    import pkg.app\n", "errors.py:2 imports app.py: upward, from 0 to 3"),
        (
            "exchange.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .requests import A\n",
            "exchange.py:3 imports requests.py: upward, from 1 to 2",
        ),
        ("server/wire.py", "from ..app import App\n", "server/wire.py:1 imports app.py: upward, from S to 3"),
        ("server/wire.py", "from .. import bridges\n", "imports bridges/__init__.py: upward, from S to B"),
        ("bridges/__init__.py", "from ..server import wire\n", "upward, from B to S"),
        ("requests.py", "from pkg import App\n", "requests.py:1 imports __init__.py: upward, from 2 to T"),
        (
            "app.py",
            "from .server.worker import main\n",
            "app.py:1 imports server/worker.py: upward, from 3 to S",
        ),
        (
            "app.py",
            "class App:\n    def stop(self):\n        from .server import worker\n",
            "app.py:3 imports server/worker.py: upward, from 3 to S",
        ),
        ("app.py", "from .nowhere import x\n", "app.py:1 imports something that is not there"),
        (
            "server/wire.py",
            "from . import worker\n",
            "a cycle: server/wire.py -> server/worker.py -> server/wire.py",
        ),
        (
            "server/wire.py",
            "import typing\nif typing.TYPE_CHECKING:\n    from .worker import B\n",
            "a cycle: server/wire.py -> server/worker.py -> server/wire.py",
        ),
        ("errors.py", "from .errors import A\n", "a cycle: errors.py -> errors.py"),
        ("new.py", "", "the map does not name new.py"),
        ("server/deep/new.py", "", "the map does not name server/deep/new.py"),
    ],
)
def test_each_fault_is_found_and_named(tmp_path: Path, file: str, text: str, fault: str) -> None:
    found = check(tmp_path, {file: text})
    assert any(fault in line for line in found), found


def test_a_map_that_is_wrong_itself_is_found(tmp_path: Path) -> None:
    assert check(tmp_path, {}, MAP.replace("  app.py  ", "  apq.py  ")) == [
        "the map does not name app.py",
        "the map names apq.py, which is not there",
    ]
    assert check(tmp_path, {}, MAP.replace("B bridges", "X bridges")) == [
        "bridges/__init__.py is in the unknown layer 'X'"
    ]
    with pytest.raises(AssertionError, match=r"names errors\.py twice"):
        check(tmp_path, {}, MAP.replace("  exchange.py  ", "  errors.py  "))
    with pytest.raises(AssertionError, match="no map"):
        check(tmp_path, {}, "nothing")
