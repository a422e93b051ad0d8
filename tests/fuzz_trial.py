"""What becomes of a stream, and who says otherwise.

    trial ──> run() in each of its ways ──> verdicts, which must be the same
          └─> h11 and llhttp as servers ──> requests, which must be the same

The ways are both parsers, whole, cut and byte by byte, to applications that have the content gathered, read
it themselves or leave it. h11's client must be able to read what is answered, and the log has one line for
each refusal. What must never be is a `Fault`. A difference may be right: then a decision says why
(fuzz_outsiders.py), and what no decision covers is a finding.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import h11
from conformance_cases import spell
from fuzz import SMALL_LIMITS, Trial
from fuzz_outsiders import Message, decision, differences
from http1_wire import PARSERS, Answer, Application, Wire, judge

from weebill.errors import HTTPException, ProtocolError
from weebill.exchange import Exchange, Intake

__all__ = ["Finding", "Verdict", "Way", "run", "try_out", "ways"]

SLOW = 1.0  # seconds that no stream may take, in any way


class Manner(Enum):
    """What the application does with content."""

    GATHERED = "gathered"
    STREAMED = "streamed"
    UNREAD = "unread"


class Way(NamedTuple):
    """How a stream is sent; `in_one_go` says that nobody has a turn between two pieces."""

    parser: str
    cuts: tuple[int, ...] = ()
    manner: Manner = Manner.GATHERED
    in_one_go: bool = False

    def __str__(self) -> str:
        pieces = f"{len(self.cuts) + 1} pieces" + (" in one go" if self.in_one_go else "")
        return f"{self.parser}, {pieces}, {self.manner.value}"


class Outcome(NamedTuple):
    """What became of one request: "taken" with all that the application saw, "answered" by it without the
    content, or "refused" by the server itself."""

    kind: str
    status: int
    method: str = ""
    target: str = ""
    http_version: str = ""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    content: bytes = b""

    def __str__(self) -> str:
        if self.kind != "taken":
            return f"{self.kind}: {self.status}"
        fields = " | ".join(f"{spell(name)}: {spell(value, b'|')}" for name, value in self.fields)
        content = f', content "{spell(self.content)}"' if self.content else ""
        line = f"taken: {self.method} {self.target} HTTP/{self.http_version}"
        return f"{line}, fields {fields or 'none'}{content}"


@dataclass
class Verdict:
    """What became of a stream: its requests, how many of them before the client had shut its side, and
    whether the connection was open until then. `detail` is what the log says of a refusal."""

    outcomes: list[Outcome]
    before_the_end: int
    is_open: bool
    detail: str = field(default="", compare=False)

    def lines(self) -> list[str]:
        """The same as text."""
        lines = list(map(str, self.outcomes))
        lines.insert(self.before_the_end, "open" if self.is_open else "ended")
        return lines


@dataclass
class Finding:
    """Something that must not be. `kind` is the same for findings that are likely to be one."""

    kind: str
    trial: Trial
    details: list[str] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join((self.kind, repr(self.trial).strip(), *self.details, *self.verdict))


_REFUSAL = re.compile(r"refused \S+: [0-9]{3} (.*?) b['\"]")  # who, status, why, and what was sent


class Fault(Exception):
    """A finding on one way."""

    def __init__(self, kind: str, *details: object) -> None:
        super().__init__(kind)
        self.kind = kind
        self.details = list(map(str, details))


# -- one way


class _Recorder(Application):
    """Takes everything, answers in the same way however the content is read, and remembers the outcomes."""

    def __init__(self, manner: Manner) -> None:
        super().__init__(intake=Intake(stream=manner is not Manner.GATHERED))
        self.manner = manner
        self.outcomes: list[Outcome] = []
        self.methods: list[str] = []

    def __intake__(self, exchange: Exchange) -> Intake:
        self.methods.append(exchange.method)
        return self.intake

    async def __exchange__(self, exchange: Exchange) -> None:
        head = (exchange.method, exchange.target, exchange.http_version, tuple(exchange.fields))
        try:
            if exchange.refusal is not None:
                raise exchange.refusal
            content = await self._content(exchange)
        except ProtocolError as error:  # a program has nothing better to say than the server has
            outcome = Outcome("refused", error.status_code)
        except HTTPException as error:
            outcome = Outcome("answered", error.status_code, *head)
        else:
            kind = "answered" if self.manner is Manner.UNREAD else "taken"
            outcome = Outcome(kind, 200, *head, content)
        self.outcomes.append(outcome)
        await exchange.respond(outcome.status, [], exchange.target.encode())

    async def _content(self, exchange: Exchange) -> bytes:
        if self.manner is Manner.GATHERED:
            return exchange.body.read_all()
        pieces: list[bytes] = []
        while self.manner is Manner.STREAMED and (piece := await exchange.read()):
            pieces.append(piece)
        return b"".join(pieces)


class _Ear(logging.Handler):
    """Hears what the server and its loop log, and keeps it from everybody else."""

    LOGGERS = (logging.getLogger("weebill"), logging.getLogger("asyncio"))

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> _Ear:
        self._propagated = [logger.propagate for logger in self.LOGGERS]
        for logger in self.LOGGERS:
            logger.addHandler(self)
            logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        for logger, propagated in zip(self.LOGGERS, self._propagated, strict=True):
            logger.removeHandler(self)
            logger.propagate = propagated


async def _settle(wire: Wire, app: _Recorder) -> None:
    """Let everything happen that is going to."""
    quiet, last = 0, None
    while quiet < 3:
        await asyncio.sleep(0)
        now = len(wire.transport.sent), len(app.outcomes), wire.transport.ended
        quiet = quiet + 1 if now == last else 0
        last = now


async def run(trial: Trial, way: Way) -> Verdict:
    """Send a stream this way. Raises Fault for what must not be, whatever the verdict."""
    app = _Recorder(way.manner)
    wire = Wire(app, way.parser, **(SMALL_LIMITS if trial.small else {}))
    with _Ear() as ear:
        try:
            for start, end in itertools.pairwise((0, *way.cuts, len(trial.stream))):
                if start < end:
                    wire.send(trial.stream[start:end])
                if not way.in_one_go:
                    await asyncio.sleep(0)
            await _settle(wire, app)
            is_open, before = not wire.transport.ended, _count(wire, app)
            if is_open and not wire.transport.reading:
                raise Fault("nothing is read any more")
            wire.send_eof()
            await _settle(wire, app)
        except Fault:
            raise
        except Exception as error:
            raise Fault(f"raised {type(error).__name__}", error) from error
    return _verdict(wire, app, ear, before, is_open)


def _count(wire: Wire, app: _Recorder) -> int:
    """How many requests have an outcome: of the refused ones the application has heard of none but those
    whose content it read."""
    answers = len(_answers(wire.sent, tuple(app.methods), wire.transport.ended))
    return max(answers, len(app.outcomes))


def _verdict(wire: Wire, app: _Recorder, ear: _Ear, before: int, is_open: bool) -> Verdict:
    refusals = [record for record in ear.records if record.msg.startswith("refused ")]
    if len(refusals) < len(ear.records):
        raise Fault("logged", *map(_line, ear.records))
    if not wire.transport.ended:
        raise Fault("open although the client has shut its side")
    answers = _answers(wire.sent, tuple(app.methods), True)
    outcomes = list(app.outcomes)
    if len(answers) == len(outcomes) + 1:
        outcomes.append(Outcome("refused", answers[-1].status))
    if [answer.status for answer in answers] != [outcome.status for outcome in outcomes]:
        raise Fault("answers other than the application's", wire.sent, outcomes)
    refused = sum(outcome.kind == "refused" for outcome in outcomes)
    # The rest of content that nobody wants may be found faulty before its answer is sent.
    unwanted = bool(outcomes) and outcomes[-1].kind == "answered"
    if not refused <= len(refusals) <= refused + unwanted:
        raise Fault(f"{refused} refused, {len(refusals)} lines in the log", *map(_line, refusals))
    told = _REFUSAL.match(refusals[-1].getMessage()) if refusals else None
    detail = told[1] if told else ""
    return Verdict(outcomes, before, is_open, detail)


def _line(record: logging.LogRecord) -> str:
    return f"{record.getMessage()} {record.exc_info[1]!r}" if record.exc_info else record.getMessage()


@functools.lru_cache(64)
def _answers(sent: bytes, methods: tuple[str, ...], ended: bool) -> list[Answer]:
    """What h11's client understands. A refused request may have been a HEAD, and nobody knows."""
    error: Exception | None = None
    for last in ("GET", "HEAD"):
        try:
            answers = [answer for answer in judge(sent, (*methods, last), ended) if answer.status]
        except (h11.RemoteProtocolError, AssertionError) as caught:
            error = caught
            continue
        if not ended or all(answer.complete for answer in answers):
            return answers
    raise Fault("no valid answer", error or "one breaks off", sent)


