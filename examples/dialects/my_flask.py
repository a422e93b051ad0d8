"""A guest book in the accent of MyFlask.

python my_flask.py [routes|handler|files]     the port is $PORT or 3000 by default

routes     functions by path, with templates
handler    a handler class of the standard library's http.server
files      the files of the current folder

curl http://localhost:3000/
curl -d "A fine place" http://localhost:3000/guests/ann       with handler
curl http://localhost:3000/guests/ann
curl -i http://localhost:3000/coffee
"""

import os
import sys
from http.server import BaseHTTPRequestHandler

from weebill.dialects.my_flask import MyFlask, abort, render_template

PORT = os.environ.get("PORT", "3000")
guests: dict[str, str] = {"bob": "Lovely <birds>!"}


def with_routes() -> MyFlask:
    """An application of functions."""
    app = MyFlask(__name__)

    @app.route("/", methods=["GET"])
    def index() -> str:
        return render_template("index.html", context={"PORT": PORT, "COUNT": len(guests)})

    @app.route("/guests/{name}")
    def guest(name: str) -> str:
        if name not in guests:
            abort(404, f"{name} was never here.")
        return render_template("guest.html", context={"NAME": name, "WORDS": guests[name]}, strict=True)

    @app.route("/guests/<name>", methods=["PUT", "DELETE"])
    def forget(name: str) -> tuple[str, int]:
        return f"{name} cannot be changed.", 403

    @app.route("/guests.json")
    def as_json() -> dict[str, str]:
        return guests

    @app.route("/dot.gif")
    def dot() -> tuple[bytes, int, dict[str, str]]:
        pixel = b"GIF89a\1\0\1\0\0\0\0;"
        return pixel, 200, {"Content-Type": "image/gif", "Cache-Control": "max-age=3600"}

    @app.route("/raw/<path:rest>")
    def raw(rest: str) -> bytes:
        return rest.encode()

    @app.route("/coffee")
    def coffee() -> None:
        abort(418)

    return app


class GuestBook(BaseHTTPRequestHandler):
    """The same as a handler class, as for http.server.HTTPServer."""

    def do_GET(self) -> None:
        """A page for each guest."""
        name = self.path.rpartition("/")[2]
        if self.path == "/coffee":
            self.send_error(418)
        elif self.path == "/":
            self._answer(render_template("index.html", context={"PORT": PORT, "COUNT": len(guests)}))
        elif name in guests:
            self._answer(render_template("guest.html", context={"NAME": name, "WORDS": guests[name]}))
        else:
            self.send_error(404, explain=f"{name} was never here.")

    def do_POST(self) -> None:
        """What a guest writes."""
        length = int(self.headers.get("Content-Length", 0))
        guests[self.path.rpartition("/")[2]] = self.rfile.read(length).decode()
        self._answer("Thank you!\n", 201)

    def _answer(self, page: str, status: int = 200) -> None:
        content = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def make(mode: str = "routes") -> MyFlask:
    """The application that was asked for."""
    if mode == "handler":
        return MyFlask(GuestBook)
    return MyFlask() if mode == "files" else with_routes()


if __name__ == "__main__":
    make(*sys.argv[1:]).run(host="127.0.0.1", port=PORT)
