from falcon import MEDIA_TEXT
from falcon.asgi import App, Request, Response


class Plain:
    async def on_get(self, request: Request, response: Response) -> None:
        response.content_type = MEDIA_TEXT
        response.text = "Hello, world!"


class User:
    async def on_get(self, request: Request, response: Response, name: str) -> None:
        response.content_type = MEDIA_TEXT
        response.text = f"Hello, {name}!"


app = App()
app.add_route("/", Plain())
app.add_route("/user/{name}", User())
