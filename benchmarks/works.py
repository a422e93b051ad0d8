"""The kinds of request that are measured: what is asked, and the answer that every server must give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from answers import BIRD, CHUNK, rows

TEXT, JSON, BYTES = "text/plain", "application/json", "application/octet-stream"


@dataclass(frozen=True, eq=False)
class Work:
    """One kind of request, and the answer to it: text, bytes, or what its JSON holds. With `content` it is a
    POST. `script` is Lua that makes wrk's requests, where they are not all the same."""

    name: str
    path: str
    answer: object
    media_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    connections: int = 64
    seconds: int = 2
    script: str = ""


# -- what is asked, and answered

BROWSER = {  # with Host, which wrk adds, eleven
    "Connection": "keep-alive",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=eyJ1c2VyIjoiYm9iIn0; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
SIGHTING = json.dumps(  # 1 KiB
    {
        "site": "Mallee, Victoria",
        "birds": [
            {"id": n, "name": f"Weebill {n}", "grams": 6.5, "heard": True, "places": ["mallee", "woodland"]}
            for n in range(9)
        ],
        "note": "Heard far, seen rarely. " * 5,
    }
).encode()
BLOB = bytes(range(256)) * 4096  # 1 MiB
FILES = {"4k.bin": BLOB[: 4 << 10], "64k.bin": BLOB[: 64 << 10], "16m.bin": BLOB * 16}
_BOUNDARY = "----WebKitFormBoundarymW8sQ2xLb5TzK9dA"  # as a browser makes it
_LINE = b"--" + _BOUNDARY.encode()
_PART = b'Content-Disposition: form-data; name="file"; filename="song.bin"'

# -- how wrk asks, where its requests are not all the same

# What differs is made before it is measured; 20,000 are more than anybody keeps.
_EACH_ANOTHER = """
local requests, next = {}, 0
function init(args)
  for n = 1, 20000 do
    wrk.headers["Cookie"] = string.format("session=%032x; theme=dark; seen=%d", n * 7919, n)
    requests[n] = wrk.format("GET", "/user/bob" .. n)
  end
end
function request()
  next = next % #requests + 1
  return requests[next]
end
"""
_SIXTEEN = """
local requests
function init(args)
  requests = string.rep(wrk.format("GET", "/"), 16)
end
function request()
  return requests
end
"""

# -- the works

PLAIN = Work("plain GET", "/", "Hello, world!")
USER = Work("GET /user/{name}, 11 headers", "/user/bob", "Hello, bob!", headers=BROWSER)
VARIED = Work(
    "the same, each with another name and cookie",
    "/user/bob1",
    "Hello, bob1!",
    headers=BROWSER,
    script=_EACH_ANOTHER,
)
FIELDS = Work("JSON of 10 fields", "/json", BIRD, JSON)
TABLE = Work("JSON of 10,000 rows, 8 connections", "/rows", rows(), JSON, connections=8, seconds=3)
TYPED = Work(
    "typed JSON POST of 1 KiB",
    "/birds",
    {"sum": 36},
    JSON,
    headers={"Content-Type": "application/json"},
    content=SIGHTING,
)
DEF = Work("`def` handler", "/def", "Hello, world!")
HOOKS = Work(
    "two hooks and three middlewares",
    "/hooks/",
    "Hello, world!",
    answer_headers=dict.fromkeys(("x-one", "x-two", "x-three", "x-after"), "weebill"),
)
ECHO = Work("POST echo of 1 MiB, 8 connections", "/echo", BLOB, BYTES, content=BLOB, connections=8, seconds=3)
UPLOAD = Work(
    "multipart upload of 16 MiB, 4 connections",
    "/upload",
    {"size": 16 << 20},
    JSON,
    headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
    content=b"%b\r\n%b\r\n\r\n%b\r\n%b--\r\n" % (_LINE, _PART, FILES["16m.bin"], _LINE),
    connections=4,
    seconds=4,
)
STATIC_4K = Work("static file of 4 KiB", "/static/4k.bin", FILES["4k.bin"], BYTES)
STATIC_64K = Work("static file of 64 KiB", "/static/64k.bin", FILES["64k.bin"], BYTES)
STATIC_16M = Work(
    "static file of 16 MiB, 4 connections",
    "/static/16m.bin",
    FILES["16m.bin"],
    BYTES,
    connections=4,
    seconds=3,
)
STREAM = Work(
    "stream of 1,000 chunks, 8 connections", "/stream", CHUNK * 1000, BYTES, connections=8, seconds=3
)
PIPELINED = Work("plain GET, pipelined 16 deep", "/", "Hello, world!", script=_SIXTEEN)
# Resources of an API: in peers/weebill_routes.py each has a path without, with one and with two parameters.
STATIC_ROUTE = Work("static route", "/api/v1/last", "all")
MIDDLE_ROUTE = Work("dynamic route, in the middle", "/api/v1/middle/17", "17")
LAST_ROUTE = Work("dynamic route, the last", "/api/v1/last/17", "17")
TENANT_ROUTE = Work("dynamic route, two parameters", "/acme/last/17", "acme 17")

ROUTES = (STATIC_ROUTE, MIDDLE_ROUTE, LAST_ROUTE, TENANT_ROUTE)
WORKS = (
    PLAIN,
    USER,
    VARIED,
    FIELDS,
    TABLE,
    TYPED,
    DEF,
    HOOKS,
    ECHO,
    UPLOAD,
    STATIC_4K,
    STATIC_64K,
    STATIC_16M,
    STREAM,
    PIPELINED,
    *ROUTES,
)
