"""ASGI by hand, no framework: what uvicorn itself costs."""

import json
from typing import Any
from urllib.parse import unquote

BIRD = {"id": 17, "name": "Weebill", "grams": 6.0, "heard": True, "places": ["mallee", "woodland"]}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    path, content_type, status = scope["path"], b"text/plain; charset=utf-8", 200
    if path == "/":
        body = b"Hello, world!"
    elif path.startswith("/user/"):
        body = f"Hello, {unquote(path[6:])}!".encode()
    elif path == "/json":
        body, content_type = json.dumps(BIRD, separators=(",", ":")).encode(), b"application/json"
    else:
        body, status = b"Not Found", 404
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", content_type)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
