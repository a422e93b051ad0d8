"""RSGI by hand, no framework: what Granian itself costs."""

from typing import Any
from urllib.parse import unquote

TEXT = [("content-type", "text/plain; charset=utf-8")]


async def app(scope: Any, protocol: Any) -> None:
    path = scope.path
    if path == "/":
        protocol.response_str(200, TEXT, "Hello, world!")
    elif path.startswith("/user/"):
        protocol.response_str(200, TEXT, f"Hello, {unquote(path[6:])}!")
    else:
        protocol.response_str(404, TEXT, "Not Found")
