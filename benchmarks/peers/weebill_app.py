from msgspec import Struct

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


class Bird(Struct):
    id: int
    name: str
    grams: float
    heard: bool
    places: list[str]


class Sighting(Struct):
    site: str
    birds: list[Bird]
    note: str = ""


@app.post("/birds")
async def birds(sighting: Sighting) -> dict[str, int]:
    return {"sum": sum(bird.id for bird in sighting.birds)}
