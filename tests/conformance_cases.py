"""The corpus of wire cases: tests/conformance/*.md, read into values.

The format is told in tests/conformance/README.md. Run as a program, this prints docs/conformance.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

__all__ = ["Case", "Chapter", "Outcome", "answer_rules", "chapters", "page", "spell", "unspell"]

FOLDER = Path(__file__).parent / "conformance"
# Not cases: how they are written, the beginning and the end of the page.
README, INTRODUCTION, ANSWERS = "README.md", "introduction.md", "answers.md"

Kind = Literal["taken", "answered", "refused", "interim", "waits", "closed"]


@dataclass(frozen=True)
class Outcome:
    """One thing that happens. `status` is 0 where there is none; `fields` is None where any will do."""

    kind: Kind
    status: int = 0
    method: str = "GET"
    target: str = ""
    http_version: str = "1.1"
    content: bytes = b""
    fields: list[tuple[bytes, bytes]] | None = None
    closes: bool = False
    bare: bool = False  # a refusal without content


@dataclass
class Case:
    """A rule with the bytes that try it. `parts` is what the client sends between its pauses; `ends` says
    whether it then shuts its side."""

    rule: str
    file: str
    note: str = ""
    parts: list[bytes] = field(default_factory=list)
    ends: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The anchor that Markdown makes of the heading."""
        return re.sub(r"[^\w\- ]", "", self.rule.lower()).replace(" ", "-")

    @property
    def link(self) -> str:
        return f"../tests/conformance/{self.file}#{self.slug}"

    def __str__(self) -> str:
        return f"{self.file.removesuffix('.md')}: {self.rule}"


@dataclass
class Chapter:
    """One file."""

    file: str
    title: str
    about: str
    cases: list[Case]


# -- bytes and how they are spelt

_NAMED = {b"\r": r"\r", b"\n": r"\n", b"\t": r"\t", b"\0": r"\0", b"\\": r"\\"}
_BYTES = {spelt[1]: byte for byte, spelt in _NAMED.items()}
_PIECE = re.compile(
    r"\\x(?P<hex>[0-9a-f]{2})|\\(?P<named>[rnt0\\])|\\\{(?P<pause>wait|end)\}"
    r"|\\\{(?P<unit>(?:[^\\}*]|\\[^{])+)\*(?P<times>[0-9]+)\}|(?P<plain>[\x20-\x5b\x5d-\x7e])"
)


def spell(data: bytes, others: bytes = b"") -> str:
    """`data` as it stands in a case, without line ends of the file; `others` are bytes not to stand as
    themselves either."""
    return "".join(
        _NAMED.get(byte)
        or (byte.decode() if b" " <= byte <= b"~" and byte not in others else f"\\x{byte[0]:02x}")
        for byte in (data[at : at + 1] for at in range(len(data)))
    )


