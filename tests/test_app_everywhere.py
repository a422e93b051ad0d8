"""One suite for every wire: an App gives the same answers in memory, on our server and on uvicorn."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from wires import BROKEN, connected, raw
from zoo import make_app

PROBLEM = "application/problem+json"
BODIES = {"empty": b"", "1 KiB": b"k" * 1024, "3 MiB": bytes(range(256)) * (3 << 12)}


@pytest.fixture(scope="module")
def zoo(wire: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with connected(make_app(tmp_path_factory.mktemp("zoo")), wire) as client:
        yield client


@pytest.fixture
def client(zoo: Any) -> Any:
    zoo.cookies.clear()
    return zoo


# -- what a handler may return


@pytest.mark.parametrize("where", ["returns", "returns-in-thread"])
@pytest.mark.parametrize(
    ("kind", "status", "media_type", "content"),
    [
        ("text", 200, "text/plain; charset=utf-8", "grüße".encode()),
        ("markup", 200, "text/html; charset=utf-8", b"<b>bold</b>"),
        ("bytes", 200, "application/octet-stream", b"\x00\xff"),
        ("bytearray", 200, "application/octet-stream", b"ab"),
        ("dict", 200, "application/json", '{"a":[1,null,"ü"]}'.encode()),
        ("list", 200, "application/json", b"[1,2]"),
        ("dataclass", 200, "application/json", b'{"x":1,"y":2}'),
        ("struct", 200, "application/json", b'{"name":"weebill","grams":5.5}'),
        ("pydantic", 200, "application/json", b'{"eggs":3,"id":"00000000-0000-0000-0000-000000000007"}'),
        ("none", 204, None, b""),
        ("pair", 201, "text/plain; charset=utf-8", b"made"),
        ("triple", 201, "application/json", b'{"made":true}'),
        ("typed", 200, "text/csv; charset=utf-8", b"a,b\n"),
        ("response", 202, "text/plain; charset=utf-8", b"as it is"),
        ("html", 200, "text/html; charset=utf-8", b"<i>page</i>"),
    ],
)
def test_each_kind_of_value_becomes_its_answer(
    client: Any, where: str, kind: str, status: int, media_type: str | None, content: bytes
) -> None:
    answer = client.get(f"/{where}/{kind}")
    assert (answer.status_code, answer.headers.get("content-type"), answer.content) == (
        status,
        media_type,
        content,
    )
    assert "date" in answer.headers
    assert answer.headers.get("content-length") == (None if status == 204 else str(len(content)))


def test_a_tuple_and_a_response_carry_their_fields(client: Any) -> None:
    assert client.get("/returns/triple").headers["x-made"] == "yes"
    assert client.get("/returns/response").headers["x-kind"] == "plain"


@pytest.mark.parametrize("kind", ["number", "set", "long-tuple"])
def test_a_value_of_no_kind_is_a_500_and_one_sentence_in_the_log(
    client: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get(f"/returns/{kind}")
    assert answer.status_code == 500
    assert "return" not in answer.text
    [record] = [r for r in caplog.records if r.name == "weebill"]
    assert "returns (" in record.getMessage()
    assert "zoo.py:" in record.getMessage()
    assert record.exc_info is None


def test_a_template_is_a_page_that_escapes_what_it_is_given(client: Any) -> None:
    answer = client.get("/template")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == "<p>Hello &lt;Ann&gt;, from /template</p><a href='/user/%3CAnn%3E'>me</a>"


# -- routing


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/typed/-3/2.50/6FA459EA-ee8a-3ca4-894e-db77e160355e",
         ["int -3", "float 2.5", "UUID 6fa459ea-ee8a-3ca4-894e-db77e160355e"]),
        ("/user/ann", {"name": "ann"}),
        ("/user/a%20b+c", {"name": "a b+c"}),
        ("/user/%C3%BC", {"name": "ü"}),
        ("/user/a%2Fb", {"name": "a/b"}),
        ("/user/%252F", {"name": "%2F"}),
        ("/rest/x/y%2Fz/", ["x/y/z/", "/rest/x/y%2Fz/"]),
        ("/rest/", ["", "/rest/"]),
        ("/v2/page-intro.html", [2, "intro"]),
    ],
)  # fmt: skip
def test_parameters_arrive_decoded_and_typed(client: Any, target: str, expected: Any) -> None:
    answer = raw(client, "GET", target)
    assert answer.status_code == 200
    assert answer.json() == expected


@pytest.mark.parametrize(
    "target",
    ["/nowhere", "/user/", "/user/a/b", "/user", "/returns%2Ftext", "/typed/x/1/2", "/slash", "/both/",
     "//both", "/innermost", "/v2/page-.html", "/in", f"/typed/{'9' * 5000}/1.0/{UUID(int=1)}"],
)  # fmt: skip
def test_what_no_route_matches_is_404(client: Any, target: str) -> None:
    answer = raw(client, "GET", target)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json() == {"title": "Not Found", "status": 404}


@pytest.mark.parametrize("target", ["/user/%zz", "/user/%", "/user/%4", "/user/%ff", "/user/%00", "/%+1"])
def test_a_bad_escape_in_the_path_is_400(client: Any, target: str) -> None:
    answer = raw(client, "GET", target)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == PROBLEM
    assert "path" in answer.json()["detail"]


def test_a_slash_at_the_end_counts(client: Any) -> None:
    assert client.get("/slash/").text == "slash"
    assert client.get("/slash").status_code == 404


def test_one_path_has_a_handler_for_each_method(client: Any) -> None:
    assert [client.request(m, "/both").text for m in ("GET", "POST", "PUT")] == ["GET", "POST", "put"]


def test_another_method_is_405_and_allow_names_those_there_are(client: Any) -> None:
    answer = client.delete("/both")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST, PUT"
    assert answer.json() == {"title": "Method Not Allowed", "status": 405}
    assert client.post("/user/ann").headers["allow"] == "GET, HEAD, OPTIONS"


def test_options_comes_by_itself(client: Any) -> None:
    answer = client.options("/both")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST, PUT"
    assert client.options("/nowhere").status_code == 404
    assert raw(client, "OPTIONS", "*").status_code == 200


def test_head_is_answered_by_get_without_its_content(client: Any) -> None:
    for path, length in (("/user/ann", "14"), ("/returns/text", "7"), ("/files/plain.txt", "5")):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == length
        assert answer.headers["content-type"] == client.get(path).headers["content-type"]
    assert client.head("/stream/def").content == b""
    assert client.head("/nowhere").status_code == 404
    assert client.head("/upload").status_code == 405
    assert client.get("/both").text == "GET"  # the connection is in order


def test_url_for_fills_patterns_and_leaves_the_rest_to_the_query(client: Any) -> None:
    links = client.get("/links").json()
    assert links == [
        "/user/a%20b%2F%C3%BC",
        "/typed/-1/2.5/00000000-0000-0000-0000-000000000001",
        "/rest/x/y",
        "/both?page=2&tag=a&tag=b",
        "/files/plain.txt",
        "/in/outer/more/inner/5",
    ]
    assert [raw(client, "GET", link).status_code for link in links] == [200] * 6


# -- what a request carries


def test_a_request_tells_what_was_sent(client: Any) -> None:
    fields = [("x-list", "a"), ("X-List", "b, c"), ("cookie", "a=1; b=two; a=3")]
    answer = raw(client, "GET", "/request?x=1&y=%C3%BC+z&x=2&empty=", headers=fields).json()
    assert answer.pop("url").endswith("/request?x=1&y=%C3%BC+z&x=2&empty=")
    assert answer == {
        "method": "GET",
        "target": "/request?x=1&y=%C3%BC+z&x=2&empty=",
        "path": "/request",
        "query": [["x", "1"], ["x", "2"], ["y", "ü z"], ["empty", ""]],
        "cookies": {"a": "1", "b": "two"},
        "x-list": ["a", "b, c"],
        "x-joined": "a, b, c",
        "http_version": "1.1",
        "scheme": "http",
        "client": True,
    }


def test_params_of_the_client_arrive_as_query(client: Any) -> None:
    answer = client.get("/request", params={"q": "a&b", "n": 1})
    assert answer.json()["query"] == [["q", "a&b"], ["n", "1"]]


def test_more_than_a_thousand_query_parameters_are_400(client: Any) -> None:
    answer = client.get("/request?" + "&".join("a" * 1001))
    assert answer.status_code == 400
    assert "1000 parameters" in answer.json()["detail"]


def test_cookies_that_an_answer_sets_come_back(client: Any) -> None:
    assert client.get("/cookie/sweet").cookies["flavour"] == "sweet"
    assert client.get("/request").json()["cookies"] == {"flavour": "sweet", "other": "1"}
    client.get("/cookie/sour")
    assert client.get("/request").json()["cookies"]["flavour"] == "sour"


@pytest.mark.parametrize("path", ["/body", "/body-in-thread", "/upload"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
@pytest.mark.parametrize("size", BODIES)
def test_content_of_every_size_arrives_whole(client: Any, path: str, size: str, chunked: bool) -> None:
    content = BODIES[size]
    pieces = (content[at : at + 50_000] for at in range(0, len(content), 50_000))
    answer = client.post(path, content=pieces if chunked else content)
    assert answer.json() == {"size": len(content), "sha": hashlib.sha256(content).hexdigest()}


def test_json_is_read_and_malformed_json_is_400(client: Any) -> None:
    assert client.post("/json", json={"a": [1, "ü"]}).json() == {"got": {"a": [1, "ü"]}}
    for content in (b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000):
        answer = client.post("/json", content=content)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("The content is ")


def test_text_follows_its_charset_and_what_cannot_be_read_is_400(client: Any) -> None:
    assert client.post("/text", content="grün".encode()).text == "GRÜN"
    latin = {"content-type": 'text/plain; charset="latin-1"'}
    assert client.post("/text", content="grün".encode("latin-1"), headers=latin).text == "GRÜN"
    assert client.post("/text", content=b"\xff", headers={"content-type": "text/plain"}).status_code == 400


@pytest.mark.parametrize("charset", ["klingon", "punycode", "utf-7"])
def test_text_in_a_charset_that_is_not_ours_is_415(client: Any, charset: str) -> None:
    headers = {"content-type": f"text/plain; charset={charset}"}
    assert client.post("/text", content=b"x", headers=headers).status_code == 415


def test_content_beyond_the_routes_limit_is_413(client: Any) -> None:
    assert client.post("/limited", content=b"x" * 1000).json()["size"] == 1000
    for content in (b"x" * 1001, (b"x" * 600 for _ in range(2))):
        answer = client.post("/limited", content=content)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == PROBLEM
        assert "1000 bytes" in answer.json()["detail"]


def test_a_stream_beyond_its_limit_is_413_too(client: Any) -> None:
    assert client.post("/limited-upload", content=b"x" * 100_000).json() == {"size": 100_000}
    assert client.post("/limited-upload", content=b"x" * 100_001).status_code == 413
    assert client.post("/limited-upload", content=(b"x" * 60_000 for _ in range(2))).status_code == 413


def test_a_refusal_needs_no_content_and_a_handler_need_not_read_it(client: Any) -> None:
    assert client.post("/nowhere", content=b"x" * 50_000).status_code == 404
    assert client.put("/body", content=b"x" * 50_000).status_code == 405
    assert client.post("/unread", content=b"x" * 50_000).text == "not read"
    assert client.get("/both").text == "GET"


# -- streams


@pytest.mark.parametrize(
    ("kind", "media_type"), [("def", "text/plain"), ("async", "application/octet-stream")]
)
def test_a_generator_is_a_stream(client: Any, kind: str, media_type: str) -> None:
    answer = client.get(f"/stream/{kind}")
    assert answer.text == "0 1 2 3 4 "
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert "content-length" not in answer.headers


def test_a_streaming_response_has_status_fields_and_type(client: Any) -> None:
    answer = client.get("/stream/response")
    assert (answer.status_code, answer.text) == (203, "012")
    assert (answer.headers["content-type"], answer.headers["x-kind"]) == (
        "text/lines; charset=utf-8",
        "lines",
    )
    answer = client.get("/returns/stream")
    assert (answer.status_code, answer.text, answer.headers["x-kind"]) == (201, "ab", "stream")


def test_a_stream_may_be_empty_or_large(client: Any) -> None:
    assert (client.get("/stream/empty").status_code, client.get("/stream/empty").content) == (200, b"")
    assert client.get("/stream/big").content == b"x" * (64 * 65536)


@pytest.mark.parametrize(
    ("name", "status"),
    [("raises-first", 500), ("raises-first-async", 409), ("aborts-first", 409), ("number", 500)],
)
def test_a_stream_that_fails_before_its_first_piece_is_a_proper_error(
    client: Any, name: str, status: int
) -> None:
    answer = client.get(f"/stream/{name}")
    assert answer.status_code == status
    assert "ValueError" not in answer.text


@pytest.mark.parametrize(
    "path", ["/stream/raises-later", "/stream/raises-later-async", "/short-stream", "/long-stream"]
)
def test_a_stream_that_fails_later_breaks_the_connection(
    client: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BROKEN):
        client.get(path)
    assert len([r for r in caplog.records if r.name == "weebill"]) == 1
    assert client.get("/both").text == "GET"


def test_an_answer_that_would_break_the_framing_is_a_500_instead(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/bad-field", "/bad-length"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "set-cookie" not in answer.headers
    assert len([r for r in caplog.records if r.name == "weebill"]) == 2


# -- hooks, middleware, routers


def test_hooks_and_middleware_run_from_the_outside_in_and_back(client: Any) -> None:
    answer = client.get("/in/outer/more/inner/5")
    assert answer.text == "inner 5"
    assert answer.headers["x-trail"].split() == [
        "outer-middleware",
        "second-middleware",
        "inner-middleware",
        "outer-before",
        "outer-before-async",
        "inner-before",
        "handler",
        "inner-after",
        "outer-after",
    ]


def test_the_hooks_of_an_inner_router_leave_the_outer_alone(client: Any) -> None:
    answer = client.get("/in/outer")
    assert answer.text == "outer"
    assert "inner" not in answer.headers["x-trail"]
    assert "x-trail" not in client.get("/both").headers


def test_a_value_of_a_before_hook_is_the_answer(client: Any) -> None:
    answer = client.get("/in/outer/more/inner/5?stop")
    assert answer.text == "short cut"
    assert answer.headers["x-trail"].split()[3:] == ["outer-before", "inner-after", "outer-after"]


def test_an_after_hook_may_replace_the_answer(client: Any) -> None:
    answer = client.get("/in/outer/more/inner/5?replace")
    assert answer.text == "replaced"
    assert answer.headers["x-trail"].endswith("inner-after outer-after")


def test_an_error_passes_the_after_hooks_and_the_middleware(client: Any) -> None:
    for number, status in ((404, "404"), (500, "500")):
        answer = client.get(f"/in/outer/more/inner/{number}")
        assert str(answer.status_code) == answer.headers["x-outer"] == status
        assert answer.headers["x-trail"].endswith("handler inner-after outer-after")


def test_the_nearest_error_handler_answers(client: Any) -> None:
    assert client.get("/in/outer/more/inner/404").text == "not in the inner router"
    assert client.get("/in/outer/nowhere").json()["title"] == "Not Found"


def test_a_middleware_may_refuse(client: Any) -> None:
    answer = client.get("/in/outer?guard")
    assert (answer.status_code, answer.json()["title"]) == (401, "Unauthorized")
    assert answer.headers["x-trail"] == "outer-middleware second-middleware outer-after"


# -- errors


def test_abort_answers_with_status_sentence_and_fields(client: Any) -> None:
    answer = client.get("/abort/403")
    assert (answer.status_code, answer.headers["x-why"]) == (403, "asked")
    assert answer.json() == {"title": "Forbidden", "status": 403, "detail": "as you wish"}


@pytest.mark.parametrize("path", ["/crash", "/crash-in-thread"])
def test_an_exception_is_a_500_without_a_hint_and_one_entry_in_the_log(
    client: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    for accept in ("*/*", "text/html"):
        caplog.clear()
        answer = client.get(path, headers={"accept": accept})
        assert answer.status_code == 500
        assert "Zero" not in answer.text
        assert "detail for" not in answer.text
        [record] = [r for r in caplog.records if r.name == "weebill"]
        assert record.levelno == logging.ERROR
        assert f"GET {path}" in record.getMessage()
        assert "zoo.py:" in record.getMessage()
        assert record.exc_info is not None


def test_error_handlers_answer_for_a_class_and_for_a_status(client: Any) -> None:
    answer = client.get("/trouble")
    assert (answer.status_code, answer.text) == (409, "trouble: deep")
    answer = client.get("/abort/418")
    assert (answer.status_code, answer.json()) == (418, {"teapot": "/abort/418"})


def test_a_browser_gets_a_page_and_others_a_problem_document(client: Any) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = client.get("/nowhere", headers=browser)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>404 Not Found</h1>" in page.text
    for accept in ("*/*", "application/json", "text/html;q=0.5, application/json", ""):
        answer = client.get("/nowhere", headers={"accept": accept})
        assert answer.headers["content-type"] == PROBLEM


def test_a_redirect_is_followed_only_when_asked(client: Any) -> None:
    answer = client.get("/redirect")
    assert (answer.status_code, answer.headers["location"]) == (302, "/user/ann?x=1&y=%C3%BC")
    assert client.get("/redirect", follow_redirects=True).json() == {"name": "ann"}
    answer = client.post("/redirect", content=b"x", follow_redirects=True)
    assert answer.json()["method"] == "GET"


# -- mounts and static files


def test_a_mounted_app_sees_the_rest_of_the_path(client: Any) -> None:
    assert client.get("/inner/").json() == ["/", "/inner", "/"]
    assert client.get("/inner").json()[:2] == ["/", "/inner"]
    answer = raw(client, "GET", "/inner/item/a%2Fb")
    assert answer.json() == ["a/b", "/item/a%2Fb", "/inner/item/a%2Fb"]


def test_a_mounted_app_has_hooks_errors_and_limits_of_its_own(client: Any) -> None:
    answer = client.get("/inner/nowhere")
    assert (answer.status_code, answer.text) == (404, "lost at /nowhere")
    assert answer.headers["x-app"] == "inner"
    assert client.put("/inner/echo").headers["allow"] == "OPTIONS, POST"
    assert client.post("/inner/echo", content=b"x" * 100).content == b"x" * 100
    assert client.post("/inner/echo", content=b"x" * 101).status_code == 413


def test_redirect_slashes_leads_to_the_other_spelling(client: Any) -> None:
    for asked, there in (("/inner/with", "/inner/with/"), ("/inner/without/", "/inner/without")):
        answer = client.get(asked + "?a=%20")
        assert (answer.status_code, answer.headers["location"]) == (308, there + "?a=%20")
    assert raw(client, "GET", "/inner//example.org/").status_code == 404


@pytest.mark.parametrize(("name", "path"), [("asgi", "/asgi/a b/c"), ("wsgi", "/a b/c")])
def test_an_asgi_and_a_wsgi_application_answer_below_their_prefix(client: Any, name: str, path: str) -> None:
    answer = raw(client, "POST", f"/{name}/a%20b/c?q=1", content=b"content")
    assert (answer.status_code, answer.headers["x-app"]) == (203, name)
    assert answer.text == f"POST|/{name}|{path}|q=1|content"


def test_static_files_are_served_with_type_length_and_date(client: Any) -> None:
    answer = client.get("/files/plain.txt")
    assert (answer.text, answer.headers["content-type"]) == ("plain", "text/plain; charset=utf-8")
    assert answer.headers["last-modified"].endswith(" GMT")
    answer = client.get("/files/big.bin")
    assert answer.content == bytes(range(256)) * 4096
    assert answer.headers["content-length"] == str(256 * 4096)
    assert raw(client, "GET", "/files/with%20space%20&%20%C3%A4.txt").text == "odd"
    assert client.get("/files/sub/").text == "<h1>sub</h1>"
    assert client.get("/files/sub").headers["location"] == "/files/sub/"


@pytest.mark.parametrize(
    "rest",
    ["missing.txt", "", "../secret.txt", "sub/../../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt",
     "%2e%2e%2fsecret.txt", "..%5csecret.txt", "%252e%252e/secret.txt", ".hidden", "sub/../.hidden",
     "way-out.txt", "/etc/passwd", "%2fetc%2fpasswd", "c:%5cwindows", "plain.txt/", "plain.txt/x", "a" * 300],
)  # fmt: skip
def test_nothing_outside_the_static_folder_is_served(client: Any, rest: str) -> None:
    answer = raw(client, "GET", f"/files/{rest}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_static_files_answer_get_and_head_only(client: Any) -> None:
    assert client.post("/files/plain.txt").headers["allow"] == "GET, HEAD, OPTIONS"


# -- where handlers run


def test_def_handlers_run_in_worker_threads_and_async_ones_on_the_loop(client: Any) -> None:
    worker = client.get("/where/def").json()[0]
    assert worker.startswith("weebill-worker-")
    assert client.get("/where/stream").text.startswith("weebill-worker-")
    assert not client.get("/where/async").json()[0].startswith("weebill-worker-")


def test_context_variables_reach_every_handler_and_no_other_request(client: Any) -> None:
    for user in ("ann", "bob"):
        fields = {"x-user": user}
        assert client.get("/where/def", headers=fields).json()[1] == user
        assert client.get("/where/async", headers=fields).json()[1] == user
        assert client.get("/where/stream", headers=fields).text.split()[1] == user
    assert client.get("/where/async").json()[1] == "nobody"
