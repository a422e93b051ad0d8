"""Files on every wire, by the sections of RFC 9110."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wires import connected, raw

from weebill import App, FileResponse, Request, Response
from weebill.headers import http_date

BIG = bytes(range(256)) * 4096  # 1 MiB
SMALL = b"0123456789" * 10
WHEN = 1_000_000_000


@pytest.fixture(scope="module")
def client(wire: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("files")
    for name, content in (
        ("big.bin", BIG),
        ("small.txt", SMALL),
        ("empty.css", b""),
        ("sub/index.html", b"<p>"),
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (WHEN, WHEN))
    with connected(make_app(folder), wire) as client:
        yield client


def make_app(folder: Path) -> App:
    app = App(__name__)
    app.static("/s", folder)
    app.post("/posted")(lambda: FileResponse(folder / "small.txt"))
    app.get("/failed")(lambda: FileResponse(folder / "small.txt", 500))
    app.get("/tagged")(lambda: FileResponse(folder / "big.bin", headers={"ETag": '"mine"'}))
    app.get("/saved")(lambda: FileResponse(folder / "small.txt", filename="grüße.txt"))
    app.get("/shown")(
        lambda: FileResponse(folder / "small.txt", filename="a.txt", content_disposition_type="inline")
    )
    one = FileResponse(folder / "big.bin", media_type="video/mp4")
    app.get("/again")(lambda: one)

    @app.after_request
    def sign(request: Request, response: Response) -> None:
        response.headers["x-signed"] = "yes"

    return app


BOTH = pytest.mark.parametrize(
    ("name", "content"), [("small.txt", SMALL), ("big.bin", BIG)], ids=["small", "large"]
)


@BOTH
def test_8_the_fields_of_a_representation(client: Any, name: str, content: bytes) -> None:
    answer = client.get(f"/s/{name}")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["last-modified"] == http_date(WHEN)
    assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]+"', answer.headers["etag"])
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["x-signed"] == "yes"
    assert client.get(f"/s/{name}").headers["etag"] == answer.headers["etag"]


@BOTH
def test_9_3_2_head_is_get_without_its_content(client: Any, name: str, content: bytes) -> None:
    got, head = client.get(f"/s/{name}"), client.head(f"/s/{name}")
    assert (head.status_code, head.content) == (200, b"")
    for field in ("content-length", "content-type", "etag", "last-modified", "cache-control"):
        assert head.headers[field] == got.headers[field]
    ranged = client.head(f"/s/{name}", headers={"range": "bytes=0-1"})  # section 14.2: GET only
    assert (ranged.status_code, ranged.headers["content-length"]) == (200, str(len(content)))


@BOTH
def test_13_1_conditions(client: Any, name: str, content: bytes) -> None:
    etag = client.get(f"/s/{name}").headers["etag"]
    there, before = http_date(WHEN), http_date(WHEN - 1)
    for fields, status in (
        ({"if-none-match": etag}, 304),
        ({"if-none-match": f'"x", W/{etag}'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"', "if-modified-since": there}, 200),
        ({"if-modified-since": there}, 304),
        ({"if-modified-since": before}, 200),
        ({"if-match": etag}, 200),
        ({"if-match": f"W/{etag}"}, 412),
        ({"if-match": '"x"'}, 412),
        ({"if-unmodified-since": before}, 412),
        ({"if-unmodified-since": there}, 200),
    ):
        for method in ("GET", "HEAD"):
            answer = client.request(method, f"/s/{name}", headers=fields)
            assert answer.status_code == status, fields
            if method == "GET" and status == 200:
                assert answer.content == content


def test_15_4_5_a_304_says_what_a_cache_needs_and_no_more(client: Any) -> None:
    whole = client.get("/s/small.txt")
    answer = client.get("/s/small.txt", headers={"if-none-match": whole.headers["etag"]})
    assert (answer.status_code, answer.content) == (304, b"")
    for name in ("etag", "cache-control", "x-signed"):
        assert answer.headers[name] == whole.headers[name]
    assert "date" in answer.headers
    for name in ("content-type", "last-modified", "content-encoding"):
        assert name not in answer.headers


@BOTH
def test_14_one_range(client: Any, name: str, content: bytes) -> None:
    length = len(content)
    for value, first, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=-7", length - 7, length),
        (f"bytes={length - 3}-", length - 3, length),
        ("bytes=1-99999999999999999999999", 1, length),
        ("bytes=0-5,3-9", 0, 10),
    ):
        answer = client.get(f"/s/{name}", headers={"range": value})
        assert (answer.status_code, answer.content) == (206, content[first:end])
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{length}"
        assert answer.headers["content-length"] == str(end - first)
        assert answer.headers["etag"]
        assert answer.headers["cache-control"] == "no-cache"


@BOTH
def test_14_6_several_ranges_are_parts(client: Any, name: str, content: bytes) -> None:
    answer = client.get(f"/s/{name}", headers={"range": "bytes=-2, 1-3, 50-50"})
    assert answer.status_code == 206
    assert "content-range" not in answer.headers
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    length, kind = len(content), client.get(f"/s/{name}").headers["content-type"]
    expected = b"".join(
        b"--%b\r\ncontent-type: %b\r\ncontent-range: bytes %d-%d/%d\r\n\r\n%b\r\n"
        % (boundary.encode(), kind.encode(), first, end - 1, length, content[first:end])
        for first, end in ((1, 4), (50, 51), (length - 2, length))
    )
    assert answer.content == expected + b"--%b--\r\n" % boundary.encode()
    assert answer.headers["content-length"] == str(len(answer.content))


def test_14_6_a_large_part_comes_whole(client: Any) -> None:
    answer = client.get("/s/big.bin", headers={"range": "bytes=0-400000,500000-999999"})
    assert answer.status_code == 206
    assert BIG[:400001] in answer.content
    assert BIG[500000:1000000] in answer.content


@BOTH
def test_14_2_a_range_that_is_none_is_passed_over(client: Any, name: str, content: bytes) -> None:
    many = "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2))
    for value in ("bytes=5-4", "lines=1-2", "bytes=x", "bytes=1-2, x", many):
        answer = client.get(f"/s/{name}", headers={"range": value})
        assert (answer.status_code, answer.content) == (200, content)


@BOTH
def test_15_5_17_a_range_beyond_the_end_is_416(client: Any, name: str, content: bytes) -> None:
    answer = client.get(f"/s/{name}", headers={"range": f"bytes={len(content)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(content)}")
    assert answer.json()["title"] == "Range Not Satisfiable"


@BOTH
def test_13_1_5_if_range(client: Any, name: str, content: bytes) -> None:
    etag = client.get(f"/s/{name}").headers["etag"]
    for value in (etag, http_date(WHEN)):
        answer = client.get(f"/s/{name}", headers={"range": "bytes=0-3", "if-range": value})
        assert (answer.status_code, answer.content) == (206, content[:4])
    for value in (f"W/{etag}", '"x"', http_date(1)):
        answer = client.get(f"/s/{name}", headers={"range": "bytes=0-3", "if-range": value})
        assert (answer.status_code, answer.content) == (200, content)
    answer = client.get(f"/s/{name}", headers={"range": "bytes=0-3", "if-none-match": etag})
    assert answer.status_code == 304  # section 13.2.2: before the range


def test_an_empty_file_is_whole_whatever_is_asked_for(client: Any) -> None:
    for fields in ({}, {"range": "bytes=0-"}, {"range": "bytes=-1"}):
        answer = client.get("/s/empty.css", headers=fields)
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


def test_15_4_9_a_folder_leads_to_its_slash_and_to_no_other_host(client: Any) -> None:
    answer = client.get("/s/sub?a=1")
    assert (answer.status_code, answer.headers["location"]) == (308, "/s/sub/?a=1")
    assert client.get("/s/sub/").text == "<p>"
    for target in ("/s//sub", "//s/sub", "/s/sub//", "/s/%5Csub", "/s//example.org/%2e%2e/sub", "/s/%2Fsub"):
        assert raw(client, "GET", target).status_code == 404


def test_what_is_no_successful_get_has_no_conditions_and_no_ranges(client: Any) -> None:
    fields = {"if-none-match": "*", "range": "bytes=0-1"}
    for method, path, status in (("POST", "/posted", 200), ("GET", "/failed", 500)):
        answer = client.request(method, path, headers=fields)
        assert (answer.status_code, answer.content) == (status, SMALL)


def test_a_tag_of_the_author_goes_before_our_own(client: Any) -> None:
    assert client.get("/tagged").headers["etag"] == '"mine"'
    assert client.get("/tagged", headers={"if-none-match": '"mine"'}).status_code == 304
    answer = client.get("/tagged", headers={"if-range": '"mine"', "range": "bytes=-4"})
    assert (answer.status_code, answer.content) == (206, BIG[-4:])


def test_one_response_may_be_sent_many_times(client: Any) -> None:
    for _ in range(2):
        part = client.get("/again", headers={"range": "bytes=2-3"})
        assert (part.status_code, part.headers["content-type"]) == (206, "video/mp4")
        assert "content-range" not in client.get("/again").headers
        assert client.get("/again").content == BIG


def test_rfc_6266_a_name_to_save_it_under(client: Any) -> None:
    saved = client.get("/saved").headers["content-disposition"]
    assert saved == "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt"
    assert client.get("/shown").headers["content-disposition"].startswith('inline; filename="a.txt";')
    with pytest.raises(ValueError, match="content_disposition_type"):
        FileResponse("x", filename="x", content_disposition_type="in line")
