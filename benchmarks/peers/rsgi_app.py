"""RSGI by hand, no framework: what Granian itself costs."""

import json
from typing import Any
from urllib.parse import unquote

BIRD = {"id": 17, "name": "Weebill", "grams": 6.0, "heard": True, "places": ["mallee", "woodland"]}
TEXT = [("content-type", "text/plain; charset=utf-8")]
JSON = [("content-type", "application/json")]


async def app(scope: Any, protocol: Any) -> None:
    path = scope.path
    if path == "/":
        protocol.response_str(200, TEXT, "Hello, world!")
    elif path.startswith("/user/"):
        protocol.response_str(200, TEXT, f"Hello, {unquote(path[6:])}!")
    elif path == "/json":
        protocol.response_bytes(200, JSON, json.dumps(BIRD, separators=(",", ":")).encode())
    else:
        protocol.response_str(404, TEXT, "Not Found")
