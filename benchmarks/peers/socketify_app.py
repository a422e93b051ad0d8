"""`python socketify_app.py PORT`."""

import sys
from typing import Any

from socketify import App, AppListenOptions

TEXT = b"text/plain; charset=utf-8"


def plain(response: Any, request: Any) -> None:
    response.send(b"Hello, world!", content_type=TEXT)


def user(response: Any, request: Any) -> None:
    response.send(f"Hello, {request.get_parameter(0)}!", content_type=TEXT)


if __name__ == "__main__":
    app = App(request_response_factory_max_items=200_000)
    app.get("/", plain)
    app.get("/user/:name", user)
    app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda config: None)
    app.run()
