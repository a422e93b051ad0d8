"""A notice board in the accent of TinyFlask.

python tiny_flask.py [port]                   the port is $PORT or 4221 by default

curl http://localhost:4221/
curl http://localhost:4221/echo/hello%20there
curl -d "Choir practice on Monday" http://localhost:4221/notices/choir
curl http://localhost:4221/notices/choir
curl --data-binary @photo.jpg http://localhost:4221/files/photo.jpg
curl -o copy.jpg http://localhost:4221/files/photo.jpg
curl --compressed http://localhost:4221/about
curl -d "" http://localhost:4221/stop         or press q and Enter here
"""

import os
import sys

from weebill.dialects.tiny_flask import HTTPServer, Request, Response

# From here on it listens; what is registered below counts as soon as it is.
app = HTTPServer(int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "4221")))
app.client_time_out = 60

notices: dict[str, str] = {}
files: dict[str, bytes] = {}


@app.route("/")
def index(request: Request) -> str:
    """Text is text/plain."""
    return f"{len(notices)} notices, {len(files)} files\n"


@app.route("/echo/{string}")
def echo(request: Request, string: str) -> str:
    """A segment of the path, decoded, by its name."""
    return string


@app.route("/request", methods=["GET", "POST", "PUT", "DELETE"])
def show_request(request: Request) -> Response:
    """Everything that there is to see of a request."""
    response = Response()
    response.body = "\n".join(
        [
            f"{request.method} {request.target} {request.http_version}",
            *(f"{name}: {value}" for name, value in sorted(request.headers.items())),
            "",
            request.body,
        ]
    )
    return response


@app.route("/notices/{name}")
def notice(request: Request, name: str) -> str | Response:
    """A Response where the status is another than 200."""
    if name not in notices:
        missing = Response("HTTP/1.1", "404", "Not Found")
        missing.body = f"Nobody has put up {name}.\n"
        return missing
    return notices[name]


@app.route("/notices/{name}", methods=["POST"])  # type: ignore[no-redef]
def notice(request: Request, name: str) -> Response:  # noqa: F811
    """The same path and the same name with another method."""
    notices[name] = request.body
    created = Response(status_code=201, reason="Created")
    created.add_header("Location", f"/notices/{name}")
    return created


@app.route("files/{name}")
def download(request: Request, name: str) -> Response:
    """No slash in front is as good as one; bytes are sent as they are."""
    response = Response()
    if name in files:
        response.body = files[name]
        response.add_header("content-type", "application/octet-stream")
    else:
        response.status_code = 404
    return response


@app.route("files/{name}/", methods=["POST"])
def upload(request: Request, name: str) -> Response:
    """Content of any bytes."""
    files[name] = request.raw_body
    return Response(status_code=201)


@app.route("/about")
def about(request: Request) -> Response:
    """Long enough to be compressed for who accepts it."""
    response = Response()
    response.body = "<!doctype html><title>About</title>" + "<p>This is a notice board.</p>" * 100
    response.headers["Content-Type"] = "text/html; charset=utf-8"
    return response


@app.route("/stop", methods=["POST"])
def stop(request: Request) -> str:
    """This answer is still given."""
    app.stop_server()
    return "Bye.\n"
