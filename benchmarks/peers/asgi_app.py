"""ASGI by hand, no framework: what the server itself costs."""

from typing import Any
from urllib.parse import unquote


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    path, status = scope["path"], 200
    if path == "/":
        body = b"Hello, world!"
    elif path.startswith("/user/"):
        body = f"Hello, {unquote(path[6:])}!".encode()
    else:
        body, status = b"Not Found", 404
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
