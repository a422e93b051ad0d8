"""An API of $ROUTES resources, each with a route without, with one and with two parameters."""

import os

from weebill import App

COUNT = int(os.environ["ROUTES"])
NAMES = [f"thing{n}" for n in range(COUNT)]
NAMES[COUNT // 2], NAMES[-1] = "middle", "last"

app = App(__name__)


@app.get("/")
async def plain() -> str:
    return "Hello, world!"


async def everything() -> str:
    return "all"


async def one(key: str) -> str:
    return key


async def one_of(tenant: str, key: str) -> str:
    return f"{tenant} {key}"


for name in NAMES:
    app.add_route(f"/api/v1/{name}", everything)
    app.add_route(f"/api/v1/{name}/{{key}}", one)
    app.add_route(f"/{{tenant}}/{name}/{{key}}", one_of)