# -- all ways


def ways(trial: Trial) -> list[Way]:
    """Every parser with every cutting and every manner."""
    every = tuple(range(1, len(trial.stream)))
    cuttings = ((), trial.cuts, every)
    told = [Way(p, c, m) for m in Manner for c in cuttings for p in PARSERS]
    return [*told, Way(PARSERS[0], every, in_one_go=True)]


async def examine(trial: Trial, which: Sequence[Way]) -> tuple[Verdict, list[str]]:
    """Send a stream in all these ways, the first of them gathered. Its verdict, and all differences, decided
    or not. Raises Fault."""
    began = time.perf_counter()
    first = await run(trial, which[0])
    found: list[str] = []
    for way in which[1:]:
        other = await run(trial, way)
        try:
            if way.manner is Manner.UNREAD:
                _hold_that_none_is_smuggled(first, other)
            else:
                found += _same(first, other)
        except Fault as fault:
            fault.details[:0] = [f"{which[0]}: {first.lines()}", f"{way}: {other.lines()}"]
            raise
    if time.perf_counter() - began > SLOW:
        raise Fault("slow", f"{time.perf_counter() - began:.1f}s")
    if not trial.small:
        found += _outside(trial, first)
    return first, found


async def try_out(trial: Trial, which: Sequence[Way]) -> Finding | None:
    """The first fault or undecided difference."""
    try:
        verdict, found = await examine(trial, which)
    except Fault as fault:
        return Finding(fault.kind, trial, fault.details)
    undecided = [difference for difference in found if decision(difference) is None]
    return Finding(undecided[0], trial, undecided[1:], verdict.lines()) if undecided else None


