from blacksheep import Application, Response, get, text

app = Application()


@get("/")
async def plain() -> Response:
    return text("Hello, world!")


@get("/user/{name}")
async def user(name: str) -> Response:
    return text(f"Hello, {name}!")
