"""A server under attack, and an honest client beside it; see README.md.

Run it as `scripts/attack [--short] [TRIAL]...`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from multiprocessing.connection import Connection

import floods
import measure
import rude
import slow
from clients import Failed, Scale
from watch import Honest, Server, Target, allow_descriptors, fork

# -- what is tried

FULL = Scale(
    crowd=1000,
    idle=5000,
    seconds=10,
    repeats=10_000,
    readers=150,
    upload=2048,
    pieces=16384,
    pipelined=100_000,
    drip=5,
    stubborn=40,
    header_timeout=10,
    body_grace=5,
    idle_timeout=15,  # 75 by default: nothing but time would pass
    write_timeout=10,  # 30 by default
)
SHORT = Scale(
    crowd=200,
    idle=1000,
    seconds=1.5,
    repeats=800,
    readers=40,
    upload=256,
    pieces=2048,
    pipelined=20_000,
    drip=0.5,
    stubborn=1.5,
    header_timeout=2,
    body_grace=1,
    idle_timeout=3,
    write_timeout=2,
)

Attack = Callable[[Target, Scale], Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One attack, the options of its server, and what is expected beyond what is always expected.

    `settle` is how many seconds the server may take to be rid of everything while the attackers hold on.
    `newcomers`: an honest client can connect throughout.
    """

    name: str
    attack: Attack
    options: Sequence[str] = ()
    descriptors: int | None = None
    settle: float = 6.0
    newcomers: bool = True


TRIALS = [
    Trial(name="slow headers, slowhttptest", attack=slow.slowhttptest_headers),
    Trial(name="slow bodies, slowhttptest", attack=slow.slowhttptest_body),
    Trial(name="slow reads, slowhttptest", attack=slow.slowhttptest_read),
    Trial(name="slow headers", attack=slow.slow_heads),
    Trial(name="slow bodies", attack=slow.slow_bodies),
    Trial(name="idle connections", attack=slow.idle),
    Trial(name="stopped readers", attack=slow.stopped_readers),
    Trial(name="fast readers", attack=slow.fast_readers),
    Trial(name="connection flood", attack=floods.connections),
    Trial(name="garbage", attack=floods.garbage),
    Trial(name="endless bytes", attack=floods.endless),
    Trial(name="header bombs", attack=floods.heads),
    Trial(name="chunk bombs", attack=floods.chunks),
    Trial(name="form bombs", attack=floods.forms),
    Trial(name="unread pipelines", attack=floods.pipelines),
    Trial(name="read pipelines", attack=floods.read_pipelines),
    Trial(name="busy threads", attack=floods.threads, options=["--threads=4", "--thread-queue=50"]),
    Trial(name="gone in the middle", attack=rude.gone),
    Trial(name="half-closed", attack=rude.half_closed),
    Trial(name="streamed uploads", attack=rude.upload),
    Trial(name="spooled uploads", attack=rude.spooled_upload),
    Trial(name="uploaded forms", attack=rude.form_upload),
    Trial(name="unwanted uploads", attack=rude.unwanted),
    Trial(
        name="too many connections",
        attack=rude.too_many,
        options=[f"--max-connections={rude.MOST}"],
        newcomers=False,
    ),
    Trial(
        name="few descriptors",
        attack=rude.few_descriptors,
        descriptors=60,
        newcomers=False,
    ),
    Trial(
        name="no descriptors left",
        attack=rude.no_descriptors,
        newcomers=False,
    ),
]

# -- what must hold

MEMORY = 100.0  # MB that the server may grow by at its worst moment
LATENCY = 0.100  # seconds: the 99th percentile of each honest client


@dataclass
class Result:
    """One row of the table; `faults` says what is wrong, and is empty where nothing is."""

    name: str
    said: str = ""
    latency: float = 0.0
    worst: float = 0.0
    memory: float = 0.0
    left: str = ""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        latency, worst = self.latency * 1000, self.worst * 1000
        row = [
            f"{self.name:<26} {self.said or 'failed':<66} {latency:>6.1f} {worst:>6.0f}",
            f"{self.memory:>6.1f}  {self.left or 'nothing':<16} {self.seconds:>4.0f}s",
            "FAIL" if self.faults else "pass",
        ]
        return "  ".join(row) + "".join(f"\n    {fault}" for fault in self.faults)


HEAD = f"{'trial':<26} {'attackers':<66} p99 ms    max   MB more  {'left over':<16}  took"


