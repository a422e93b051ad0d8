from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

BIRD = {"id": 17, "name": "Weebill", "grams": 6.0, "heard": True, "places": ["mallee", "woodland"]}


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello, world!")


async def user(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Hello, {request.path_params['name']}!")


def sync(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello, world!")


async def json(request: Request) -> JSONResponse:
    return JSONResponse(BIRD)


app = Starlette(
    routes=[Route("/", plain), Route("/user/{name}", user), Route("/def", sync), Route("/json", json)]
)
