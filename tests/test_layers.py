"""The imports of the package against the map in ARCHITECTURE.md, which is the only place that names layers.

Every import counts: those for types, and those inside functions. An arrow goes to the same layer or to one
that the heading of its own names; there is no cycle. Only `App.run` and the top reach for the server, inside
a function.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "weebill"

# What the headings of the map say, layer by layer: which layers each may import besides itself.
BELOW = {
    "0": "",
    "1": "0",
    "2": "01",
    "3": "012B",
    "S": "01",
    "B": "01",
    "T": "0123SB",
}
REACHES_FOR_THE_SERVER = {("app.py", "server/worker.py")}  # inside App.run


class Arrow(NamedTuple):
    """An import of one of our files by another; `inside` a function or not."""

    source: str
    target: str
    inside: bool
    line: int


def layers_of_the_map() -> dict[str, str]:
    block = re.search(r"```\n(0 words.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    assert block is not None, "ARCHITECTURE.md has no map"
    layers: dict[str, str] = {}
    layer = ""
    for line in block[1].splitlines():
        if line.startswith("  "):
            layers[line.split()[0]] = layer
        else:
            layer = line[0]
    return layers


def files() -> list[str]:
    """Our modules that git knows, or would take in."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "weebill"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    paths = [Path(name).relative_to("weebill") for name in found]
    return sorted(str(path) for path in paths if path.suffix == ".py" and (PACKAGE / path).exists())


def arrows(file: str) -> Iterator[Arrow]:
    tree = ast.parse((PACKAGE / file).read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        for target in targets(file, node):
            if target != file:
                yield Arrow(file, target, id(node) in inside, getattr(node, "lineno", 0))


def targets(file: str, node: ast.AST) -> set[str]:
    """The files that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        return {target for name in names if (target := module(name.split(".")))}
    if not isinstance(node, ast.ImportFrom):
        return set()
    start = ["weebill", *Path(file).parts[:-1]]
    start = start[: len(start) - node.level + 1] if node.level else []
    base = start + (node.module.split(".") if node.module else [])
    found = {module([*base, alias.name]) or module(base) for alias in node.names}
    return {target for target in found if target}


def module(parts: list[str]) -> str:
    """The file of a dotted name of ours, "" for any other."""
    if not parts or parts[0] != "weebill":
        return ""
    path = Path(*parts[1:])
    for candidate in (path.with_suffix(".py") if parts[1:] else path, path / "__init__.py"):
        if (PACKAGE / candidate).is_file():
            return str(candidate)
    return ""


LAYERS = layers_of_the_map()
FILES = files()
ARROWS = [arrow for file in FILES for arrow in arrows(file)]


def test_the_map_names_every_file_and_no_other() -> None:
    assert sorted(LAYERS) == FILES


def test_the_imports_were_found() -> None:
    pairs = {(arrow.source, arrow.target) for arrow in ARROWS}
    assert ("app.py", "server/worker.py") in pairs  # inside a function
    assert ("server/http1.py", "server/head.py") in pairs  # beside it
    assert ("exchange.py", "headers.py") in pairs  # for types only
    assert ("__init__.py", "app.py") in pairs


@pytest.mark.parametrize("file", FILES)
def test_no_import_runs_upward(file: str) -> None:
    layer = LAYERS[file]
    wrong = [
        f"{file}:{arrow.line} ({layer}) imports {arrow.target} ({LAYERS[arrow.target]})"
        for arrow in ARROWS
        if arrow.source == file
        and LAYERS[arrow.target] not in layer + BELOW[layer]
        and not (arrow.inside and (arrow.source, arrow.target) in REACHES_FOR_THE_SERVER)
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_top_reaches_for_the_server() -> None:
    reaching = {arrow.source for arrow in ARROWS if arrow.target.startswith("server/")}
    assert {file for file in reaching if LAYERS[file] not in "ST"} == {"app.py"}


def test_there_is_no_cycle() -> None:
    graph: dict[str, set[str]] = {file: set() for file in FILES}
    for arrow in ARROWS:
        if (arrow.source, arrow.target) not in REACHES_FOR_THE_SERVER:
            graph[arrow.source].add(arrow.target)
    while leaves := {file for file, used in graph.items() if not used}:
        graph = {file: used - leaves for file, used in graph.items() if file not in leaves}
    assert not graph, f"these import each other: {sorted(graph)}"