def run(trial: Trial, scale: Scale) -> Result:
    """Start a server, let it be attacked, and see what becomes of it."""
    result = Result(trial.name)
    began = time.monotonic()
    with Server([*scale.options(), *trial.options], trial.descriptors) as server:
        try:
            _attack(trial, scale, server, result)
        except (OSError, HTTPException) as error:
            result.faults.append(f"the server does not answer any more: {error!r}")
        if server.process.poll() is not None:
            result.faults.append(f"the server has ended with {server.process.returncode}")
        log = server.target.lines()
        if "Traceback" in "\n".join(log):
            result.faults.append("a traceback in the log:\n" + "\n".join(_around_traceback(log)))
    result.seconds = time.monotonic() - began
    return result


def _attack(trial: Trial, scale: Scale, server: Server, result: Result) -> None:
    server.warm_up()
    before, memory = server.rest(), server.target.memory()
    server.target.forget_peak()
    with Attackers(trial.attack, server.target, scale) as attackers:
        with Honest(server.port, ("kept", "new") if trial.newcomers else ("kept",)) as honest:
            result.said, fault = attackers.wait()
        if fault:
            result.faults.append(fault)
        result.memory = server.target.memory("VmHWM") - memory
        _judge(result, honest)
        # The attackers are still there, and hold every connection that they have not closed.
        result.left = server.left_beyond(before, trial.settle)
    if result.left:
        result.faults.append(f"left over: {result.left}")


def _judge(result: Result, honest: Honest) -> None:
    faults = result.faults
    if result.memory > MEMORY:
        faults.append(f"it took {result.memory:.0f} MB more memory")
    if not honest.seen:
        faults.append("the honest client did not come back")
        return
    result.latency = honest.worst.p99
    result.worst = max(max(seen.latencies) for seen in honest.seen.values())
    if result.latency > LATENCY:
        faults.append(f"the honest client waited {result.latency * 1000:.0f} ms")
    faults += honest.failures[:3]


def _around_traceback(log: Sequence[str]) -> Sequence[str]:
    first = next(number for number, line in enumerate(log) if "Traceback" in line)
    return log[max(first - 1, 0) : first + 30]


class Attackers:
    """A process that attacks, from entering to leaving the context: only then it lets go of what it has."""

    def __init__(self, attack: Attack, target: Target, scale: Scale) -> None:
        self.attack = attack
        self.target = target
        self.scale = scale
        self._pipe, self._theirs = fork.Pipe()

    def __enter__(self) -> Attackers:
        arguments = (self._theirs, self.attack, self.target, self.scale)
        self._process = fork.Process(target=_be_rude, args=arguments)
        self._process.start()
        self._theirs.close()
        return self

    def wait(self) -> tuple[str, str]:
        """Have them begin, and wait until they have done: what became of them, and a fault."""
        self._pipe.send("begin")
        try:
            said, fault = self._pipe.recv()
        except EOFError:
            return "", "the attackers' process broke down"
        return said, fault

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._pipe.close()


def _be_rude(pipe: Connection, attack: Attack, target: Target, scale: Scale) -> None:
    os.nice(19)
    gc.freeze()

    async def run() -> tuple[str, str]:
        try:
            return await attack(target, scale), ""
        except BaseExceptionGroup as group:
            failed = _first(group)
            if isinstance(failed, Failed):
                return "", str(failed)
            raise
        except Failed as failure:
            return "", str(failure)

    pipe.recv()
    loop = asyncio.new_event_loop()
    pipe.send(loop.run_until_complete(run()))
    pipe.recv()  # hold everything until terminated


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/attack", description="Attack a Weebill server.")
    parser.add_argument("--short", action="store_true", help="everything on a small scale, within 90 seconds")
    parser.add_argument(
        "trials", nargs="*", metavar="TRIAL", help="only those whose names contain one of them"
    )
    arguments = parser.parse_args()
    chosen = [t for t in TRIALS if not arguments.trials or any(word in t.name for word in arguments.trials)]
    if not chosen:
        parser.error(f"there are {', '.join(trial.name for trial in TRIALS)}")
    scale = SHORT if arguments.short else FULL
    allow_descriptors(scale.idle + 1000)
    os.sched_setaffinity(0, {measure.LOAD_CORE})
    print(HEAD)
    results = []
    for trial in chosen:
        result = run(trial, scale)
        print(result, flush=True)
        if result.faults:  # a machine with other things to do makes clients late; a fault comes again
            result = run(trial, scale)
            print(result, flush=True)
        results.append(result)
    failed = sum(bool(result.faults) for result in results)
    took = sum(result.seconds for result in results)
    print(f"{len(results) - failed} passed, {failed} failed, in {took:.0f}s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
