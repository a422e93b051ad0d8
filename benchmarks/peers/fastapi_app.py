from fastapi import FastAPI
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


@app.get("/")
async def plain() -> str:
    return "Hello, world!"


@app.post("/birds")
async def birds(sighting: Sighting) -> dict[str, int]:
    return {"sum": sum(bird.id for bird in sighting.birds)}
