"""The corpus of wire cases (tests/conformance/*.md), through both parsers and in three ways each.

`whole` is one packet between two pauses of the client; `byte by byte` gives everybody a turn behind each
byte; `with another behind it` has a second request in the last packet. Where nothing can be behind it,
because the client has shut its side or we wait for more, the bytes come in two halves instead.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance_cases import FOLDER, Case, Outcome, answer_rules, chapters, page, spell, unspell
from http1_wire import PARSERS, SECOND, WAYS, Answer, Wire, turns

TESTS = Path(__file__).parent
CASES = [case for chapter in chapters() for case in chapter.cases]
THIRD = b"POST /third HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nok"
LONG = (
    3000  # bytes; a longer part comes byte by byte at its ends only, for each packet costs its whole length
)
ENDS = 200
PIECE = 997


def packets(part: bytes, way: str, second: bytes) -> Iterator[bytes]:
    """What the client sends of a part at once, each time."""
    if way == "byte by byte":
        at = 0
        while at < len(part):
            size = PIECE if len(part) > LONG and ENDS <= at < len(part) - ENDS - PIECE else 1
            yield part[at : at + size]
            at += size
    elif way == "whole" or second:
        yield part + second
    else:
        yield part[: len(part) // 2]
        yield part[len(part) // 2 :]


async def play(case: Case, parser: str, way: str) -> tuple[Wire, list[Outcome]]:
    """Send a case, and let everything happen; with the outcomes that are to be."""
    wire = Wire(parser=parser, **case.settings)
    goes_on = not case.ends and case.outcomes[-1].kind != "waits"
    second = SECOND if goes_on and way == "with another behind it" else b""
    for number, part in enumerate(case.parts, 1):
        for packet in packets(part, way, second if number == len(case.parts) else b""):
            wire.send(packet)
            if way == "byte by byte":
                await asyncio.sleep(0)
        await turns(3)
    if case.ends:
        wire.send_eof()
    await turns(2 * len(case.outcomes) + 3)
    expected = list(case.outcomes)
    if second and not expected[-1].closes:
        expected.append(Outcome("taken", 200, target="/second"))
    return wire, expected


def statuses(answers: list[Answer]) -> list[int]:
    """The statuses in order, interim ones too."""
    for answer in answers:
        assert answer.complete or not answer.status, answer
    return [status for a in answers for status in (*a.interim, a.status) if status]


def check_answer(answer: Answer, outcome: Outcome, ends: bool) -> None:
    """Hold that an answer is what was to be."""
    assert "date" in answer.headers
    assert int(answer.headers["content-length"]) >= len(answer.content)
    if outcome.kind == "refused":
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert bool(answer.content) is not outcome.bare, "content"
    elif outcome.kind == "taken":
        assert int(answer.headers["content-length"]) == len(outcome.target)
        assert answer.content.decode() == ("" if outcome.method == "HEAD" else outcome.target)
    if not ends:  # whether the end had been seen when the answer was begun is a matter of chance
        goes_on = "keep-alive" if outcome.http_version == "1.0" else None
        assert answer.headers.get("connection") == ("close" if outcome.closes else goes_on)


def check_seen(wire: Wire, expected: list[Outcome]) -> None:
    """Hold that the application saw what was to be, and no more."""
    taken = [outcome for outcome in expected if outcome.kind == "taken"]
    assert [(s.method, s.target, s.http_version, s.content) for s in wire.app.seen] == [
        (o.method, o.target, o.http_version, o.content) for o in taken
    ]
    for seen, outcome in zip(wire.app.seen, taken, strict=True):
        if outcome.fields is not None:
            assert seen.fields == outcome.fields


def check_log(records: list[logging.LogRecord], expected: list[Outcome]) -> None:
    """Hold that each refusal has one clean line, and nothing else has any."""
    refused = [outcome.status for outcome in expected if outcome.kind == "refused"]
    lines = [record.getMessage() for record in records]
    assert len(lines) == len(refused), lines
    for line, status in zip(lines, refused, strict=True):
        assert line.startswith(f"refused 192.0.2.7: {status} ")
        assert len(line) < 600
        assert line.isprintable()


async def check(case: Case, parser: str, way: str) -> list[Outcome]:
    """Play a case and hold that what was to be is."""
    wire, expected = await play(case, parser, way)
    final = [outcome for outcome in expected if outcome.kind in ("taken", "answered", "refused")]
    methods = ["HEAD" if outcome.bare else outcome.method for outcome in final]
    closes = any(outcome.closes for outcome in expected)
    answers = wire.answers(*methods)
    assert statuses(answers) == [outcome.status for outcome in expected if outcome.status]
    for answer, outcome in zip(answers, final, strict=False):  # behind them a 100 may stand alone
        check_answer(answer, outcome, case.ends)
    check_seen(wire, expected)
    assert wire.transport.ended is closes
    if closes:
        sent = wire.sent
        wire.send(SECOND)
        await turns(3)
        assert wire.sent == sent, "something behind the end was answered"
        check_seen(wire, expected)
    elif expected[-1].kind != "waits" and not case.settings:  # which may not allow a third
        wire.send(THIRD)
        await turns(3)
        assert wire.app.seen[-1].content == b"ok"
        assert wire.answers(*methods)[-1].content == b"/third"
        assert not wire.transport.ended
    return expected


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all cases."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_a_case_says_comes_about(
    case: Case, parser: str, runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weebill")
    for way in WAYS:
        caplog.clear()
        try:
            expected = runner.run(check(case, parser, way))
            check_log(caplog.records, expected)
        except BaseException as error:
            error.add_note(f"{case.file}: {case.rule} ({parser}, {way})")
            raise


def test_there_are_cases_enough_and_each_is_another() -> None:
    assert len(CASES) >= 1000
    by_rule: dict[str, list[str]] = {}
    by_bytes: dict[object, list[str]] = {}
    for case in CASES:
        by_rule.setdefault(case.rule, []).append(case.file)
        what = (tuple(case.parts), case.ends, tuple(case.settings.items()))
        by_bytes.setdefault(what, []).append(str(case))
    assert [rule for rule, files in by_rule.items() if len(files) > 1] == []
    assert [names for names in by_bytes.values() if len(names) > 1] == []


def test_each_case_says_what_happens_and_ends_where_it_says() -> None:
    for case in CASES:
        assert case.outcomes, case
        assert not any(o.closes or o.kind == "waits" for o in case.outcomes[:-1]), case
        assert (
            len({other.slug for other in CASES if other.file == case.file and other.slug == case.slug}) == 1
        )
        assert not case.rule.endswith("."), case
    links = Counter(case.link for case in CASES)
    assert [link for link, times in links.items() if times > 1] == []


@pytest.mark.parametrize("data", [bytes(range(256)), b"a\r\nb\n\\{x*3}\\", b""])
def test_every_byte_can_be_spelt(data: bytes) -> None:
    assert unspell(spell(data)) == data


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"a\{bc*3}d", b"abcbcbcd"),
        (r"\{\x2a\r\n*2}", b"*\r\n*\r\n"),
        (r"{a*3}", b"{a*3}"),
        (r"\x00\0\t\\\r\n", b"\0\0\t\\\r\n"),
    ],
)
def test_what_is_spelt_is_read(text: str, data: bytes) -> None:
    assert unspell(text) == data


@pytest.mark.parametrize("text", [r"\x0", r"\X00", r"\q", "\\", r"\{a}", r"\{a*}", r"\{*3}", "\xe9", "\n"])
def test_what_spells_no_bytes_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no bytes"):
        unspell(text)


def test_the_page_about_conformance_is_current() -> None:
    current = (TESTS.parent / "docs" / "conformance.md").read_text("ascii")
    assert current == page(), "run: python tests/conformance_cases.py > docs/conformance.md"


def test_the_tests_of_the_rules_about_answers_are_there() -> None:
    rules = answer_rules()
    assert len(rules) > 20
    for rule, file, name in rules:
        assert re.search(rf"^def {name}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE), (
            rule,
            file,
            name,
        )


def test_every_file_of_the_corpus_is_read() -> None:
    read = {chapter.file for chapter in chapters()}
    assert read | {"README.md", "introduction.md", "answers.md"} == {path.name for path in FOLDER.iterdir()}
