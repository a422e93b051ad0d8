from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

app = FastAPI()


class Bird(BaseModel):
    id: int
    name: str
    grams: float
    heard: bool
    places: list[str]


class Sighting(BaseModel):
    site: str
    birds: list[Bird]
    note: str = ""


@app.get("/", response_class=PlainTextResponse)
async def plain() -> str:
    return "Hello, world!"


@app.get("/user/{name}", response_class=PlainTextResponse)
async def user(name: str) -> str:
    return f"Hello, {name}!"


@app.post("/birds")
async def birds(sighting: Sighting) -> dict[str, int]:
    return {"sum": sum(bird.id for bird in sighting.birds)}
