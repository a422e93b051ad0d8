from weebill import App

app = App(__name__)

BIRD = {"id": 17, "name": "Weebill", "grams": 6.0, "heard": True, "places": ["mallee", "woodland"]}


@app.get("/")
async def plain() -> str:
    return "Hello, world!"


@app.get("/user/{name}")
async def user(name: str) -> str:
    return f"Hello, {name}!"


@app.get("/def")
def sync() -> str:
    return "Hello, world!"


@app.get("/json")
async def json() -> dict[str, object]:
    return BIRD
