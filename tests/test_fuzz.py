"""The differential fuzz: two parsers, all cuttings and two outsiders come to one verdict on damaged streams.

scripts/fuzz does the same with fresh streams, for as long as one likes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
from fuzz import Trial, chance, trials
from fuzz_kept import UNDECIDED, Kept, kept, make_small
from fuzz_outsiders import DECISIONS, Decision, decision
from fuzz_trial import Manner, Way, examine, try_out, ways
from http1_wire import PARSERS
from hypothesis import HealthCheck, given, settings

CASES = kept()
SEED = 20261121


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all streams."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_finding_that_was_kept_has_the_verdict_that_was_decided(case: Kept, runner: asyncio.Runner) -> None:
    assert not case.about.startswith(UNDECIDED)
    assert "Decided: " in case.about
    verdict, differences = runner.run(examine(case.trial, ways(case.trial)))
    assert verdict.lines() == case.verdict
    assert [difference for difference in differences if decision(difference) is None] == []


def test_each_decision_is_needed_by_a_finding_that_was_kept(runner: asyncio.Runner) -> None:
    needed: set[Decision | None] = set()
    for case in CASES:
        _, differences = runner.run(examine(case.trial, ways(case.trial)))
        needed.update(map(decision, differences))
    assert [one for one in DECISIONS if one not in needed] == []


def test_what_is_written_of_a_finding_is_read_again() -> None:
    rng = random.Random(SEED)
    for case in CASES:
        assert Kept.read(case.name, case.text) == case
    for number in range(200):
        trial = Trial(chance(rng).stream, (), bool(number % 2))
        one = Kept(f"case-{number}", "What it was. Decided: so.", trial, ["taken: GET / HTTP/1.1", "open"])
        assert Kept.read(one.name, one.text) == one


@settings(
    max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(trials())
def test_what_hypothesis_thinks_of_has_one_verdict_in_all_ways(trial: Trial) -> None:
    finding = asyncio.run(try_out(trial, ways(trial)))
    assert finding is None, str(finding)


def test_what_chance_thinks_of_has_one_verdict_with_both_parsers_and_however_it_is_cut(
    runner: asyncio.Runner,
) -> None:
    rng = random.Random(SEED)
    taken = refused = 0
    for _ in range(4000):
        trial = chance(rng)
        cut = Way(rng.choice(PARSERS), trial.cuts, rng.choice(tuple(Manner)), bool(rng.randrange(2)))
        verdict, differences = runner.run(examine(trial, [*map(Way, PARSERS), cut]))
        assert [difference for difference in differences if decision(difference) is None] == [], trial
        taken += sum(outcome.kind == "taken" for outcome in verdict.outcomes)
        refused += sum(outcome.kind == "refused" for outcome in verdict.outcomes)
    assert taken > 1000
    assert refused > 1000


def test_a_finding_is_made_as_small_as_it_can_be(runner: asyncio.Runner) -> None:
    async def is_one(trial: Trial) -> bool:
        return b"a" in trial.stream and b"\0" in trial.stream

    stream = b"GET /abc HTTP/1.1\r\nHost: b\r\nX: a\0b\r\n\r\n"
    small = runner.run(make_small(Trial(stream, (3,)), is_one))
    assert sorted(small.stream) == sorted(b"a\0")
