"""Programs written for tiny-listener, on Weebill's own event engine.

    from weebill.dialects.tiny_listener import Event, Listener, Param

    class App(Listener):
        async def listen(self):                # whatever the events come from
            ctx = self.new_ctx()
            ctx.trigger_event("say hi to ann")

    app = App()

    @app.on_event("say hi to {name}")
    async def say_hi(name: Param): ...         # or event: Event, and event.params["name"]

    app.run()                                  # or: weebill run module:app

The names are those of both its generations, and they are the engine's own (weebill/events.py): there is
nothing to translate. New is HTTPListener, where HTTP requests are the events and a handler returns what any
handler of Weebill may:

    app = HTTPListener()

    @app.on_event("GET:/user/{username}")
    async def hello(username: Param): return f"Hello, {username}!"
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ..app import App
from ..errors import HTTPException, StartError
from ..event_errors import (
    ContextAlreadyExists,
    ContextNotFound,
    DuplicateListener,
    EventAlreadyDone,
    EventAlreadyExists,
    EventDataError,
    EventNotFound,
    ListenerError,
    ListenerNotFound,
    PathParamsError,
    RouteError,
)
from ..events import (
    Context,
    Data,
    Depends,
    Event,
    Listener,
    Param,
    Route,
    depend,
    get_current_running_listener,
)
from ..exchange import ENCODED_SLASH, Exchange, Intake
from ..requests import Request
from ..responses import Response, to_response
from ..settings import Settings, load

__all__ = [
    "Context",
    "ContextAlreadyExists",
    "ContextNotFound",
    "Data",
    "Depends",
    "DuplicateListener",
    "Event",
    "EventAlreadyDone",
    "EventAlreadyExists",
    "EventApp",
    "EventDataError",
    "EventNotFound",
    "HTTPListener",
    "Listener",
    "ListenerError",
    "ListenerNotFound",
    "Param",
    "Params",
    "PathParamsError",
    "Route",
    "RouteError",
    "Scope",
    "depend",
    "get_current_running_listener",
]

# The first generation's names for plain dicts.
Params = dict[str, Any]
Scope = dict[str, Any]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class HTTPListener(Listener):
    """A listener whose events are HTTP requests, named like "GET:/user/{username}", on Weebill's server.

    `event.data["request"]` is the Request; its path is decoded and without the query. The event's result
    is the answer, sent when the event is done. `options` are those of the settings table: host, port, ...
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.addresses: list[tuple[str, int]] = []
        self._name = sys._getframe(1).f_globals.get("__name__")  # whose templates folder counts

    @property
    def settings(self) -> Settings:
        """The options as they hold. Raises ConfigurationError."""
        return load(self.options)

    def application(self) -> EventApp:
        """The events as an App, for TestClient or to be mounted in another App."""
        return EventApp(self, self._name)

    def run(self) -> None:
        """As Listener.run; what cannot start ends the process with code 3 and one sentence."""
        from ..server.log import configure_logging

        configure_logging(self.settings.log_level)
        try:
            super().run()
        except StartError as error:
            print(f"weebill: {error}", file=sys.stderr)
            raise SystemExit(3) from None

    def setup_event_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the settings name: uvloop where there is one."""
        from ..server.worker import loop_factory

        return loop_factory(self.settings.loop)()

    async def listen(self) -> None:
        """Serve until cancelled, then stop gracefully. `addresses` are (host, port) while it serves."""
        from ..server.worker import Worker

        worker = Worker(self.application(), self.settings)
        await worker.start()
        self.addresses = worker.addresses
        try:
            await worker.wait_stopped()
        finally:
            worker.stop()
            try:
                await worker.wait_stopped()
            except asyncio.CancelledError:  # no time is left
                worker.stop()
                await worker.wait_stopped()

    def report(self, event: Event[Any], error: Exception) -> None:
        """As Listener.report; an HTTPException is an answer and no failure."""
        if not isinstance(error, HTTPException):
            super().report(event, error)


class EventApp(App):
    """An App with one route, which makes an event of each request and answers with its result.

    A request that no event answers to is refused before its content is read: 404, or 405 with the methods
    that have an event at this path. HEAD is answered by the event of GET, OPTIONS by itself.
    """

    def __init__(self, listener: Listener[Any], name: str | None = None) -> None:
        super().__init__(name or __name__)
        self._listener = listener
        named = {route.path.partition(":")[0] for route in listener.routes.values()}
        self._methods = {*METHODS, *(name for name in named if name.isalpha() and name.isupper())}
        self.add_route("/{_:path}", self._answer, self._methods)

    def __intake__(self, exchange: Exchange) -> Intake:
        if exchange.refusal is not None or not exchange.path.startswith("/"):
            return super().__intake__(exchange)
        found = self._find(exchange.method, exchange.path)
        allow = "" if found else self._allow(exchange.path)
        if not found and not allow:
            exchange.refusal = HTTPException(404)
        elif not found and exchange.method != "OPTIONS":
            exchange.refusal = HTTPException(405, headers={"allow": allow})
        intake = super().__intake__(exchange)
        if exchange.refusal is None:
            exchange.params = {"event": found, "allow": allow}
        return intake

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, Any]] | None:
        for name in (method, "GET") if method == "HEAD" else (method,):
            try:
                return self._listener.match_route(f"{name}:{path}")
            except EventNotFound:
                continue
        return None

    def _allow(self, path: str) -> str:
        methods = {method for method in self._methods if self._find(method, path)}
        return ", ".join(sorted({*methods, "OPTIONS"})) if methods else ""

    async def _answer(self, request: Request) -> Response:
        if request.params["event"] is None:
            return Response(b"", 204, {"allow": request.params["allow"]})
        route, params = request.params["event"]
        request.params = {k: _with_slashes(v) for k, v in params.items()}
        event = self._listener.new_event(route, request.params, data={"request": request})
        try:
            await self._listener.start_event(event)
        except HTTPException:
            raise
        except Exception:  # the listener has reported it
            raise HTTPException(500) from None
        await event.wait_until_done()
        if event.error is not None and event.result is None:  # an on_error hook took it and says nothing
            self._listener.report(event, event.error)
            raise event.error if isinstance(event.error, HTTPException) else HTTPException(500)
        return to_response(event.result, route.fn)


def _with_slashes(value: Any) -> Any:
    return value.replace(ENCODED_SLASH, "/") if isinstance(value, str) else value
