"""Weebill against its peers, in CPU time for each request; see README.md for the method.

Run it as `scripts/bench [--quick]`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from limits import Found, Verdict, close_limits, verdicts
from measure import LOAD_CORE, Failed, Server, load
from report import tell, versions
from servers import QUICK, SERVERS, WEEBILL
from trials import trials
from works import FILES, PLAIN, WORKS, Work

RESULTS = Path(__file__).with_name("RESULTS.md")
ROUNDS = 9


@dataclass
class Run:
    """What has been measured: loads, memory in MB for each round, and whom it did not work out with."""

    files: str
    found: Found = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def give_up(self, name: str, why: BaseException) -> None:
        """Go on without a server that fails, but not without Weebill."""
        if name == WEEBILL:
            raise why
        progress(f"{name} is left out from here on: {why}")
        self.missing[name] = str(why)


def progress(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


# -- measuring


def measure_loads(run: Run, names: Sequence[str], works: Sequence[Work], rounds: range, quick: bool) -> None:
    """In every round all servers start anew, and each kind of request goes to one after the other.

    So what is compared is measured within seconds, for the speed of a machine wanders over minutes.
    """
    for number in rounds:
        progress(f"round {number + 1} of {rounds.stop}")
        with ExitStack() as stack:
            servers = {}
            for name in names:
                if name not in run.missing and any(work in SERVERS[name].works for work in works):
                    server = Server(SERVERS[name].command, files=run.files, patience=2)  # Robyn needs force
                    servers[name] = stack.enter_context(server)
                    prepare(run, name, server, works)
            for work in random.sample(works, len(works)):
                for name in random.sample(list(servers), len(servers)):
                    if work in SERVERS[name].works and name not in run.missing:
                        measure(run, name, servers[name], work, number, work.seconds - quick)


def measure_close(run: Run, rounds: int) -> None:
    """Measure again, in as many rounds as before, what is too close to its limit to be judged."""
    limits = close_limits(run.found)
    names = [name for name in SERVERS if any(name in (limit.server, limit.than) for limit in limits)]
    works = [work for work in WORKS if any(work in (limit.work, limit.than_work) for limit in limits)]
    measure_loads(run, names, works, range(rounds, 2 * rounds), quick=False)


def prepare(run: Run, name: str, server: Server, works: Iterable[Work]) -> None:
    """Warm a server up, and see that its answers are the same as everybody's."""
    try:
        server.first_answer()
        load(server, PLAIN, 1)
        run.memory.setdefault(name, []).append(server.memory())
        for work in works:
            if work in SERVERS[name].works:
                check_answer(server, work)
    except (Failed, OSError, http.client.HTTPException) as error:
        run.give_up(name, error)
    server.sleep()


def measure(run: Run, name: str, server: Server, work: Work, number: int, seconds: int) -> None:
    """One load; a second one if that fails, for what else the machine does may starve it."""
    server.wake()
    try:
        try:
            measured = load(server, work, seconds)
        except Failed:
            measured = load(server, work, seconds)
        run.found.setdefault((name, work), {})[number] = measured
    except Failed as error:
        run.give_up(name, error)
    server.sleep()


def check_answer(server: Server, work: Work) -> None:
    """Equal work: every server gives the same answer."""
    status, fields, content = server.ask(work.path, work.headers if work.content else {}, work.content)
    answer: object = content
    if isinstance(work.answer, str):
        answer = content.decode()
    elif not isinstance(work.answer, bytes):
        answer = json.loads(content)
    kind = fields.get("content-type", "").partition(";")[0]
    wanted = dict(work.answer_headers)
    if (status, kind, answer) != (200, work.media_type, work.answer) or wanted.items() - fields.items():
        raise Failed(f"it answers {work.path} with {status} {fields} {content[:80]!r}")


# -- the command


def write_files(folder: Path) -> str:
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return str(folder)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round with three peers")
    parser.add_argument("--only", metavar="WORK,...", help="works whose names contain one of these")
    parser.add_argument("--peers", metavar="NAME,...", help="Weebill, and servers whose names contain one")
    parser.add_argument("--rounds", type=int, help=f"instead of {ROUNDS}, or of one with --quick")
    return parser.parse_args(arguments)


def chosen(names: Iterable[str], wanted: str) -> list[str]:
    parts = [part.strip().lower() for part in wanted.split(",")]
    return [name for name in names if any(part in name.lower() for part in parts)]


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    names = list(QUICK if options.quick else SERVERS)
    if options.peers:
        names = [name for name in SERVERS if name in (WEEBILL, *chosen(SERVERS, options.peers))]
    works = [work for work in WORKS if chosen([work.name], options.only or "")]
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    is_tuning = options.only or options.peers or options.rounds
    is_whole = not (is_tuning or options.quick)
    if (busy := os.getloadavg()[0]) > 0.5:
        progress(f"in the last minute the machine was busy (load {busy:.1f}); if it still is, figures wander")
    os.sched_setaffinity(0, {LOAD_CORE})
    with TemporaryDirectory(prefix="bench-") as folder:
        run = Run(write_files(Path(folder, "files")))
        measure_loads(run, names, works, range(rounds), options.quick)
        if is_whole:
            measure_close(run, rounds)
    judged = list(verdicts(run.found))
    if not is_tuning:
        judged += trials(options.quick, progress)
    return judge(run, judged, rounds) if is_whole else tell_all(run, judged)


def tell_all(run: Run, judged: Iterable[Verdict]) -> int:
    lines = [f"- {verdict}" for verdict in judged if verdict.found is not None]
    tables = tell(run.found, run.memory, run.missing)
    print("", f"{versions()}.", tables, "## Limits, which are not judged", "\n".join(lines), sep="\n\n")
    return 0


def judge(run: Run, judged: Sequence[Verdict], rounds: int) -> int:
    lines = [f"- {'holds' if verdict.holds else 'MISSED'}: {verdict}" for verdict in judged]
    head = (
        f"Written by `scripts/bench` on {date.today()}: medians of {rounds} rounds, and of {2 * rounds} "
        "where a limit is close. A ratio is the median of the ratios within each round, not the ratio of the "
        "medians beside it. [README](README.md) says how it is measured."
        f"\n\n{versions()}."
    )
    parts = ["# Results", head, "## Limits", "\n".join(lines), tell(run.found, run.memory, run.missing)]
    print("", *parts[2:], sep="\n\n")
    RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0 if all(verdict.holds for verdict in judged) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
