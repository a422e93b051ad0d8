"""The documentation is whole: every public name and setting is in it, and every link leads somewhere.

What a page shows in ```python runs as a test (conftest.py), and so do the examples in docstrings.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import weebill
from weebill.settings import options

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, *sorted(ROOT.glob("*.md"))]

# Languages of blocks that are not run. Python has one spelling, so that none is passed over.
NOT_RUN = {
    "console",
    "css",
    "diff",
    "html",
    "http",
    "ini",
    "jinja",
    "js",
    "json",
    "nginx",
    "sql",
    "text",
    "toml",
    "yaml",
}
OF_THE_REFERENCE = {"py", "pycon", "text"}  # signatures, and examples that run where they come from


def load(name: str, path: Path) -> ModuleType:
    """A file that is no module of a package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load("reference", ROOT / "scripts" / "reference.py")
MEMBERS: list[Any] = [member for page in reference.PAGES for member in page.members()]
PAGE_OF: dict[Any, Any] = {member: page for page in reference.PAGES for member in page.members()}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -- names and settings


def test_every_public_name_has_its_place_in_the_reference() -> None:
    ours = set(weebill.__all__) - {"Meta"}  # which is msgspec's
    assert sorted(ours - {member.name for member in MEMBERS}) == []


def test_the_reference_has_every_name_once() -> None:
    names = [(member.module, member.name) for member in MEMBERS]
    assert len(names) == len(set(names))


of_each_member = pytest.mark.parametrize(
    "member", MEMBERS, ids=lambda member: f"{member.module}.{member.name}"
)


@of_each_member
def test_every_public_name_is_documented(member: Any) -> None:
    if not member.is_described:
        assert member.comment
        return
    without = [name for name, value in [("", member.value), *member.methods] if not reference.doc_of(value)]
    assert without == []


@of_each_member
def test_every_public_name_has_an_example(member: Any) -> None:
    assert not member.is_described or ">>> " in reference.doc_of(member.value)


@of_each_member
def test_every_public_method_is_shown_in_an_example(member: Any) -> None:
    docs = {name: reference.doc_of(value) for name, value in member.methods}
    page = reference.render(PAGE_OF[member])
    code = "\n".join(re.findall(r"^ *(?:>>>|\.\.\.) (.*)$", page, re.MULTILINE))
    shown = {name for name, doc in docs.items() if ">>> " in doc or re.search(rf"(\.|\bdef ){name}\b", code)}
    for name, doc in docs.items():  # "`request` with POST.": one example is enough for both
        if (other := re.match(r"`(?:\w+\.)?(\w+)`", doc)) and {name, other[1]} & shown:
            shown |= {name, other[1]}
    assert sorted(docs.keys() - shown) == []


def test_what_the_reference_leaves_out_is_there() -> None:
    for name in reference.OF_WEEBILL:
        kind, _, method = name.partition(".")
        assert any(hasattr(member.value, method) for member in MEMBERS if member.name == kind), name
    assert {f"{member.module}.{member.name}" for member in MEMBERS} >= reference.MADE_BY_WEEBILL


def test_every_setting_is_documented() -> None:
    page = (DOCS / "settings.md").read_text("utf-8")
    assert [o.name for o in options() if f"`{o.flag}`" not in page or f"{o.name} = " not in page] == []


def test_the_reference_is_current() -> None:
    written = {path.name: path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md")}
    stale = [name for name, text in reference.pages().items() if written.get(name) != text]
    assert stale == [], "run: python scripts/reference.py"
    assert sorted(written) == sorted(reference.pages())


# -- the site


def in_navigation(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for target in entry.values():
                yield from [target] if isinstance(target, str) else in_navigation(target)


def test_every_page_is_reached_from_the_navigation() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    found = list(in_navigation(config["project"]["nav"]))
    assert sorted(found) == [path.relative_to(DOCS).as_posix() for path in PAGES]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as the site makes them and as GitHub does, which keeps every blank; one
    that is there already gets a number."""
    found: set[str] = set()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose, re.MULTILINE):
        kept = re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", heading)).strip().lower()
        for base in {re.sub(r"\s+", "-", kept), re.sub(r"\s", "-", kept)}:
            taken = sum(re.fullmatch(re.escape(base) + r"(-\d+)?", slug) is not None for slug in found)
            found.add(f"{base}-{taken}" if base in found else base)
    return found


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_internal_link_leads_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    broken = []
    for target in re.findall(r"\]\(<?([^)>\s]+)>?\)", without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        if not other.exists() or (anchor and other.suffix == ".md" and anchor not in _anchors_of(other)):
            broken.append(target)
    assert broken == []


_known: dict[Path, set[str]] = {}


def _anchors_of(path: Path) -> set[str]:
    if path not in _known:
        _known[path] = anchors(path.read_text("utf-8"))
    return _known[path]


def test_the_links_are_looked_at() -> None:
    page = "See [a](b.md#c), `[no](code.md)`\n\n```text\n[no](block.md)\n```\n"
    page += "## It's `App.get`\n## One & two\n## A\n## A\n"
    assert re.findall(r"\]\(<?([^)>\s]+)>?\)", without_code(page)) == ["b.md#c"]
    assert anchors(page) == {"its-appget", "one-two", "one--two", "a", "a-1"}


# -- examples


def test_the_examples_of_every_page_and_module_are_run() -> None:
    sybils = load("examples_of_docs", ROOT / "conftest.py").SYBILS
    files = [*PAGES, *(ROOT / "weebill").rglob("*.py")]
    assert [name_of(file) for file in files if not any(each.should_parse(file) for each in sybils)] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_block_of_python_is_passed_over(path: Path) -> None:
    text = path.read_text("utf-8")
    fences = re.findall(r"^([ >\t]*)(`{3,}|~{3,}) *(.*?) *$", text, re.MULTILINE)
    opened = [info.partition(" title=")[0] for _, _, info in fences[::2]]
    allowed = OF_THE_REFERENCE if path.parent.name == "reference" else NOT_RUN | {"python"}
    assert [info for info in opened if info not in allowed] == []
    document = Sybil([PythonCodeBlockParser()], path=str(path.parent), pattern=path.name).parse(path)
    assert len(list(document.examples())) == opened.count("python")
    assert "<!--- invisible" not in text
    assert "skip: " not in text


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_program_of_a_page_shows_that_it_works(path: Path) -> None:
    blocks = re.findall(r"^```python$(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    trees = [ast.parse(block) for block in blocks]
    asserts = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not blocks or asserts
