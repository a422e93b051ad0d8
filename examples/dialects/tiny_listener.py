"""A tea shop whose orders are events.

python tiny_listener.py            the shop on Weebill's server (HTTPListener)
python tiny_listener.py by-hand    the same handlers behind a `listen` of one's own, with asyncio and h11

curl http://127.0.0.1:8000/
curl http://127.0.0.1:8000/tea/green
curl -d "jasmine" http://127.0.0.1:8000/orders/ann/3
curl http://127.0.0.1:8000/orders/ann
curl http://127.0.0.1:8000/kettle & curl -X POST http://127.0.0.1:8000/kettle/whistle
"""

import asyncio
import os
import sys
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import h11

from weebill.dialects.tiny_listener import (
    Context,
    ContextNotFound,
    Data,
    Depends,
    Event,
    EventNotFound,
    HTTPListener,
    Listener,
    Param,
    depend,
    get_current_running_listener,
)


class Customer(Context):
    """One customer's orders; `scope` holds the bill."""

    @property
    def bill(self) -> int:
        """What it costs so far, in cents."""
        return int(self.scope.setdefault("bill", 0))


# -- what handlers depend on


async def get_prices() -> dict[str, int]:
    """As if from a database; once per customer."""
    return {"green": 300, "black": 250, "jasmine": 400}


async def get_tea(request: Data) -> str:
    """The tea that the order's content names; a new one for each order, so it is not cached."""
    return str(request.body.decode().strip())


async def get_price(prices: dict[str, int] = Depends(get_prices), tea: str = Depends(get_tea, False)) -> int:
    """The price of the ordered tea."""
    return prices[tea]


async def get_receipt_book() -> list[str]:
    """One for each customer: all who depend on it within one context share it."""
    return []


# -- handlers


async def home(event: Event) -> str:
    """What there is."""
    assert event.listener is get_current_running_listener()
    lines = [f"{route.path}  ({route.opts['help']})" for route in event.listener.routes.values()]
    return "\n".join(["Welcome to the tea shop!", *lines, ""])


async def show_tea(kind: Param, prices: dict[str, int] = depend(get_prices, timeout=5)) -> dict[str, Any]:
    """A path parameter and a dependency."""
    return {"tea": kind, "price": prices[kind]}


async def order(
    event: Event[Customer], name: Param, cups: Param, price: int = Depends(get_price, use_cache=False)
) -> tuple[dict[str, Any], int]:
    """An order is packed and billed at the same time, as events of the customer's own context."""
    customer = event.listener.ctxs.get(name) or event.listener.new_ctx(name, scope={"bill": 0})
    before = len(customer.events.get(event.listener.get_route("pack"), ()))
    # The receipt waits until the packing that is triggered after it is done.
    receipt = customer.trigger_event(f"write receipt {before + 1}", timeout=5)
    customer.trigger_event(f"pack {cups} cups", data={"price": price})
    return {"customer": name, "receipt": await receipt, "bill": customer.bill}, 201


async def pack(event: Event[Customer], customer: Customer, cups: Param, price: Data) -> str:
    """Inner events have data, too."""
    customer.scope["bill"] = customer.bill + cups * price
    return f"{cups} cups"


async def write_receipt(event: Event, number: Param, book: list[str] = Depends(get_receipt_book)) -> str:
    """Waits for at least that many packings of this customer."""
    packed = await event.wait_event_done("pack", n=number, timeout=5)
    book.append(packed[-1])
    return f"no. {number} of {len(book)}: {packed[-1]}"


async def show_orders(event: Event, name: Param) -> dict[str, Any]:
    """A living context, by name. ContextNotFound goes to the on_error hook."""
    customer = event.listener.get_ctx(name)
    packings = customer.events[event.listener.get_route("pack")]
    return {
        "customer": customer.cid,
        "bill": customer.bill,
        "packed": [e.result for e in packings if e.is_done],
        "known": sorted(dependency.fn.__name__ for dependency in customer.cache),
    }


async def leave(event: Event, name: Param) -> dict[str, bool]:
    """The customer goes, and the context with all its events."""
    customer = event.listener.get_ctx(name)
    return {"left": customer.drop(), "here": customer.is_alive}


async def boil(event: Event, ctx: Customer) -> str:
    """The event is done when somebody else says so; HTTPListener answers then."""
    event.prevent_auto_done()
    event.listener.kettles.append(event)
    return f"Tea! ({len(ctx.events)} route in this context)"


async def whistle(event: Event, listening: Any = None) -> str:
    """Says so."""
    kettles = event.listener.kettles
    for kettle in kettles:
        kettle.done()
        await kettle.wait_until_done()
    count = len(kettles)
    kettles.clear()
    return f"{count} kettles"


async def retry(event: Event) -> Any:
    """An event made, run and ended by hand, in the same context."""
    route, params = event.listener.match_route("GET:/tea/green")
    inner = event.ctx.new_event(route, params=params)
    result = await inner()
    inner.done()
    return result


async def oversleep() -> None:
    """Takes longer than its event may."""
    await asyncio.Event().wait()


async def nap(event: Event) -> str:
    """A timeout of its own for an inner event; its on_error hook speaks for it."""
    return str(await event.ctx.trigger_event("oversleep", timeout=0.05))


