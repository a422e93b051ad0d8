from flask import Flask, Response

app = Flask(__name__)

BIRD = {"id": 17, "name": "Weebill", "grams": 6.0, "heard": True, "places": ["mallee", "woodland"]}


@app.get("/")
@app.get("/def")
def plain() -> Response:
    return Response("Hello, world!", mimetype="text/plain")


@app.get("/user/<name>")
def user(name: str) -> Response:
    return Response(f"Hello, {name}!", mimetype="text/plain")


@app.get("/json")
def json() -> dict[str, object]:
    return BIRD
