"""Where a request goes: the routes and mounts of each host, and whose a path is that has no route.

Sites ── the host's name ──> Site, Site, ...   those of this host, then the one of all hosts
                              └─ table         the routes
                              └─ mounts        other applications, the longest prefix first
                              └─ areas         prefixes of routers, the longest first
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError, HTTPException
from .headers import Fields, split_host
from .routing import RouteTable, compile_pattern

if TYPE_CHECKING:
    from .router import Area, Route, Router
    from .routing import Pattern

__all__ = ["Site", "Sites", "common_routers"]


class Site:
    """What one host has: `host` is its pattern, None for all hosts."""

    def __init__(self, host: Pattern | None = None) -> None:
        self.host = host
        self.table: RouteTable[Route] = RouteTable()
        self.mounts: list[Route] = []
        self.areas: list[tuple[re.Pattern[str], str, tuple[Router, ...]]] = []

    def add_mount(self, mount: Route) -> None:
        """Add another application. Raises ConfigurationError if its prefix is taken."""
        prefix = mount.pattern.text
        if any(prefix == other.pattern.text for other in self.mounts):
            raise ConfigurationError(f"something is mounted at {prefix or '/'!r} already")
        self.mounts.append(mount)
        self.mounts.sort(key=lambda mount: -len(mount.pattern.text))

    def add_area(self, area: Area) -> None:
        """Add a prefix of a router. If several routers have it, it belongs to what is around them all."""
        routers = area.routers
        for position, (_, prefix, others) in enumerate(self.areas):
            if prefix == area.prefix:
                routers = common_routers((routers, others))
                del self.areas[position]
                break
        below = re.compile(compile_pattern(area.prefix).shape + "(?:/.*)?", re.DOTALL)
        self.areas.append((below, area.prefix, routers))
        self.areas.sort(key=lambda area: (-area[1].count("/"), area[1].count("{")))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, Any]] | None:
        """The route of a request; a mount is the route of everything below it, but for what begins with its
        own prefix and has a route."""
        found = self.table.match(method, path)
        mount = next((mount for mount in self.mounts if _is_below(path, mount.pattern.text)), None)
        if mount is None or (found is not None and _goes_before(found[0], mount)):
            return found
        before = [
            (by_method, params)
            for by_method, params in self.table.at(path)
            if _goes_before(next(iter(by_method.values())), mount)
        ]
        for wanted in (method, "GET") if method == "HEAD" else (method,):
            for by_method, params in before:
                if wanted in by_method:
                    return by_method[wanted], params
        return None if before else (mount, {})

    def at(self, path: str) -> list[Route]:
        """The routes of this path, whatever their methods."""
        return [route for by_method, _ in self.table.at(path) for route in by_method.values()]

    def owners(self, path: str) -> tuple[Router, ...]:
        """The routers that a path without a route belongs to, the outermost first; () for none."""
        return next((routers for below, _, routers in self.areas if below.fullmatch(path)), ())


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _goes_before(route: Route, mount: Route) -> bool:
    """Whether the route begins with the prefix of the mount itself. One that only happens to match there, a
    "/{rest:path}" for all that is left, would take everything away from the mount."""
    return route.pattern.pieces[0].startswith(mount.pattern.text)


def common_routers(chains: Iterable[tuple[Router, ...]]) -> tuple[Router, ...]:
    """The routers that are around all of these."""
    common: list[Router] = []
    for level in zip(*chains, strict=False):
        if any(router is not level[0] for router in level):
            break
        common.append(level[0])
    return tuple(common)


class Sites:
    """The sites of an App. `everywhere` is the one of all hosts."""

    def __init__(self) -> None:
        self.everywhere = Site()
        self._named: dict[str, Site] = {}  # by the names of hosts
        self._patterned: dict[str, Site] = {}  # by the patterns of those with a parameter

    @property
    def only_table(self) -> RouteTable[Route] | None:
        """The table of `everywhere` if that is all there is: neither hosts nor mounts."""
        is_all = not (self._named or self._patterned or self.everywhere.mounts)
        return self.everywhere.table if is_all else None

    def of_pattern(self, host: Pattern | None) -> Site:
        """The site to register at."""
        if host is None:
            return self.everywhere
        sites = self._named if host.is_static else self._patterned
        return sites.setdefault(host.text, Site(host))

    def of_request(self, fields: Fields) -> list[tuple[Site, dict[str, Any]]]:
        """The sites of a host, names before patterns, with the values of the parameters in its name.

        Raises HTTPException 400 for a Host that is missing, malformed or not alone. Our own server has
        refused it before; others hand it on as it came.
        """
        if not self._named and not self._patterned:
            return [(self.everywhere, {})]
        hosts = [value for name, value in fields if name.lower() == b"host"]
        found = split_host(hosts[0]) if len(hosts) == 1 else None
        if found is None:
            raise HTTPException(400, "The Host field is missing or malformed.")
        name = found[0].removesuffix(".")  # the same name in its absolute form (RFC 1034 section 3.1)
        named: list[tuple[Site, dict[str, Any]]] = [(self._named[name], {})] if name in self._named else []
        matching = [
            (site, params)
            for site in self._patterned.values()
            if site.host is not None and (params := site.host.match(name)) is not None
        ]
        return [*named, *matching, (self.everywhere, {})]
