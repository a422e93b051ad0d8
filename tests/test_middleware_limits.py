"""RateLimitMiddleware, TimeoutMiddleware, RequestIDMiddleware and SecurityHeadersMiddleware."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from weebill import App, HTMLResponse, HTTPException, Request, Response, render_template
from weebill.cors import CORSMiddleware
from weebill.errors import ConfigurationError, HandlerTimeout
from weebill.proxy_headers import ProxyHeadersMiddleware
from weebill.rate_limit import RateLimitMiddleware, client_network
from weebill.request_ids import RequestIDMiddleware
from weebill.security_headers import SecurityHeadersMiddleware
from weebill.testing import MemoryExchange, TestClient
from weebill.timeouts import TimeoutMiddleware

# -- rate limits


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(*args: Any, **options: Any) -> tuple[TestClient, Clock]:
    app, clock = App(), Clock()
    app.middleware(RateLimitMiddleware(*args, clock=clock, **options))
    app.get("/")(lambda: "hello")
    return TestClient(app), clock


def statuses(client: TestClient, count: int, **options: Any) -> list[int]:
    return [client.get("/", **options).status_code for _ in range(count)]


def test_a_client_may_send_so_many_and_then_at_an_even_rate() -> None:
    client, clock = limited("6/minute")
    assert statuses(client, 8) == [200] * 6 + [429] * 2
    clock.now += 9.9
    assert statuses(client, 1) == [429]
    clock.now += 0.1
    assert statuses(client, 2) == [200, 429]
    clock.now += 30
    assert statuses(client, 4) == [200] * 3 + [429]
    clock.now += 3600
    assert statuses(client, 7) == [200] * 6 + [429]


def test_burst_is_how_many_may_come_at_once() -> None:
    client, clock = limited("60/minute", burst=2)
    assert statuses(client, 3) == [200, 200, 429]
    clock.now += 1
    assert statuses(client, 2) == [200, 429]


def test_a_refusal_says_when_to_come_again() -> None:
    client, clock = limited("2/10s", name="per-client")
    answer = client.get("/")
    assert answer.headers["ratelimit-policy"] == '"per-client";q=2;w=10'
    assert answer.headers["ratelimit"] == '"per-client";r=1;t=5'
    assert client.get("/").headers["ratelimit"] == '"per-client";r=0;t=10'
    clock.now += 1.5
    answer = client.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "4")
    assert answer.headers["ratelimit"] == '"per-client";r=0;t=9'
    assert answer.json()["detail"] == "Too many requests; try again in 4 s."
    clock.now += 4
    assert client.get("/").status_code == 200


def test_a_refusal_can_be_worded_and_keeps_its_fields() -> None:
    app = App()
    app.errorhandler(429)(lambda error: "slowly")
    app.get("/", middleware=[RateLimitMiddleware("1/hour")])(lambda: "x")
    client = TestClient(app)
    client.get("/")
    answer = client.get("/")
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (429, "slowly", "3600")


def test_several_limits_all_say_what_is_left() -> None:
    app, again = App(), Response("x")
    app.middleware(RateLimitMiddleware("100/minute", name="all"))
    app.get("/", middleware=[RateLimitMiddleware("5/minute", name="this")])(lambda: again)
    client = TestClient(app)
    client.get("/")
    answer = client.get("/")
    assert answer.headers["ratelimit"] == '"all";r=98;t=2, "this";r=3;t=24'
    assert answer.headers["ratelimit-policy"] == '"all";q=100;w=60, "this";q=5;w=60'


def test_the_limits_around_a_mounted_application_are_told_beside_its_own() -> None:
    outer, inner = App(), App()
    for app, name in ((outer, "outer"), (inner, "inner")):
        app.middleware(RateLimitMiddleware("5/minute", name=name))
    inner.get("/")(lambda: "hello")
    outer.mount("/inner", inner)
    answer = TestClient(outer).get("/inner/")
    assert answer.headers["ratelimit"] == '"inner";r=4;t=12, "outer";r=4;t=12'


def test_a_key_tells_clients_apart_and_none_is_not_counted() -> None:
    client, _ = limited("1/minute", key=lambda request: request.headers.get("x-user"))
    assert statuses(client, 3) == [200] * 3
    assert "ratelimit" not in client.get("/").headers
    for user in ("ann", "bob"):
        assert statuses(client, 2, headers={"x-user": user}) == [200, 429]


def network_of(client: tuple[str, int] | None) -> str:
    exchange = MemoryExchange("GET", "/", [], client=client)
    return client_network(Request(exchange, None))


def test_clients_are_networks_of_ipv6_and_addresses_of_ipv4() -> None:
    assert (
        network_of(("2001:db8:1:2:3:4:5:6", 1)) == network_of(("2001:db8:1:2:ffff::1", 1)) == "2001:db8:1:2::"
    )
    assert network_of(("2001:db8:1:3::1", 1)) == "2001:db8:1:3::"
    assert network_of(("203.0.113.7", 1)) == network_of(("::ffff:203.0.113.7", 1)) == "203.0.113.7"
    assert network_of(("203.0.113.8", 1)) == "203.0.113.8"
    assert network_of(None) == ""


def test_clients_behind_a_proxy_are_told_apart() -> None:
    app = App()
    app.middleware(ProxyHeadersMiddleware(hops=1))
    app.middleware(RateLimitMiddleware("1/minute"))
    app.get("/")(lambda: "x")
    client = TestClient(app)
    for address in ("203.0.113.7", "203.0.113.8"):
        assert statuses(client, 2, headers={"x-forwarded-for": address}) == [200, 429]


def test_no_more_clients_are_remembered_than_allowed_and_full_buckets_not_at_all() -> None:
    clock = Clock()
    limit = RateLimitMiddleware("1/minute", max_clients=10, clock=clock, key=lambda r: r.headers["x-user"])
    app = App()
    app.middleware(limit)
    client = TestClient(app)

    def ask(user: int) -> int:
        return client.get("/", headers={"x-user": str(user)}).status_code

    for user in range(25):
        assert ask(user) == 404
    assert len(limit._full_at) == 10
    assert [ask(24), ask(15)] == [429, 429]
    assert ask(14) == 404  # forgotten, for ten came after it
    clock.now += 60
    for user in range(100, 105):
        ask(user)
    assert len(limit._full_at) == 5


def test_a_rate_beyond_what_the_clock_can_tell_is_no_failure() -> None:
    app, clock = App(), Clock()
    clock.now = 1e9  # where a float knows no nanoseconds
    app.middleware(RateLimitMiddleware("999999999/s", clock=clock))
    app.get("/")(lambda: "hello")
    assert statuses(TestClient(app), 3) == [200, 200, 200]


@pytest.mark.parametrize(
    "limit", ["", "10", "10/", "/minute", "0/minute", "-1/s", "10/fortnight", "1.5/s", "5/0s", 5]
)
def test_what_is_no_limit_is_a_sentence(limit: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r'is no limit; write a number for a time, like "100/minute"'
    ):
        RateLimitMiddleware(limit)


@pytest.mark.parametrize(
    ("limit", "policy"),
    [("5/second", "q=5;w=1"), ("1/s", "q=1;w=1"), ("10 / 30 seconds", "q=10;w=30"), ("7/2h", "q=7;w=7200"),
     ("3/day", "q=3;w=86400"), ("9/min", "q=9;w=60"), ("1/M", "q=1;w=60"), ("1/2days", "q=1;w=172800")],
)  # fmt: skip
def test_limits_are_written_in_many_ways(limit: str, policy: str) -> None:
    client, _ = limited(limit)
    assert client.get("/").headers["ratelimit-policy"] == f'"default";{policy}'


@pytest.mark.parametrize("options", [{"burst": 0}, {"max_clients": 0}, {"name": 'a"b'}])
def test_mistakes_in_the_options_of_a_limit_are_sentences(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        RateLimitMiddleware("1/s", **options)


def test_an_async_key_is_a_mistake() -> None:
    async def key(request: Request) -> str:
        return ""

    with pytest.raises(ConfigurationError, match="is async; write a plain function"):
        RateLimitMiddleware("1/s", key=key)


# -- timeouts


async def forever() -> None:
    await asyncio.Event().wait()


def test_what_takes_too_long_is_a_503_with_the_fields_of_those_outside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, cancelled = App(), []
    app.middleware(CORSMiddleware(["*"]))
    app.middleware(TimeoutMiddleware("20ms"))

    @app.get("/")
    async def slow() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    answer = TestClient(app).get("/")
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (503, "*")
    assert answer.json()["detail"] == "There was no answer within 0.02 seconds."
    assert cancelled == [True]
    assert len([r for r in caplog.records if r.name == "weebill"]) == 1


def test_a_timeout_has_error_handlers_and_counts_what_middleware_takes() -> None:
    app = App()
    app.errorhandler(HandlerTimeout)(lambda error: f"after {error.seconds:g} s")

    async def slow(request: Request, call_next: Any) -> None:
        await forever()

    app.get("/", middleware=[TimeoutMiddleware(0.02), slow])(lambda: "x")
    answer = TestClient(app).get("/")
    assert (answer.status_code, answer.text) == (503, "after 0.02 s")


def test_a_stream_lasts_as_long_as_it_likes() -> None:
    app = App()

    @app.get("/", middleware=[TimeoutMiddleware(5)])
    async def stream() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(3600)
        yield "b"

    client = TestClient(app)
    with client.stream("GET", "/") as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "a"
        client.travel(3600)
        assert next(pieces) == "b"


def test_a_handlers_own_timeout_error_is_a_500() -> None:
    app = App()

    async def fails(request: Request, call_next: Any) -> None:
        raise TimeoutError

    app.get("/", middleware=[TimeoutMiddleware(9), fails])(lambda: "x")
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500


@pytest.mark.parametrize("seconds", [0, -1, "soon", None, float("inf"), float("nan")])
def test_what_is_no_time_is_a_sentence(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="TimeoutMiddleware"):
        TimeoutMiddleware(seconds)


# -- request ids


def named(**options: Any) -> App:
    app = App()
    app.middleware(RequestIDMiddleware(**options))
    app.get("/")(lambda request: request.id)
    app.get("/crash")(lambda: 1 / 0)
    return app


def test_a_request_has_an_id_that_the_answer_says(serve: Callable[[App], Any]) -> None:
    client = serve(named())
    first, second = client.get("/"), client.get("/")
    for answer in (first, second):
        assert re.fullmatch(r"[0-9a-f]{16}", answer.text)
        assert answer.headers["x-request-id"] == answer.text
    assert first.text != second.text
    assert client.get("/", headers={"x-request-id": "Abc_1-2"}).text == "Abc_1-2"
    assert client.get("/nowhere", headers={"x-request-id": "x"}).headers["x-request-id"] == "x"


@pytest.mark.parametrize("given", ["", "a b", "a" * 65, "é", "a\x1b[31m", "a,b", '"'])
def test_an_id_that_could_forge_a_log_is_not_taken(given: str) -> None:
    exchange = MemoryExchange("GET", "/", [(b"host", b"x"), (b"x-request-id", given.encode())])
    asyncio.run(exchange.serve(named()))
    assert re.fullmatch(rb"[0-9a-f]{16}", exchange.pieces[0])


def test_two_ids_are_none() -> None:
    fields = [("x-request-id", "a"), ("x-request-id", "b")]
    assert len(TestClient(named()).get("/", headers=fields).text) == 16


def test_the_log_names_a_failure_by_it_in_mounted_apps_too(caplog: pytest.LogCaptureFixture) -> None:
    app, inner = named(), App()
    inner.get("/")(lambda: 1 / 0)
    app.mount("/inner", inner)
    for path in ("/crash", "/inner/"):
        caplog.clear()
        answer = TestClient(app, raise_server_exceptions=False).get(path, headers={"x-request-id": "my-id"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (500, "my-id")
        assert f"GET {path} [my-id] failed" in caplog.text


def test_ids_may_be_taken_from_some_peers_only() -> None:
    def given(app: App, client: Any) -> bool:
        exchange = MemoryExchange("GET", "/", [(b"host", b"x"), (b"trace", b"mine")], client=client)
        asyncio.run(exchange.serve(app))
        return exchange.pieces == [b"mine"]

    app = named(header="Trace", trusted=["10.0.0.0/8"])
    assert given(app, ("10.1.2.3", 1))
    assert not given(app, ("203.0.113.7", 1))
    assert not given(named(header="Trace", trusted=[]), ("10.1.2.3", 1))


def test_a_bad_name_of_the_field_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="the header of request ids"):
        RequestIDMiddleware("X Request ID")


# -- security headers


def careful(**options: Any) -> App:
    app = App()
    app.middleware(SecurityHeadersMiddleware(**options))
    app.get("/")(lambda: "hello")
    app.get("/own")(
        lambda: Response("x", headers={"X-Frame-Options": "SAMEORIGIN", "Content-Security-Policy": "sandbox"})
    )
    return app


DEFAULTS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": "base-uri 'self'; object-src 'none'; frame-ancestors 'none'",
}


def security(answer: Any) -> dict[str, str]:
    usual = {"content-type", "content-length", "date", "allow", "transfer-encoding", "server", "vary"}
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() not in usual}


def test_every_answer_is_careful_by_default(serve: Callable[[App], Any]) -> None:
    app = careful()
    app.get("/crash")(lambda: 1 / 0)

    async def foreign(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    app.mount("/foreign", foreign)
    client = serve(app)
    for path in ("/", "/nowhere", "/crash", "/foreign/"):
        assert security(client.get(path)) == DEFAULTS


def test_hsts_is_said_over_https_only_behind_a_proxy_too() -> None:
    app = App()
    app.middleware(SecurityHeadersMiddleware())
    app.middleware(ProxyHeadersMiddleware(hops=1))
    name = "strict-transport-security"
    assert name not in TestClient(app).get("/").headers
    assert TestClient(app, "https://testserver").get("/").headers[name] == "max-age=31536000"
    assert name in TestClient(app).get("/", headers={"x-forwarded-proto": "https"}).headers


def test_a_handlers_own_field_wins() -> None:
    answer = TestClient(careful()).get("/own")
    assert answer.headers.getlist("x-frame-options") == ["SAMEORIGIN"]
    assert answer.headers.getlist("content-security-policy") == ["sandbox"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_each_field_can_be_another_or_none() -> None:
    app = careful(
        content_security_policy="default-src 'self'",
        strict_transport_security="max-age=1; includeSubDomains",
        content_type_options=None,
        frame_options=None,
        referrer_policy="no-referrer",
        cross_origin_opener_policy=None,
        permissions_policy="camera=()",
    )
    assert security(TestClient(app, "https://testserver").get("/")) == {
        "content-security-policy": "default-src 'self'",
        "strict-transport-security": "max-age=1; includeSubDomains",
        "referrer-policy": "no-referrer",
        "permissions-policy": "camera=()",
    }
    assert "content-security-policy" not in TestClient(careful(content_security_policy=None)).get("/").headers


def test_the_default_policy_follows_frame_options() -> None:
    for option, ending in (("SAMEORIGIN", "; frame-ancestors 'self'"), (None, "object-src 'none'")):
        policy = TestClient(careful(frame_options=option)).get("/").headers["content-security-policy"]
        assert policy.endswith(ending)


def test_a_nonce_is_new_each_time_and_at_hand_in_templates(tmp_path: Path) -> None:
    app = App(templates=tmp_path)
    (tmp_path / "page.html").write_text("<script nonce='{{ request.state.csp_nonce }}'></script>")
    app.middleware(SecurityHeadersMiddleware(content_security_policy="script-src 'nonce-{nonce}'"))
    app.get("/")(lambda: render_template("page.html"))
    seen = set()
    for _ in range(2):
        answer = TestClient(app).get("/")
        [nonce] = re.findall(r"nonce='([A-Za-z0-9_-]{22})'", answer.text)
        assert answer.headers["content-security-policy"] == f"script-src 'nonce-{nonce}'"
        seen.add(nonce)
    assert len(seen) == 2


def test_fields_are_said_of_refusals_too() -> None:
    app = careful()

    @app.middleware
    async def refuse(request: Request, call_next: Any) -> None:
        raise HTTPException(403)

    assert security(TestClient(app).get("/")) == DEFAULTS


@pytest.mark.parametrize(
    "options",
    [
        {"frame_options": "deny"},
        {"referrer_policy": "a\r\nb"},
        {"permissions_policy": "ü\u2028"},
        {"content_security_policy": 5},
    ],
)
def test_a_bad_value_is_a_sentence(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        SecurityHeadersMiddleware(**options)


def test_pages_are_careful_without_it_and_its_arguments_decide_with_it() -> None:
    pages = {"x-content-type-options": "nosniff", "x-frame-options": "SAMEORIGIN"}
    pages["referrer-policy"] = "strict-origin-when-cross-origin"

    def of(app: App) -> dict[str, str | None]:
        app.get("/")(lambda: HTMLResponse("<p>"))
        answer = TestClient(app).get("/")
        return {name: answer.headers.get(name) for name in pages}

    assert of(App()) == pages
    with_it, without_frames = App(), App()
    with_it.middleware(SecurityHeadersMiddleware())
    assert of(with_it) == {**pages, "x-frame-options": "DENY"}
    without_frames.middleware(SecurityHeadersMiddleware(frame_options=None, referrer_policy=None))
    assert of(without_frames) == {**pages, "x-frame-options": None, "referrer-policy": None}
    assert TestClient(App()).get("/").headers.get("x-frame-options") is None  # a problem document is no page
    own = HTMLResponse("<p>", headers={"X-Frame-Options": "DENY"})
    assert own.headers.getlist("x-frame-options") == ["DENY"]
