"""The tour: what its page links to and shows is there."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from weebill import TestClient

TOUR = Path(__file__).parents[1] / "examples" / "tour" / "app.py"
REFUSED = {"/birds?lighter_than=heavy": 422, "/birds/9": 404, "/birds/two": 404, "/nowhere": 404}
REFUSED |= {"/teapot": 418, "/fault": 500}
ENDLESS = {"/live"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    spec = importlib.util.spec_from_file_location("tour", TOUR)
    assert spec is not None
    assert spec.loader is not None
    tour = sys.modules["tour"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tour)
    with TestClient(tour.app, raise_server_exceptions=False, follow_redirects=True) as client:
        yield client


def test_everything_that_the_page_links_to_answers(client: TestClient) -> None:
    page = client.get("/").text
    found = {unescape(path) for path in re.findall(r'(?:href|src)="([^"]+)"', page)}
    assert REFUSED.keys() <= found
    slow = {"/sleep", "/stream"} | ENDLESS
    assert slow <= found
    wrong = {path: client.get(path).status_code for path in found - slow}
    assert wrong == {path: REFUSED.get(path, 200) for path in found - slow}


def test_a_generator_and_events_come_as_they_are_made(client: TestClient) -> None:
    with client.stream("GET", "/stream") as answer:
        assert next(answer.iter_lines()) == "1: a falling trill"
    with client.stream("GET", "/live") as answer:
        events = answer.iter_events()
        assert next(events).data == "wee-bill, wee-bill"
        client.travel(1)
        assert next(events).data == "a falling trill"


def test_a_form_with_a_file_is_told_of(client: TestClient) -> None:
    content = b"a very small bird" * 100_000  # beyond what is kept in memory
    answer = client.post("/upload", data={"note": "hello"}, files={"file": ("bird.txt", content)})
    assert answer.status_code == 201
    assert answer.json() == {
        "note": "hello",
        "name": "bird.txt",
        "bytes": len(content),
        "kind": "text/plain",
    }


def test_content_is_counted_as_it_comes(client: TestClient) -> None:
    assert client.post("/count", content=[b"12345"] * 1000).json() == {"bytes": 5000}


def test_a_bird_that_does_not_fit_is_told_why(client: TestClient) -> None:
    assert client.post("/birds", json={"name": "Emu", "grams": 35e3}).json()["lighter"][0] == "Weebill"
    answer = client.post("/birds", json={"name": "", "grams": 0})
    assert answer.status_code == 422
    assert [fault["place"] for fault in answer.json()["errors"]] == ["body.name", "body.grams"]
