"""`python robyn_app.py PORT --log-level ERROR`."""

import sys

from robyn import Request, Robyn

app = Robyn(__file__)


@app.get("/")
def plain() -> str:
    return "Hello, world!"


@app.get("/user/:name")
def user(request: Request) -> str:
    return f"Hello, {request.path_params['name']}!"


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(sys.argv[1]), _check_port=False)