def _same(one: Verdict, other: Verdict) -> list[str]:
    """Hold that two verdicts are one; gives what depends on when the bytes come."""
    if one == other:
        return []
    both = zip(one.outcomes, other.outcomes, strict=False)
    at = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both))
    ends = [not verdict.is_open and not verdict.outcomes[at:] for verdict in (one, other)]
    if at and one.outcomes[at - 1].kind == "answered" and ends[0] != ends[1]:
        return [f"a matter of time: it goes on, or ends, behind answered: {one.outcomes[at - 1].status}"]
    when = [(verdict.before_the_end, verdict.is_open) for verdict in (one, other)]
    if one.outcomes[at:] and other.outcomes[at:] and when[0] == when[1]:
        last = sorted(f"{verdict.outcomes[at]} {verdict.detail}" for verdict in (one, other))
        return [f"a matter of time: {last[0]} / {last[1]}"]
    raise Fault("the verdicts differ")


def _hold_that_none_is_smuggled(first: Verdict, unread: Verdict) -> None:
    """An application that leaves the content gets the same requests, and no content as one. Behind the first
    with content the connection may end, and what is wrong with that may be told to nobody."""
    requests = [outcome[2:6] for outcome in first.outcomes if outcome.kind != "refused"]
    got = [outcome[2:6] for outcome in unread.outcomes if outcome.kind != "refused"]
    if got[: len(requests)] != requests[: len(got)] or len(got) > len(first.outcomes):
        raise Fault("content was taken for a request")


def _outside(trial: Trial, verdict: Verdict) -> Iterator[str]:
    outcomes = verdict.outcomes[: verdict.before_the_end]
    refused: str | None = "" if verdict.is_open else None
    if outcomes and outcomes[-1].kind == "refused":
        outcomes, refused = outcomes[:-1], verdict.detail
    taken = [Message(o.method, o.target, o.content) if o.kind == "taken" else None for o in outcomes]
    return differences(taken, refused, trial.stream)
