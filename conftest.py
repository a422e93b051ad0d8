"""The examples in docs/*.md and in docstrings run as tests.

A page is one program: its blocks of Python run from top to bottom in one namespace, in a folder of their own.
Blocks with a title are files in it. What it shows of curl is asked of the program `app` as it is there, and
must be what that answers. In a docstring each example stands for itself, and has the public names of Weebill
at hand and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from doctest import ELLIPSIS
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Document, Example, Region, Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import SybilCollection
from sybil.typing import Evaluator

import weebill

ROOT = Path(__file__).parent


def _enter_folder(namespace: dict[str, Any]) -> None:
    folder = namespace["_folder"] = TemporaryDirectory()
    namespace["__name__"] = "page"
    namespace["__file__"] = str(Path(folder.name, "app.py"))
    os.chdir(folder.name)


def _leave_folder(namespace: dict[str, Any]) -> None:
    os.chdir(ROOT)
    namespace["_folder"].cleanup()


def _files(document: Document) -> Iterable[Region]:
    """Blocks such as ```html title="templates/home.html", which are saved under that name."""
    for found in re.finditer(r'^```\w+ title="([^"]+)"\n(.*?)^```$', document.text, re.MULTILINE | re.DOTALL):
        yield Region(found.start(), found.end(), found.groups(), _save)


def _save(example: Example) -> None:
    path, text = example.parsed
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text, "utf-8")


def _ask_as_curl(example: Example) -> None:
    """Check each `$ curl` of a console block, and what stands below it. Other commands are not run."""
    for command, shown in re.findall(r"^\$ (curl .*)\n((?:(?!\$ ).*\n?)*)", example.parsed, re.MULTILINE):
        words = shlex.split(command)[1:]
        options: dict[str, Any] = {}
        if "--json" in words:
            at = words.index("--json")
            options["json"] = json.loads(words[at + 1])
            del words[at : at + 2]
        [url] = [word for word in words if word.startswith("http")]
        assert set(words) <= {url, "-i"}, f"the check of {command!r} does not know all of its options"
        path = url.removeprefix("http://127.0.0.1:8000") or "/"
        method = "POST" if options else "GET"
        answer = weebill.TestClient(example.namespace["app"]).request(method, path, **options)
        if "-i" in words:
            head, shown = shown.split("\n\n", 1)
            status, *fields = head.splitlines()
            assert status == f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"
            missing = set(fields) - {f"{name}: {value}" for name, value in answer.headers.items()}
            assert not missing, missing
        is_json = "json" in answer.headers.get("content-type", "")
        told, found = (json.loads(shown), answer.json()) if is_json else (shown.strip(), answer.text.strip())
        assert told == found, f"{command!r} gives {answer.text}"


class Docstrings(PythonDocStringDocument):
    """The docstrings of a file, without the names of its module."""

    def __init__(self, text: str, path: str) -> None:
        Document.__init__(self, text, path)


class DocstringParser(DocTestParser):
    """The examples of one docstring, of which the first forgets what the docstring before has left."""

    def __call__(self, document: Document) -> Iterator[Region]:
        for number, region in enumerate(super().__call__(document)):
            if number == 0 and region.evaluator is not None:
                region.evaluator = _afresh(region.evaluator)
            yield region


def _afresh(evaluate: Evaluator) -> Evaluator:
    def evaluate_first(example: Example) -> str | None:
        namespace = example.namespace
        kept = {name: namespace[name] for name in ("_folder", "__name__", "__file__") if name in namespace}
        namespace.clear()
        namespace.update(kept, **{name: getattr(weebill, name) for name in weebill.__all__})
        return evaluate(example)

    return evaluate_first


# Patterns are matched from the right, so "*.md" is at any depth; "**/*.md" would miss the uppermost folder.
SYBILS = (
    Sybil(
        [
            PythonCodeBlockParser(doctest_optionflags=ELLIPSIS),
            CodeBlockParser("console", _ask_as_curl),
            _files,
        ],
        path="docs",
        pattern="*.md",
        setup=_enter_folder,
        teardown=_leave_folder,
    ),
    Sybil(
        [DocstringParser(ELLIPSIS)],
        path="weebill",
        pattern="*.py",
        document_types={".py": Docstrings},
        setup=_enter_folder,
        teardown=_leave_folder,
    ),
)

pytest_collect_file = SybilCollection(SYBILS).pytest()
