"""The servers that are measured: how each is started, and which works it does.

Each runs as its own documentation has it for speed, with one worker and without a log.
"""

from __future__ import annotations

from dataclasses import dataclass

from works import (
    DEF,
    ECHO,
    FIELDS,
    HOOKS,
    PIPELINED,
    PLAIN,
    ROUTES,
    STATIC_4K,
    STATIC_16M,
    STATIC_64K,
    STREAM,
    TABLE,
    TYPED,
    UPLOAD,
    USER,
    VARIED,
    Work,
)

NGINX, WEEBILL, STARLETTE, FASTAPI = "nginx", "Weebill", "Starlette on uvicorn", "FastAPI on uvicorn"
FLASK, SOCKETIFY, GRANIAN = "Flask on gunicorn threads", "socketify", "bare RSGI function on Granian"
WITH_LOG, STARLETTE_HERE = "Weebill with access log", "Starlette on Weebill"
TEN_ROUTES, THOUSAND_ROUTES = "Weebill with 10 routes", "Weebill with 1,000 routes"

_WEEBILL = "python -m weebill run {} --port {{port}} --log-level critical"
_UVICORN = (
    "python -m uvicorn {} --port {{port}} --loop uvloop --http httptools --no-server-header "
    "--no-access-log --log-level critical"
)
_GRANIAN = "python -m granian {} --port {{port}} --interface {} --http 1 --no-ws --loop uvloop --no-log"
_BOTH = (PLAIN, USER)
_SHARED = (FIELDS, TABLE, DEF, HOOKS, ECHO, UPLOAD, STATIC_4K, STATIC_64K, STATIC_16M, STREAM)


@dataclass(frozen=True)
class Peer:
    """`{port}` in `command` is where it shall listen. `packages` are those of PyPI whose versions are told.
    A `framework` has routes, requests and responses; others answer by hand."""

    command: str
    works: tuple[Work, ...]
    packages: tuple[str, ...] = ()
    framework: bool = False


SERVERS = {
    WEEBILL: Peer(
        _WEEBILL.format("weebill_app.py"),
        (*_BOTH, VARIED, *_SHARED, TYPED, PIPELINED),
        ("weebill", "httptools", "uvloop", "msgspec"),
    ),
    NGINX: Peer("python nginx.py {port}", (*_BOTH, STATIC_16M)),
    STARLETTE: Peer(
        _UVICORN.format("starlette_app:app"), (*_BOTH, VARIED, *_SHARED), ("starlette", "uvicorn"), True
    ),
    FASTAPI: Peer(_UVICORN.format("fastapi_app:app"), (*_BOTH, TYPED), ("fastapi", "pydantic"), True),
    GRANIAN: Peer(_GRANIAN.format("rsgi_app:app", "rsgi"), (*_BOTH, VARIED), ("granian",)),
    "bare ASGI function on Granian": Peer(_GRANIAN.format("asgi_app:app", "asgi"), _BOTH),
    "bare ASGI function on uvicorn": Peer(_UVICORN.format("asgi_app:app"), _BOTH),
    "bare WSGI function on FastPySGI": Peer("python fastpysgi_app.py {port}", _BOTH, ("fastpysgi",)),
    SOCKETIFY: Peer("python socketify_app.py {port}", (*_BOTH, VARIED), ("socketify",), True),
    "BlackSheep on Granian": Peer(
        _GRANIAN.format("blacksheep_app:app", "asgi"), _BOTH, ("blacksheep",), True
    ),
    "Falcon on Granian": Peer(_GRANIAN.format("falcon_app:app", "asgi"), _BOTH, ("falcon",), True),
    "Robyn": Peer("python robyn_app.py {port} --log-level ERROR", _BOTH, ("robyn",), True),
    "Sanic": Peer("python sanic_app.py {port}", _BOTH, ("sanic",), True),
    "aiohttp": Peer("python aiohttp_app.py {port}", _BOTH, ("aiohttp",), True),
    FLASK: Peer(
        "python -m gunicorn flask_app:app --bind 127.0.0.1:{port} --worker-class gthread --threads 8 "
        "--timeout 0 --log-level critical",  # it sleeps while others are measured
        (*_BOTH, DEF),
        ("flask", "gunicorn"),
        True,
    ),
    WITH_LOG: Peer("python -m weebill run weebill_app.py --port {port} --access-log", (USER,)),
    STARLETTE_HERE: Peer(_WEEBILL.format("starlette_app.py"), _BOTH),
    TEN_ROUTES: Peer(f"env ROUTES=10 {_WEEBILL.format('weebill_routes.py')}", ROUTES),
    THOUSAND_ROUTES: Peer(f"env ROUTES=1000 {_WEEBILL.format('weebill_routes.py')}", ROUTES),
}
QUICK = [WEEBILL, STARLETTE, FASTAPI, GRANIAN, WITH_LOG, STARLETTE_HERE, TEN_ROUTES, THOUSAND_ROUTES]
