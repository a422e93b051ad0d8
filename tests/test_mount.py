"""Another application below a prefix."""

from __future__ import annotations

from typing import Any

from weebill import App
from weebill.testing import TestClient


def outer(inner: Any) -> App:
    app = App(__name__)
    app.mount("/inner", inner)

    @app.after_request
    def sign(response: Any) -> None:
        response.headers["x-outer"] = "seen"

    return app


def test_fields_that_the_outer_app_sets_are_on_the_answer_of_a_mounted_app() -> None:
    inner = App(__name__)

    @inner.get("/a")
    async def a() -> str:
        return "a"

    answer = TestClient(outer(inner)).get("/inner/a")
    assert (answer.text, answer.headers["x-outer"]) == ("a", "seen")


def test_fields_that_the_outer_app_sets_are_on_a_mounted_stream() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"too")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    answer = TestClient(outer(asgi)).get("/inner/")
    assert (answer.content, answer.headers["x-outer"], answer.headers["x-inner"]) == (b"ab", "seen", "too")


def test_a_refusal_inside_a_mounted_app_passes_the_outer_hooks_too() -> None:
    answer = TestClient(outer(App(__name__))).get("/inner/nowhere")
    assert (answer.status_code, answer.headers["x-outer"]) == (404, "seen")
