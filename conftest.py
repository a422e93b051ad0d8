"""The examples in docs/*.md and in docstrings run as tests.

A page is one program: its blocks of Python run from top to bottom in one namespace, in a folder of their own.
In a docstring each example stands for itself, and has the public names at hand.
"""

from __future__ import annotations

import os
from doctest import ELLIPSIS
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import SybilCollection

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


def _give_names(namespace: dict[str, Any]) -> None:
    namespace.update({name: getattr(weebill, name) for name in weebill.__all__})


pytest_collect_file = SybilCollection(
    (
        Sybil(
            [PythonCodeBlockParser(doctest_optionflags=ELLIPSIS)],
            path="docs",
            pattern="**/*.md",
            setup=_enter_folder,
            teardown=_leave_folder,
        ),
        Sybil(
            [DocTestParser(ELLIPSIS)],
            path="weebill",
            pattern="**/*.py",
            document_types={".py": PythonDocStringDocument},
            setup=_give_names,
        ),
    )
).pytest()
