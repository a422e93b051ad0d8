"""A foreign application, or another App, below a prefix of ours."""

from __future__ import annotations

from typing import Any, cast

from .exchange import Application, Exchange, ExchangeAround, Intake
from .headers import Fields
from .requests import Request, current_request
from .responses import Response

__all__ = ["Mount", "MountResponse", "answer_mounted"]

_LISTS = frozenset(
    (
        *(b"link", b"ratelimit", b"ratelimit-policy", b"server-timing", b"set-cookie", b"vary", b"via"),
        b"www-authenticate",
    )
)


class Mount:
    """One request on its way into a mounted application.

    Inside, the path is what is left of it and the prefix has moved to `root_path`; hooks and middleware
    of the outer app see the request as it came. `enter` and `leave` change between the two views.
    """

    def __init__(self, application: Application, prefix: str, exchange: Exchange) -> None:
        self.application = application
        self.exchange = exchange
        self.prefix = prefix
        self._other: tuple[Any, ...] = ()

    def intake(self) -> Intake:
        """Ask the mounted application how it takes the content in."""
        exchange, prefix = self.exchange, self.prefix
        inside: tuple[Any, ...] = (
            exchange.root_path + prefix,
            exchange.path[len(prefix) :] or "/",
            _without_segments(exchange.raw_path, prefix.count("/")),
            None,
            {},
            None,
        )
        self._other = inside
        self.switch()
        intake = self.application.__intake__(exchange)
        self.switch()
        return intake

    def switch(self) -> None:
        """Change from the outer view to the inner, or back."""
        ex, other = self.exchange, self._other
        self._other = (ex.root_path, ex.path, ex.raw_path, ex.route, ex.params, ex.refusal)
        ex.root_path, ex.path, ex.raw_path, ex.route, ex.params, ex.refusal = other


def _without_segments(raw_path: str, count: int) -> str:
    return "/" + "/".join(raw_path.split("/")[count + 1 :])


class MountResponse(Response):
    """The answer that the mounted application is going to give."""

    def __init__(self, mount: Mount) -> None:
        super().__init__()
        self.mount = mount

    async def send(self, exchange: Exchange) -> None:
        """Let the mounted application answer, and add the fields that the outer app has set. Where both set
        one, the mounted application's counts, as a handler's would; lists are joined."""
        root_path = exchange.root_path + self.mount.prefix  # a middleware may have found a proxy's prefix
        self.mount.switch()
        exchange.root_path = root_path
        if self.raw_headers:
            exchange = cast(Exchange, _WithFields(exchange, self.raw_headers))
        outer = current_request.get(None)
        try:
            await self.mount.application.__exchange__(exchange)
        finally:
            self.mount.switch()  # what the outer app does afterwards sees its own request
            if outer is not None:
                current_request.set(outer)


async def answer_mounted(request: Request) -> Response:
    """The handler of a mount."""
    return MountResponse(request.params["mount"])


class _WithFields(ExchangeAround):
    """An exchange whose answer gets some more fields."""

    def __init__(self, exchange: Exchange, fields: Fields) -> None:
        super().__init__(exchange)
        vars(self)["_fields"] = fields

    async def respond(self, status: int, fields: Fields, content: bytes = b"") -> None:
        await self.exchange.respond(status, self._joined(fields), content)

    async def start(self, status: int, fields: Fields) -> None:
        await self.exchange.start(status, self._joined(fields))

    def _joined(self, fields: Fields) -> Fields:
        names = {name.lower() for name, _ in fields} - _LISTS
        return [*fields, *(field for field in self._fields if field[0].lower() not in names)]