def _pieces(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise ValueError(f"no bytes: {text[at : at + 20]!r}")
        yield piece
        at = piece.end()


def _value(piece: re.Match[str]) -> bytes:
    if piece["hex"]:
        return bytes.fromhex(piece["hex"])
    if piece["named"]:
        return _BYTES[piece["named"]]
    if piece["unit"]:
        return unspell(piece["unit"]) * int(piece["times"])
    return piece["plain"].encode()


def unspell(text: str) -> bytes:
    """The bytes that `text` spells. Raises ValueError."""
    return b"".join(map(_value, _pieces(text)))


# -- the files

_OUTCOMES = (
    r"taken: (?P<method>\S+) (?P<target>\S+) HTTP/(?P<version>1\.[01])"
    r'(?:, content "(?P<content>.*)")?(?:, fields (?P<fields>.*?))?(?P<taken_closes>, then closed)?',
    r"answered: (?P<answered>[0-9]{3})(?: to (?P<to>\S+))?(?P<closes>, then closed)?",
    r"refused: (?P<refused>[0-9]{3})(?P<bare>, without content)?",
    r"interim: (?P<interim>100)",
    r"(?P<waits>waits)",
    r"(?P<silence>closed in silence)",
)
_OUTCOME = re.compile("|".join(_OUTCOMES))
_CASE = re.compile(
    r"\n## (?P<rule>[^\n]+)\n\n(?P<note>(?:(?!```)[^\n]*\n)*?)"
    r"```http\n(?P<block>.*?)\n```\n\n(?P<list>(?:- [^\n]+\n)+)",
    re.DOTALL,
)


def _fields(text: str) -> list[tuple[bytes, bytes]]:
    pairs = (line.partition(":") for line in text.split(" | "))
    return [(unspell(name), unspell(value.strip(" "))) for name, _, value in pairs]


def _outcome(line: str) -> Outcome:
    found = _OUTCOME.fullmatch(line)
    if found is None:
        raise ValueError(f"no outcome: {line!r}")
    if found["method"]:
        return Outcome(
            kind="taken",
            status=200,
            method=found["method"],
            target=unspell(found["target"]).decode("ascii"),
            http_version=found["version"],
            content=unspell(found["content"] or ""),
            fields=_fields(found["fields"]) if found["fields"] else None,
            closes=bool(found["taken_closes"]),
        )
    if found["answered"]:
        return Outcome("answered", int(found["answered"]), found["to"] or "GET", closes=bool(found["closes"]))
    if found["refused"]:
        return Outcome("refused", int(found["refused"]), closes=True, bare=bool(found["bare"]))
    if found["interim"]:
        return Outcome("interim", 100)
    return Outcome("waits") if found["waits"] else Outcome("closed", closes=True)


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, int(value)


def _case(found: re.Match[str], file: str) -> Case:
    case = Case(found["rule"], file, found["note"].strip().replace("\n", " "), [b""])
    for piece in _pieces(found["block"].replace("\n", "")):
        if piece["pause"] == "wait":
            case.parts.append(b"")
        elif piece["pause"] == "end":
            case.ends = True
        else:
            case.parts[-1] += _value(piece)
    lines = [line.removeprefix("- ") for line in found["list"].splitlines()]
    if lines[0].startswith("with: "):
        case.settings = dict(map(_setting, lines.pop(0).removeprefix("with: ").split(", ")))
    case.outcomes = [_outcome(line) for line in lines]
    return case


def _order(path: Path) -> tuple[bool, list[int], str]:
    """The RFCs by number and section, then the rest by name."""
    is_rfc = path.name.startswith("rfc")
    return not is_rfc, [int(n) for n in re.findall(r"\d+", path.name)] if is_rfc else [], path.name


@cache
def chapters() -> list[Chapter]:
    """All cases, in the order of the RFCs. Raises ValueError with the file and what is wrong in it."""
    read: list[Chapter] = []
    others = (README, INTRODUCTION, ANSWERS)
    for path in sorted((p for p in FOLDER.glob("*.md") if p.name not in others), key=_order):
        title, _, rest = path.read_text("ascii").partition("\n")
        about, _, body = rest.partition("\n## ")
        try:
            cases, left = [], "\n## " + body
            while found := _CASE.match(left):
                cases.append(_case(found, path.name))
                left = left[found.end() :]
            if left:
                raise ValueError(f"no case: {left[:80]!r}")
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
        read.append(Chapter(path.name, title.removeprefix("# "), about.strip(), cases))
    return read


# -- the page

_RULE = re.compile(r"- (?P<rule>[^`]+): `(?P<file>[a-z0-9_]+\.py)::(?P<test>[a-z0-9_]+)`")


def answer_rules() -> list[tuple[str, str, str]]:
    """Rule, file and test for each rule that no case can say."""
    text = (FOLDER / ANSWERS).read_text("ascii")
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    found = [_RULE.fullmatch(line) for line in lines]
    if None in found:
        raise ValueError(f"{ANSWERS}: no rule: {lines[found.index(None)]!r}")
    return [(one["rule"], one["file"], one["test"]) for one in found if one]


def _link_tests(text: str) -> str:
    return _RULE.sub(lambda m: f"- {m['rule']}: [{m['test']}](../tests/{m['file']})", text)


def _result(case: Case) -> str:
    """What becomes of a case, in a word for each outcome."""
    words = (str(o.status) if o.status and o.kind != "taken" else o.kind for o in case.outcomes)
    last = case.outcomes[-1]
    ends = last.closes and last.kind in ("taken", "answered")
    return ", ".join(words) + (", and the connection ends" if ends else "")


def _decisions(read: list[Chapter]) -> Iterator[str]:
    """A row for each reason, with the cases that it decides."""
    by_reason: dict[str, list[str]] = {}
    for case in (case for chapter in read for case in chapter.cases):
        if case.note.startswith("Decided: "):
            by_reason.setdefault(case.note.removeprefix("Decided: "), []).append(
                f"[{case.rule}]({case.link})"
            )
    yield "| Why | What |\n| --- | --- |"
    for reason, links in by_reason.items():
        yield f"| {reason[0].upper()}{reason[1:]} | {'<br>'.join(links)} |"


def page() -> str:
    """docs/conformance.md."""
    read = chapters()
    number = str(sum(len(chapter.cases) for chapter in read))
    parts = [(FOLDER / INTRODUCTION).read_text("ascii").replace("NUMBER", number), *_decisions(read)]
    for chapter in read:
        parts += ["", f"## {chapter.title}", "", chapter.about, ""]
        parts += [f"- [{case.rule}]({case.link}): {_result(case)}" for case in chapter.cases]
    return "\n".join(parts) + "\n\n" + _link_tests((FOLDER / ANSWERS).read_text("ascii"))


if __name__ == "__main__":
    print(page(), end="")
