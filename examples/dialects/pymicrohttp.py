"""A bird list in the accent of PyMicroHTTP.

python pymicrohttp.py [port]                  the port is $PORT or 9090 by default

curl http://localhost:9090/birds
curl "http://localhost:9090/birds?lighter=8"
curl -X PUT -d '{"grams": 340}' -H "Authorization: Bearer chirp" http://localhost:9090/birds/kookaburra
curl http://localhost:9090/birds/kookaburra
curl -X DELETE -H "Authorization: Bearer chirp" http://localhost:9090/birds/kookaburra
curl -X WHISTLE http://localhost:9090/ping
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from weebill.dialects.pymicrohttp import Server

Request = dict[str, Any]
Handler = Callable[[Request], Any]

s = Server()
birds: dict[str, float] = {"weebill": 6, "fairywren": 10}
seen: list[str] = []


@s.beforeAll()
def count(next: Handler) -> Handler:  # noqa: A002
    """Outermost: it sees every request, and those that nothing answers to, too."""

    def handler(request: Request) -> Any:
        seen.append(f"{request['verb']} {request['path']}")
        return next(request)

    return handler


@s.before_all()
def close_at_night(next: Handler) -> Handler:  # noqa: A002
    """It may answer by itself."""

    def handler(request: Request) -> Any:
        if request["headers"].get("x-hour") == "night":
            return "The birds are asleep.\n", 503, {"Retry-After": "3600"}
        return next(request)

    return handler


def need_token(next: Handler) -> Handler:  # noqa: A002
    """For some handlers only."""

    def handler(request: Request) -> Any:
        if request["headers"].get("authorization") != "Bearer chirp":
            return {"error": "who are you?"}, 401, {"WWW-Authenticate": "Bearer"}
        return next(request)

    return handler


def read_json(next: Handler) -> Handler:  # noqa: A002
    """It may add to the request."""

    def handler(request: Request) -> Any:
        try:
            request["json"] = json.loads(request["body"])
        except ValueError as error:
            return {"error": str(error)}, 400
        return next(request)

    return handler


@s.register("GET /birds")
def list_birds(request: Request) -> list[str]:
    """A list is JSON; the query is decoded."""
    limit = float(request["query"].get("lighter", "inf"))
    return [name for name, grams in birds.items() if grams < limit]


@s.register("GET /birds/heaviest")
def heaviest(request: Request) -> str:
    """An exact path goes before a pattern."""
    return max(birds, key=birds.__getitem__) + "\n"


@s.register("GET /birds/:name")
def show_bird(request: Request) -> dict[str, Any] | tuple[dict[str, Any], int]:
    """A dict is JSON; a tuple has a status."""
    name = request["params"]["name"]
    if name not in birds:
        return {"error": f"there is no {name}"}, 404
    return {"name": name, "grams": birds[name]}


@s.register("PUT /birds/:name", [need_token, read_json])
def put_bird(request: Request) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The first of the list is the outermost."""
    name = request["params"]["name"]
    birds[name] = request["json"]["grams"]
    return {"name": name}, 201, {"Location": f"/birds/{name}"}


@s.register("DELETE /birds/:name", need_token)
def delete_bird(request: Request) -> None:
    """Nothing is 204."""
    birds.pop(request["params"]["name"], None)


@s.register("* /ping")
def ping(request: Request) -> str:
    """Any verb."""
    return f"pong to {request['verb']}\n"


def show_seen(request: Request) -> tuple[str, int, dict[str, str]]:
    """A content type of one's own."""
    return "\n".join(["request", *seen]), 200, {"Content-Type": "text/csv"}


def echo(request: Request) -> bytes:
    """Bytes are sent as they are."""
    lines = [f"{name}: {value}" for name, value in request["headers"].items()]
    return "\n".join([*lines, "", request["body"]]).encode("utf-8", "surrogateescape")


s.register_handler("GET /seen", show_seen)
s.register_handler("POST /echo", echo)

if __name__ == "__main__":
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "9090"))
    s.start_server(host="127.0.0.1", port=port, listen_msg=True)
