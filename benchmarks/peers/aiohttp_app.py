"""`python aiohttp_app.py PORT`."""

import sys

import uvloop
from aiohttp import web


async def plain(request: web.Request) -> web.Response:
    return web.Response(text="Hello, world!")


async def user(request: web.Request) -> web.Response:
    return web.Response(text=f"Hello, {request.match_info['name']}!")


app = web.Application()
app.add_routes([web.get("/", plain), web.get("/user/{name}", user)])

if __name__ == "__main__":
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
