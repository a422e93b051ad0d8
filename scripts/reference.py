"""Write docs/reference/ from the docstrings: `python scripts/reference.py`. A test holds that it is current.

PAGES says which names are public besides those of `weebill.__all__`; each has one place.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"

sys.path.insert(0, str(ROOT))
import weebill  # noqa: E402


@dataclass(frozen=True)
class Page:
    """One page: its file, its title, and the names of each module, in order. "*" are the others of its
    `__all__` as they are defined there, "-name" leaves one out."""

    file: str
    title: str
    modules: dict[str, str]

    def members(self) -> Iterator[Member]:
        """What the page describes, in order."""
        for module_name, names in self.modules.items():
            module = import_module(f"weebill.{module_name}")
            named = names.split()
            chosen = [name for name in named if name[0] not in "*-"]
            others = [name for name in vars(module) if name in module.__all__] if "*" in named else []
            chosen += [name for name in others if name not in chosen and f"-{name}" not in named]
            for name in chosen:
                yield Member(module_name, name, getattr(module, name))


@dataclass(frozen=True)
class Member:
    """A public name."""

    module: str
    name: str
    value: Any

    @property
    def where(self) -> str:
        """How it is imported."""
        is_at_hand = self.name in weebill.__all__ and getattr(weebill, self.name) is self.value
        module = "weebill" if is_at_hand else f"weebill.{self.module}"
        return f"from {module} import {self.name}"

    @cached_property
    def methods(self) -> list[tuple[str, Any]]:
        """The public methods and properties of a class that a program has to do with, but for those that its
        bases have too."""
        if not inspect.isclass(self.value):
            return []
        above = {name for base in self.value.__mro__[1:] if _is_ours(base.__module__) for name in vars(base)}
        return [
            (name, value)
            for name, value in vars(self.value).items()
            if _is_public(name, value) and name not in above and f"{self.name}.{name}" not in OF_WEEBILL
        ]

    @property
    def is_described(self) -> bool:
        """Whether it is a class or a function, and no constant or alias."""
        return inspect.isclass(self.value) or inspect.isroutine(self.value)

    @property
    def comment(self) -> str:
        """What stands above a constant or an alias where it is made."""
        for name in [f"weebill.{self.module}", *sorted(name for name in sys.modules if _is_ours(name))]:
            lines = inspect.getsource(sys.modules[name]).splitlines()
            for number, line in enumerate(lines):
                if re.match(rf"{self.name}\b[^=(]*= ", line):
                    block = list(takewhile(bool, reversed(lines[:number])))
                    return " ".join(line[2:] for line in reversed(block) if line.startswith("# "))
        return ""


# Public to the other modules of Weebill. No program calls them, and none needs to write them.
OF_WEEBILL = {
    "Afterwards.run",
    "CSRFMiddleware.startup",
    "Context.event_done",
    "Context.wait_done",
    "Cookies.field",
    "Cookies.store",
    "FileResponse.of",
    "Request.prepare_form",
    "SQLiteStore.close",
    "SQLiteStore.startup",
    "Session.before",
    "Session.is_touched",
    "Session.sealed",
    "SessionMiddleware.shutdown",
    "SessionMiddleware.startup",
    "StaticFiles.find",
}

# Classes that a program gets and does not make: how they are made is left out.
MADE_BY_WEEBILL = {
    "afterwards.Afterwards",
    "events.Context",
    "events.Event",
    "forms.FormData",
    "requests.Request",
    "sessions.Session",
    "testing.Result",
    "testing.StreamingResult",
}

PAGES = (
    Page("app", "App", {"app": "App"}),
    Page("router", "Router", {"router": "Router"}),
    Page(
        "requests",
        "Requests",
        {"requests": "Request * -current_request", "afterwards": "*", "threads": "run_in_thread"},
    ),
    Page(
        "parameters",
        "Arguments of handlers",
        {"parameters": "Query Header Cookie Form File", "injection": "Depends"},
    ),
    Page("forms", "Forms and uploads", {"forms": "FormData", "uploads": "UploadFile"}),
    Page(
        "responses",
        "Responses",
        {
            "responses": "Response PlainTextResponse HTMLResponse JSONResponse StreamingResponse abort",
            "redirects": "*",
            "files": "FileResponse guess_media_type",
            "event_stream": "EventStream *",
        },
    ),
    Page("errors", "Errors", {"errors": "* -reason_phrase"}),
    Page(
        "templates",
        "Templates",
        {"templates": "render_template *"},
    ),
    Page("static", "Static files", {"static": "StaticFiles *", "conditional": "check_preconditions"}),
    Page(
        "sessions",
        "Sessions",
        {"sessions": "SessionMiddleware Session flash get_flashed_messages SessionStore *", "passwords": "*"},
    ),
    Page(
        "middleware",
        "Middleware",
        {
            "compression": "*",
            "cors": "*",
            "csrf": "*",
            "security_headers": "*",
            "trusted_hosts": "*",
            "proxy_headers": "*",
            "rate_limit": "*",
            "request_ids": "*",
            "timeouts": "*",
        },
    ),
    Page(
        "headers",
        "Headers and other lists",
        {"headers": "Headers MutableHeaders MultiDict", "cookies": "*", "errors": "reason_phrase"},
    ),
    Page(
        "testing",
        "Testing",
        {"testing": "TestClient Result StreamingResult * -MemoryExchange", "settings": "Settings"},
    ),
    Page(
        "events",
        "Events",
        {"events": "Listener Context Event Route Param Data get_current_running_listener * -Depends -depend"},
    ),
)


def _is_public(name: str, value: Any) -> bool:
    kinds = (property, cached_property, classmethod, staticmethod)
    return not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, kinds))


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == "weebill"


def doc_of(value: Any) -> str:
    """Its own docstring, not that of a class above."""
    return inspect.cleandoc(getattr(value, "__doc__", None) or "")


# -- Markdown


def render(page: Page) -> str:
    """The page as Markdown."""
    lines = [f"# {page.title}", ""]
    members = list(page.members())
    if page.file == "errors":  # its docstring draws the tree
        lines += [markdown(doc_of(import_module("weebill.errors"))), ""]
    for member in members:
        lines += _member(member)
    return "\n".join(lines).rstrip() + "\n"


def _member(member: Member) -> list[str]:
    value = member.value
    lines = [f"## {member.name}", ""]
    if not member.is_described:
        return [*lines, "```py", member.where, "```", "", _text(member.comment), ""]
    keyword = "class " if inspect.isclass(value) else _def(value)
    made = (
        member.name if f"{member.module}.{member.name}" in MADE_BY_WEEBILL else _signature(member.name, value)
    )
    lines += ["```py", member.where, "", f"{keyword}{made}", "```", ""]
    if inspect.isclass(value) and (bases := _bases(value)):
        lines += [f"Is a {bases}.", ""]
    lines += [markdown(doc_of(value)), ""]
    for name, method in member.methods:
        function = _function(method)
        lines += [f"### {member.name}.{name}", "", "```py"]
        if isinstance(method, property | cached_property):
            lines.append(f"{name}: {_annotation(inspect.signature(function).return_annotation)}")
        else:
            lines.append(_def(function) + _signature(name, function))
        lines += ["```", "", markdown(doc_of(method)), ""]
    return lines


def _bases(kind: type) -> str:
    """The classes of ours that it is made of, with links to those that have a place."""
    names = [base.__name__ for base in kind.__bases__ if base.__module__.startswith("weebill")]
    places = {member.name: page.file for page in PAGES for member in page.members()}
    return ", ".join(f"[{n}]({places[n]}.md#{slug(n)})" if n in places else f"`{n}`" for n in names)


def slug(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown and GitHub make it."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _function(value: Any) -> Callable[..., Any]:
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, cached_property):
        value = value.func
    elif isinstance(value, classmethod | staticmethod):
        value = value.__func__
    found: Callable[..., Any] = value
    return found


def _def(function: Any) -> str:
    return "async def " if inspect.iscoroutinefunction(function) else "def "


def _signature(name: str, value: Any) -> str:
    """Name, parameters and result; a parameter a line if one line is too long."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    result = signature.return_annotation
    ending = "" if inspect.isclass(value) or result is signature.empty else f" -> {_annotation(result)}"
    shown = [str(p) for p in _parameters(signature)]
    line = f"{name}({', '.join(shown)}){ending}"
    if len(line) <= 78:  # what the site has room for
        return line
    return f"{name}(\n" + "".join(f"    {p},\n" for p in shown) + f"){ending}"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    """The parameters but for self, with the bare "/" and "*" where they belong."""
    kinds, before = inspect.Parameter, None
    for p in signature.parameters.values():
        if p.name in ("self", "cls", "unknown"):
            continue
        if before is kinds.POSITIONAL_ONLY and p.kind is not kinds.POSITIONAL_ONLY:
            yield "/"
        if p.kind is kinds.KEYWORD_ONLY and before not in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL):
            yield "*"
        before = p.kind
        star = "*" if p.kind is kinds.VAR_POSITIONAL else "**" if p.kind is kinds.VAR_KEYWORD else ""
        annotation = "" if p.annotation is p.empty else f": {_annotation(p.annotation)}"
        default = "" if p.default is p.empty else f"{' = ' if annotation else '='}{_default(p.default)}"
        yield f"{star}{p.name}{annotation}{default}"
    if before is kinds.POSITIONAL_ONLY:
        yield "/"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: Any) -> str:
    shown = getattr(value, "__qualname__", None) or repr(value)
    return "..." if " at 0x" in shown else shown


