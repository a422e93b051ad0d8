"""The answers that no route of the program gives: 404, 405, an OPTIONS that comes by itself, the redirect to
the other spelling of a path."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from .redirects import RedirectResponse
from .requests import Request
from .responses import Response

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["allow_field", "answer_options", "method_of_preflight", "other_spelling", "raise_refusal"]


async def raise_refusal(request: Request) -> Response:
    if "is_misspelt" in request.params:  # by now a middleware has found a proxy's prefix
        return RedirectResponse(other_spelling(request.exchange), 308)
    refusal = request.exchange.refusal
    assert refusal is not None
    raise refusal


async def answer_options(request: Request) -> Response:
    status = 200 if request.target == "*" else 204
    return Response(b"", status, {"allow": request.params["allow"]})


def allow_field(methods: set[str]) -> str:
    return ", ".join(sorted({"OPTIONS", *methods} | ({"HEAD"} if "GET" in methods else set())))


def method_of_preflight(exchange: Exchange) -> str:
    """The method that a browser asks leave for in the name of a script, "" if it does not ask."""
    for name, value in exchange.fields:
        if name.lower() == b"access-control-request-method":
            return value.decode("latin-1")
    return ""


def other_spelling(exchange: Exchange) -> str:
    raw = exchange.raw_path
    # One slash in front, or the browser would take what follows for a host.
    path = "/" + (raw[:-1] if raw.endswith("/") else raw + "/").lstrip("/")
    query = f"?{exchange.query_string}" if exchange.query_string else ""
    return (quote(exchange.root_path, safe="/%") + path + query).replace("\\", "%5C")
