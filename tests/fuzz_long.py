"""Streams by chance, for as long as one likes: `scripts/fuzz [how many] [seed]`.

Prints how far it is, then which decisions were needed and how often. Findings are made small and written to
tests/fuzz_cases, for somebody to decide; with any, it exits 1. The same seed gives the same streams.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from types import FrameType

from fuzz import Trial, chance
from fuzz_kept import keep, make_small
from fuzz_outsiders import decision
from fuzz_trial import Fault, Finding, Manner, Way, examine, try_out, ways
from http1_wire import PARSERS

COUNT = 1_000_000
THOROUGH = 50  # one stream of so many goes all ways
HANGS = 10.0  # seconds
PARTS = 20  # progress is told after each
ENOUGH = 20  # kinds of findings; then something is wrong altogether


class Hang(Exception):
    """A stream has no end."""


class Campaign:
    """Many trials, and what came of them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tried = 0
        self.slowest = 0.0  # seconds for all ways of one stream
        self.outcomes: Counter[str] = Counter()
        self.decided: Counter[str] = Counter()
        self.findings: dict[str, Finding] = {}
        self.at_hand = Trial(b"")

    async def try_many(self, count: int) -> None:
        """Try so many streams in all."""
        while self.tried < count and len(self.findings) < ENOUGH:
            self.tried += 1
            self.at_hand = trial = chance(self.rng)
            which = self._some_ways(trial)
            began = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, HANGS)
            try:
                verdict, differences = await examine(trial, which)
            except Fault as fault:
                await self._found(Finding(fault.kind, trial, fault.details), which)
                continue
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self.slowest = max(self.slowest, time.perf_counter() - began)
            self.outcomes.update(outcome.kind for outcome in verdict.outcomes)
            for difference in differences:
                decided = decision(difference)
                if decided is None:
                    await self._found(Finding(difference, trial, [], verdict.lines()), which)
                else:
                    self.decided[decided.why] += 1

    def _some_ways(self, trial: Trial) -> list[Way]:
        """Both parsers, and one cutting."""
        rng = self.rng
        if rng.randrange(THOROUGH) == 0:
            return ways(trial)
        manner, in_one_go = rng.choice(tuple(Manner)), bool(rng.randrange(2))
        return [*map(Way, PARSERS), Way(rng.choice(PARSERS), trial.cuts, manner, in_one_go)]

    async def _found(self, finding: Finding, which: list[Way]) -> None:
        """Make a finding small and keep it, unless there is one of its kind."""
        if finding.kind in self.findings:
            return

        async def is_the_same(trial: Trial) -> bool:
            again = await try_out(trial, which)
            return again is not None and again.kind == finding.kind

        if await is_the_same(finding.trial):
            small = await make_small(finding.trial, is_the_same)
            finding = await try_out(small, which) or finding
        self.keep(finding)

    def keep(self, finding: Finding) -> None:
        """Write a finding to its file, and say so."""
        self.findings[finding.kind] = finding
        print(f"\n{finding}\nkept as {keep(finding).name}\n", flush=True)

    def table(self) -> str:
        """What was tried, and what came of it."""
        total = ", ".join(f"{count} {kind}" for kind, count in sorted(self.outcomes.items()))
        lines = [f"{self.tried} streams: requests {total}; the slowest took {self.slowest * 1000:.0f} ms"]
        lines += [f"{count:9}  {why}" for why, count in self.decided.most_common()]
        return "\n".join([*lines, f"{len(self.findings):9}  findings that nobody has decided"])


def _ring(_signal: int, _frame: FrameType | None) -> None:
    raise Hang


def main(count: int = COUNT, seed: int | None = None) -> int:
    """Try `count` streams; the exit status."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"{count} streams, seed {seed}", flush=True)
    signal.signal(signal.SIGALRM, _ring)
    campaign = Campaign(seed)
    began = time.monotonic()
    for part in range(1, PARTS + 1):
        try:
            asyncio.run(campaign.try_many(count * part // PARTS))
        except Hang:
            campaign.keep(Finding("hangs", campaign.at_hand))
        rate = campaign.tried / (time.monotonic() - began)
        print(f"{campaign.tried} streams, {rate:.0f} a second", flush=True)
    print(campaign.table())
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
