"""A million events through Listener.trigger_event must leave memory where it was.

Prints the resident memory after the first tenth and at the end; exits 1 if it grew by more than 5 MB.

    python scripts/soak_events.py [number of events]
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path

from weebill.events import Depends, Event, Listener, Param

LIMIT = 5.0  # MB
BATCH = 1000  # events in flight at once

app = Listener()


async def double(event: Event) -> int:
    return int(event.params["number"]) * 2


@app.on_event("count/{number:int}")
async def count(number: Param, twice: int = Depends(double)) -> int:
    return int(number) + twice


@app.on_event("fail/{number:int}")
async def fail(number: Param) -> None:
    raise ValueError(number)


@app.on_error(ValueError)
async def forgive(event: Event) -> None:
    event.result = 0


@app.before_event
async def before(event: Event) -> None:
    event.ctx.scope["seen"] = True


def resident() -> float:
    """Resident memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmRSS")


async def soak(first: int, last: int) -> None:
    for start in range(first, last, BATCH):
        numbers = range(start, min(start + BATCH, last))
        # Every hundredth fails, and is taken by the on_error hook.
        tasks = [app.trigger_event(f"{'count' if n % 100 else 'fail'}/{n}") for n in numbers]
        results = await asyncio.gather(*tasks)
        assert results == [n * 3 if n % 100 else 0 for n in numbers]


async def main(total: int) -> int:
    began = time.perf_counter()
    await soak(0, total // 10)
    gc.collect()
    first = resident()
    print(f"{total // 10:>9,} events: {first:7.2f} MB resident", flush=True)
    await soak(total // 10, total)
    gc.collect()
    last = resident()
    took = time.perf_counter() - began
    print(f"{total:>9,} events: {last:7.2f} MB resident, {took / total * 1e6:.1f} us each")
    print(f"grew by {last - first:.2f} MB; {len(app.ctxs)} contexts left")
    return 1 if last - first > LIMIT or app.ctxs else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)))
