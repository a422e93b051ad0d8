"""From the name of a route to its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from .errors import ConfigurationError, HTTPException
from .functions import describe
from .headers import split_host

if TYPE_CHECKING:
    from .requests import Request
    from .router import Route

__all__ = ["URLs", "check_base_url"]

_SAFE_IN_PATH = "/!$&'()*+,;=:@"


def check_base_url(base_url: str | None) -> str:
    """`base_url` without a slash at its end. Raises ConfigurationError for what is no URL of a site."""
    if base_url is None:
        return ""
    parts = urlsplit(base_url)
    host = split_host(parts.netloc.encode()) if parts.netloc.isascii() else None
    if parts.scheme not in ("http", "https") or host is None or parts.query or parts.fragment:
        raise ConfigurationError(f"base_url is {base_url!r}; write it like 'https://example.com'")
    return base_url.rstrip("/")


class URLs:
    """The named routes of an App, whose `base_url` is "" where it has not been said."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._routes: dict[str, list[Route]] = {}

    def add(self, route: Route) -> None:
        """Remember a route by its name; several may share one."""
        self._routes.setdefault(route.name, []).append(route)

    def build(
        self,
        request: Request | None,
        name: str,
        params: dict[str, object],
        external: bool,
        anchor: str | None,
    ) -> str:
        """The URL for App.url_for. `request` is the current one if it is of this App."""
        route, values = self._find(request, name, params)
        query = {k: v for k, v in params.items() if k not in route.converters and v is not None}
        path = route.pattern.fill({k: values[k] for k in route.pattern.converters})
        if path.startswith("//"):  # a browser would take what follows for a host; "%2F" is the same value
            path = "/%2F" + path[2:]
        path += f"?{urlencode(query, doseq=True)}" if query else ""
        path += f"#{quote(anchor, safe=_SAFE_IN_PATH + '?')}" if anchor is not None else ""
        root = quote(request.root_path, safe=_SAFE_IN_PATH + "%") if request is not None else ""
        host = route.host.fill({k: values[k] for k in route.host.converters}) if route.host else ""
        if not host and not external:
            return root + path
        return self._origin(request, name, host, external, root) + path

    def _origin(self, request: Request | None, name: str, host: str, external: bool, root: str) -> str:
        """What stands before the path of a full URL, or of one for another host."""
        if self.base_url:
            parts = urlsplit(self.base_url)
            scheme, own, root = parts.scheme, split_host(parts.netloc.encode()), parts.path
        elif request is not None:
            scheme, own = request.scheme, split_host(request.host.encode("latin-1"))
            if own is None:  # a server of others has let it through; ours never does
                raise HTTPException(400, "The Host field is malformed.")
        elif external:
            raise ConfigurationError(
                f"url_for({name!r}, _external=True) outside a request needs App(base_url='https://example.com')"
            )
        else:
            return f"//{host}"
        assert own is not None
        if not external and request is not None and self._is_current(request, host):
            return root
        authority = (host or own[0]) + (f":{own[1]}" if own[1] is not None else "")
        return f"{scheme + ':' if external else ''}//{authority}{root}"

    def _is_current(self, request: Request, host: str) -> bool:
        current = split_host(request.host.encode("latin-1"))
        return current is not None and current[0].removesuffix(".") == host

    def _find(
        self, request: Request | None, name: str, params: dict[str, object]
    ) -> tuple[Route, dict[str, object]]:
        """The route that is meant, and the values for its parameters."""
        current: Route | None = request.exchange.route if request is not None else None
        if name.startswith("."):  # of the same router
            name = (current.name.rpartition(".")[0] + name if current is not None else name).lstrip(".")
        if not (routes := self._routes.get(name)):
            raise ConfigurationError(f"no route is named {name!r}; there are {', '.join(self._routes)}")
        fitting: list[tuple[Route, dict[str, object]]] = []
        problem: ValueError | None = None
        for route in routes:
            values = {k: v for k, v in params.items() if k in route.converters}
            if route.host and request is not None and _host_of(current) == route.host.text:
                # The same tenant, unless another is named.
                values = {**{k: request.params[k] for k in route.host.converters}, **values}
            try:
                route.pattern.fill({k: v for k, v in values.items() if k in route.pattern.converters})
                if route.host:
                    route.host.fill({k: v for k, v in values.items() if k in route.host.converters})
            except ValueError as error:
                problem = error
            else:
                fitting.append((route, values))
        if not fitting:
            raise ConfigurationError(f"url_for({name!r}): {problem}")
        most = max(len(values) for _, values in fitting)  # the one that takes up the most of what was given
        return _the_one(name, current, [(r, values) for r, values in fitting if len(values) == most])


def _host_of(route: Route | None) -> str | None:
    return route.host.text if route is not None and route.host is not None else None


def _the_one(
    name: str, current: Route | None, fitting: list[tuple[Route, dict[str, object]]]
) -> tuple[Route, dict[str, object]]:
    """Of several paths of one handler the first. Raises ConfigurationError where it is a matter of luck."""
    route = fitting[0][0]
    for other, _ in fitting:
        if other.handler is not route.handler:
            raise ConfigurationError(
                f"url_for({name!r}) may mean {route.pattern.text}, {describe(route.handler)}, or "
                f"{other.pattern.text}, {describe(other.handler)}; give the routers a name, or the routes"
            )
    here = [(r, values) for r, values in fitting if current is not None and r.places == current.places]
    if here:
        return here[0]
    for other, _ in fitting:
        if other.places != route.places:
            raise ConfigurationError(
                f"url_for({name!r}) may mean {route.pattern.text} or {other.pattern.text}; "
                "give include(router, name=...) a name for each"
            )
    return fitting[0]
