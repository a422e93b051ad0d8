"""Findings as files: made small, written, and read again. tests/fuzz_cases/README.md tells the format."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from conformance_cases import spell, unspell
from fuzz import Trial
from fuzz_trial import Finding

__all__ = ["UNDECIDED", "Kept", "keep", "kept", "make_small"]

FOLDER = Path(__file__).parent / "fuzz_cases"
UNDECIDED = "UNDECIDED"
SMALL = "With small limits."

_SECTIONS = re.compile(r"(?P<about>.+?)\n\n(?P<stream>.*?)\n\n(?P<verdict>(?:[^\n]+\n)+)", re.DOTALL)


@dataclass(frozen=True)
class Kept:
    """One file: what it was and what was decided, and the verdict on the stream."""

    name: str
    about: str
    trial: Trial
    verdict: list[str]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def read(cls, name: str, text: str) -> Kept:
        """The file of that name with this text. Raises ValueError if it is not in the format."""
        found = _SECTIONS.fullmatch(text)
        if found is None:
            raise ValueError(f"{name} has not three sections")
        about, small = found["about"].removesuffix(f"\n{SMALL}"), found["about"].endswith(SMALL)
        stream = unspell(found["stream"].replace("\n", ""))
        return cls(name, about, Trial(stream, (), small), found["verdict"].splitlines())

    @property
    def text(self) -> str:
        """What stands in the file."""
        about = f"{self.about}\n{SMALL}" if self.trial.small else self.about
        lines = self.trial.stream.split(b"\n")
        stream = [spell(line) + r"\n" for line in lines[:-1]] + [spell(lines[-1])] * bool(lines[-1])
        return "\n".join((about, "", *stream, "", *self.verdict, ""))


def kept() -> list[Kept]:
    """All files, by name. Raises ValueError for one that is not in the format."""
    return [Kept.read(path.stem, path.read_text("ascii")) for path in sorted(FOLDER.glob("*.txt"))]


def keep(finding: Finding) -> Path:
    """Write a finding for somebody to decide. Of one kind there is one file."""
    name = re.sub(r"[^a-z0-9]+", "-", finding.kind.lower()).strip("-")[:60]
    path = FOLDER / f"undecided-{name}.txt"
    about = " ".join((f"{UNDECIDED}: {finding.kind}", *finding.details))
    about = spell(about.encode("ascii", "backslashreplace"))
    verdict = finding.verdict or ["no verdict"]
    path.write_text(Kept(path.stem, about, finding.trial, verdict).text, "ascii")
    return path


async def make_small(trial: Trial, is_the_same: Callable[[Trial], Awaitable[bool]]) -> Trial:
    """A shorter stream of which `is_the_same` still holds: pieces are left out while that goes on, first long
    ones and then single bytes."""
    size = len(trial.stream) // 2
    while size:
        at = 0
        while at < len(trial.stream):
            shorter = replace(trial, stream=trial.stream[:at] + trial.stream[at + size :])
            if await is_the_same(shorter):
                trial = shorter
            else:
                at += size
        size //= 2
    return trial
