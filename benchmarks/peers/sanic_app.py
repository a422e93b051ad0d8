"""`python sanic_app.py PORT`."""

import sys

from sanic import HTTPResponse, Request, Sanic, text

app = Sanic("bench")
app.config.MOTD = False


@app.get("/")
async def plain(request: Request) -> HTTPResponse:
    return text("Hello, world!")


@app.get("/user/<name>")
async def user(request: Request, name: str) -> HTTPResponse:
    return text(f"Hello, {name}!")


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(sys.argv[1]), single_process=True, access_log=False)