async def close_shop(event: Event) -> str:
    """Stops the program once this is answered."""
    await event.listener.graceful_shutdown()
    return "Good night."


async def give_away() -> str:
    """On holidays only."""
    return "Free tea!"


async def anything_else(event: Event, bare: Any = None) -> tuple[str, int]:
    """The default pattern; registered last, so it gets what nobody else wants."""
    return f"We have no {event.params['_']!r}.\n", 404


# -- hooks


async def count_events(ctx: Customer) -> None:
    """Before each event."""
    ctx.scope["events"] = ctx.scope.get("events", 0) + 1


async def log_event(event: Event) -> None:
    """After each event that succeeded."""
    print(f"{event.route.name} has returned {type(event.result).__name__}", flush=True)


async def not_there(event: Event) -> None:
    """For a KeyError (no such tea) and a ContextNotFound (no such customer)."""
    event.result = ({"error": str(event.error)}, 404)


async def too_slow(event: Event) -> None:
    """For a TimeoutError."""
    event.result = "I overslept."


async def open_doors() -> None:
    """At start."""
    print("The doors are open.", flush=True)


async def lock_doors() -> None:
    """At the end, to its end."""
    await asyncio.to_thread(print, "The doors are locked.", flush=True)


def furnish(app: Any) -> Any:
    """Register everything: by decorators, and by the functions behind them."""
    app.kettles = []
    app.set_context_cls(Customer)
    app.startup(open_doors)
    app.add_shutdown_callback(lock_doors)
    app.before_event(count_events)
    app.add_after_event_hook(log_event)
    app.on_error(KeyError)(not_there)
    app.add_on_error_hook(not_there, ContextNotFound)
    app.on_error(TimeoutError)(too_slow)
    app.on_event("GET:/", help="this list")(home)
    app.on_event("GET:/tea/{kind}", help="its price")(show_tea)
    app.on_event("POST:/orders/{name:str}/{cups:int}", help="order the tea in the content")(order)
    app.on_event("GET:/orders/{name}", help="your bill")(show_orders)
    app.on_event("DELETE:/orders/{name}", help="leave")(leave)
    app.on_event("GET:/kettle", help="wait for the kettle")(boil)
    app.on_event("POST:/kettle/whistle", help="it boils")(whistle)
    app.on_event("GET:/retry", help="an event by hand")(retry)
    app.on_event("GET:/nap", help="a timeout")(nap)
    app.on_event("POST:/close", help="stop")(close_shop)
    app.on_event("pack {cups:int} cups", help="inner")(pack)
    app.on_event("write receipt {number:int}", help="inner")(write_receipt)
    app.on_event("oversleep", help="inner")(oversleep)
    app.add_on_event_hook(give_away, "GET:/free-tea", help="on holidays only")
    app.remove_on_event_hook("give_away")  # today is none
    app.on_event(help="whatever else")(anything_else)
    return app


# -- the same behind a `listen` of one's own


class ByHand(Listener[Customer]):
    """A small HTTP server as the older programs have it: its own sockets, its own parser."""

    kettles: list[Event]

    @staticmethod
    def setup_event_loop() -> asyncio.AbstractEventLoop:
        """Another kind of loop would be made here."""
        return asyncio.new_event_loop()

    def install_signal_handlers(self) -> None:
        """As ever; further signals would be added here."""
        super().install_signal_handlers()

    async def listen(self) -> None:
        """Serve until it is time to stop."""
        port = int(os.environ.get("PORT", "8000"))
        server = await asyncio.start_server(self.serve, "127.0.0.1", port)
        host, port = server.sockets[0].getsockname()
        print(f"by hand: listening on http://{host}:{port}", file=sys.stderr, flush=True)
        try:
            await self.wait_for_shutdown()
        finally:
            server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request for each connection."""
        connection = h11.Connection(h11.SERVER)
        try:
            request = await self.read(connection, reader)
            content, status = await self.answer(request)
            data = str(content).encode()
            headers = [("content-length", str(len(data))), ("connection", "close")]
            head = h11.Response(status_code=status, reason=HTTPStatus(status).phrase, headers=headers)
            for event in (head, h11.Data(data=data), h11.EndOfMessage()):
                writer.write(connection.send(event) or b"")
            await writer.drain()
        except (h11.ProtocolError, OSError) as error:
            print(f"by hand: {error}", file=sys.stderr, flush=True)
        finally:
            writer.close()

    async def read(self, connection: h11.Connection, reader: asyncio.StreamReader) -> SimpleNamespace:
        """The whole of a request."""
        request = SimpleNamespace(method="", target="", body=b"")
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request.method, request.target = event.method.decode(), event.target.decode()
            elif isinstance(event, h11.Data):
                request.body += event.data
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("a client went without a request")
        return request

    async def answer(self, request: SimpleNamespace) -> tuple[Any, int]:
        """Make an event of the request, and wait for its result."""
        try:
            event_name = f"{request.method}:{request.target.partition('?')[0]}"
            result = await self.trigger_event(event_name, data={"request": request})
        except EventNotFound:
            return "Nothing here.", 404
        except Exception:  # the listener has logged it
            return "Sorry.", 500
        return result if isinstance(result, tuple) else (result, 200)


app = furnish(HTTPListener())
by_hand = furnish(ByHand())

if __name__ == "__main__":
    (by_hand if sys.argv[1:] == ["by-hand"] else app).run()