def markdown(doc: str) -> str:
    """A docstring as Markdown: examples in fences, drawings as they are, the rest as it reads."""
    out: list[str] = []
    for block in re.split(r"\n[ \t]*\n", doc):
        if block.startswith(">>>"):
            if out and out[-1].endswith("\n```") and out[-1].startswith("```pycon"):  # one example goes on
                out[-1] = f"{out[-1][:-4]}\n\n{block}\n```"
            else:
                out.append(f"```pycon\n{block}\n```")
        elif ">>> " in block:
            text, _, example = block.partition(">>> ")
            out += [_text(text), f"```pycon\n>>> {textwrap.dedent(example)}\n```"]
        elif block.startswith((" ", "\t", "├", "└", "│")) or "\n├" in block:
            out.append("```text\n" + block + "\n```")
        else:
            out.append(_text(block))
    return "\n\n".join(out)


def _text(block: str) -> str:
    """Text in which nothing but the code between backticks means anything to Markdown."""
    pieces = re.split(r"(`[^`]+`)", block)
    return "".join(piece if i % 2 else re.sub(r"([*_<\[])", r"\\\1", piece) for i, piece in enumerate(pieces))


def index() -> str:
    """The first page: every name with its place."""
    lines = [
        "# Reference",
        "",
        "Everything public, from the docstrings. What you use daily comes from `weebill` itself, the rest",
        "from the module of its noun. The options of the server are among the [settings](../settings.md).",
        "",
        "An example runs as it stands, once `from weebill import *` has been said.",
        "",
        "| Page | Names |",
        "| --- | --- |",
    ]
    for page in PAGES:
        names = ", ".join(f"[`{m.name}`]({page.file}.md#{slug(m.name)})" for m in page.members())
        lines += [f"| [{page.title}]({page.file}.md) | {names} |"] if names else []
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """The text of each file in docs/reference/."""
    texts = {f"{page.file}.md": render(page) for page in PAGES if any(page.members())}
    return {"index.md": index(), **texts}


def main() -> None:
    """Write them, and remove what is no page any more."""
    FOLDER.mkdir(exist_ok=True)
    texts = pages()
    for file in FOLDER.glob("*.md"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
