"""WSGI by hand, no framework: what FastPySGI itself costs. `python fastpysgi_app.py PORT`."""

import sys
from collections.abc import Callable
from typing import Any

import fastpysgi

TEXT = [("Content-Type", "text/plain; charset=utf-8")]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/":
        start_response("200 OK", TEXT)
        return [b"Hello, world!"]
    if path.startswith("/user/"):
        start_response("200 OK", TEXT)
        return [f"Hello, {path[6:]}!".encode()]
    start_response("404 Not Found", TEXT)
    return [b"Not Found"]


if __name__ == "__main__":
    fastpysgi.run(app, host="127.0.0.1", port=int(sys.argv[1]), loglevel=0)
