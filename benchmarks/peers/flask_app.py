from flask import Flask, Response

app = Flask(__name__)


@app.get("/")
@app.get("/def")
def plain() -> Response:
    return Response("Hello, world!", mimetype="text/plain")


@app.get("/user/<name>")
def user(name: str) -> Response:
    return Response(f"Hello, {name}!", mimetype="text/plain")
