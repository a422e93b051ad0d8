"""What must hold: each line of the table of limits, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from measure import Load
from servers import (
    FASTAPI,
    FLASK,
    NGINX,
    SERVERS,
    SOCKETIFY,
    STARLETTE,
    STARLETTE_HERE,
    TEN_ROUTES,
    THOUSAND_ROUTES,
    WEEBILL,
    WITH_LOG,
)
from works import (
    DEF,
    ECHO,
    FIELDS,
    HOOKS,
    PIPELINED,
    PLAIN,
    ROUTES,
    STATIC_4K,
    STATIC_16M,
    STATIC_64K,
    STREAM,
    TABLE,
    TYPED,
    UPLOAD,
    USER,
    Work,
)

# The loads of one server at one work, by the number of their round.
Found = dict[tuple[str, Work], dict[int, Load]]


@dataclass(frozen=True)
class Limit:
    """`work` costs `server` at most so many times what `than_work`, if it is not the same, costs `than`."""

    work: Work
    most: float
    than: str
    server: str = WEEBILL
    than_work: Work | None = None


LIMITS = (
    Limit(PLAIN, 2.0, NGINX),
    Limit(PLAIN, 0.36, STARLETTE),
    *(Limit(PLAIN, 1.0, name) for name, peer in SERVERS.items() if peer.framework and name != STARLETTE),
    Limit(USER, 2.2, NGINX),
    Limit(USER, 0.36, STARLETTE),
    Limit(USER, 1.0, SOCKETIFY),
    Limit(USER, 1.2, WEEBILL, server=WITH_LOG),
    Limit(FIELDS, 0.36, STARLETTE),
    Limit(TABLE, 0.5, STARLETTE),
    Limit(TYPED, 0.35, FASTAPI),
    Limit(DEF, 0.2, STARLETTE),
    Limit(DEF, 0.1, FLASK),
    Limit(HOOKS, 0.4, STARLETTE),
    Limit(ECHO, 0.6, STARLETTE),
    Limit(UPLOAD, 0.6, STARLETTE),
    Limit(STATIC_4K, 0.4, STARLETTE),
    Limit(STATIC_64K, 0.5, STARLETTE),
    Limit(STATIC_16M, 0.7, STARLETTE),
    Limit(STATIC_16M, 2.0, NGINX),
    Limit(STREAM, 0.5, STARLETTE),
    Limit(PIPELINED, 1 / 1.5, WEEBILL, than_work=PLAIN),
    Limit(PLAIN, 0.9, STARLETTE, server=STARLETTE_HERE),
    Limit(USER, 0.9, STARLETTE, server=STARLETTE_HERE),
    *(
        Limit(work, 1.05 if "static" in work.name else 1.3, TEN_ROUTES, server=THOUSAND_ROUTES)
        for work in ROUTES
    ),
)


CLOSE = 0.1  # of a limit: so much may two processes of one program differ


def close_limits(found: Found) -> list[Limit]:
    """Those that are missed or met by so little that the next run might say otherwise."""
    ratios = ((limit, ratio(found, limit)) for limit in LIMITS)
    return [limit for limit, part in ratios if part is not None and abs(part / limit.most - 1) < CLOSE]


def ratio(found: Found, limit: Limit) -> float | None:
    """The median over the rounds of the ratio within one round; None if one of both was not measured."""
    own = found.get((limit.server, limit.work), {})
    other = found.get((limit.than, limit.than_work or limit.work), {})
    ratios = [own[number].cpu / other[number].cpu for number in own.keys() & other.keys()]
    return median(ratios) if ratios else None


@dataclass(frozen=True)
class Verdict:
    """What was found, and how much it may be. `found` is None for what was not measured; it does not hold."""

    text: str
    found: float | None
    most: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.found is not None and self.found <= self.most

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.text}: not measured, at most {self.most:.3g}{self.unit}"
        return f"{self.text}: {self.found:.3g}{self.unit}, at most {self.most:.3g}"


def verdicts(found: Found) -> Iterable[Verdict]:
    for limit in LIMITS:
        server = "" if limit.server == WEEBILL else f", {limit.server}"
        than_work = f", {limit.than_work.name}" if limit.than_work else ""
        unit = f" x {limit.than}{than_work}"
        yield Verdict(f"{limit.work.name}{server}", ratio(found, limit), limit.most, unit)
