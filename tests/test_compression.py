"""CompressionMiddleware: what is compressed, and what the answer then says."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest

from weebill import App, FileResponse, Response, StreamingResponse
from weebill.compression import CompressionMiddleware, accepts_gzip
from weebill.testing import TestClient

TEXT = "the weebill is a small bird " * 50


def ask(value: Any, accept: str = "gzip", **options: int) -> Any:
    app = App()
    app.middleware(CompressionMiddleware(**options))
    app.get("/")(lambda: value)
    return TestClient(app).get("/", headers={"accept-encoding": accept})


def text(**headers: str) -> Response:
    return Response(TEXT, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_an_answer_is_compressed_and_says_so() -> None:
    answer = ask(TEXT)
    assert gzip.decompress(answer.content) == TEXT.encode()
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-length"] == str(len(answer.content))


def test_vary_is_said_once_and_beside_what_is_there() -> None:
    assert ask(text(Vary="Cookie")).headers.getlist("vary") == ["Cookie", "Accept-Encoding"]
    assert ask(text(Vary="accept-encoding, Cookie")).headers.getlist("vary") == ["accept-encoding, Cookie"]


def test_who_does_not_accept_it_still_learns_that_it_varies() -> None:
    answer = ask(TEXT, "identity")
    assert (answer.text, answer.headers["vary"]) == (TEXT, "Accept-Encoding")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("br", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip, *;q=0", True),
        ("gzip;q=0.5, identity;q=0.6", False),
        ("gzip;q=0.5, *;q=0.6", False),
        ("x-gzip", True),
        ("GZIP;Q=0.5", True),
    ],
)
def test_qualities_decide(accept: str, accepted: bool) -> None:
    assert accepts_gzip(accept) is accepted


@pytest.mark.parametrize(
    "value",
    [
        "short",
        text(Content_Encoding="br"),
        text(Content_Type="image/png"),
        text(Cache_Control="max-age=3, no-transform"),
        Response(TEXT, 206, {"Content-Range": "bytes 0-9/99"}),
        TEXT.encode(),
    ],
)
def test_what_is_not_worth_it_is_left_alone(value: Any) -> None:
    answer = ask(value)
    assert "vary" not in answer.headers
    assert answer.headers.get("content-encoding") in (None, "br")


def test_the_minimum_is_a_choice() -> None:
    assert ask("short" * 10, minimum_size=50).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in ask(TEXT, minimum_size=5000).headers


def test_what_does_not_shrink_is_sent_as_it_is() -> None:
    answer = ask("0123456789", minimum_size=1)
    assert (answer.text, answer.headers["vary"]) == ("0123456789", "Accept-Encoding")
    assert "content-encoding" not in answer.headers


def test_a_strong_etag_becomes_a_weak_one() -> None:
    assert ask(text(ETag='"abc"')).headers["etag"] == 'W/"abc"'
    assert ask(text(ETag='W/"abc"')).headers["etag"] == 'W/"abc"'
    assert ask(text(ETag='"abc"'), "identity").headers["etag"] == '"abc"'


def test_a_length_that_was_given_gives_way() -> None:
    answer = ask(text(Content_Length=str(len(TEXT))))
    assert gzip.decompress(answer.content) == TEXT.encode()


def test_streams_and_files_are_left_alone(tmp_path: Any) -> None:
    def pieces() -> Iterator[str]:
        yield TEXT

    (tmp_path / "a.txt").write_text(TEXT)
    for value in (StreamingResponse(pieces()), FileResponse(tmp_path / "a.txt")):
        answer = ask(value)
        assert (answer.text, answer.headers.get("content-encoding")) == (TEXT, None)
