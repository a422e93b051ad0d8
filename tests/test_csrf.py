"""Requests that another site has its visitors send are refused, and those of one's own pages are not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from weebill import App, Request
from weebill.csrf import CSRFMiddleware, csrf_field, csrf_token
from weebill.errors import ConfigurationError
from weebill.sessions import MemoryStore, SessionMiddleware
from weebill.testing import TestClient

KEY = "0123456789abcdef" * 4
OWN = {"sec-fetch-site": "same-origin"}
FORM = "application/x-www-form-urlencoded"
MULTIPART = 'multipart/form-data; boundary="b"'


def quiet(app: App) -> TestClient:
    """A client that gets what is answered to failures."""
    return TestClient(app, raise_server_exceptions=False)


def make_app(csrf: CSRFMiddleware | None = None, store: Any = None) -> App:
    app = App(__name__, secret_key=KEY)
    app.middleware(SessionMiddleware(store))
    app.middleware(csrf or CSRFMiddleware())

    @app.get("/token")
    async def token(request: Request) -> str:
        return csrf_token(request)

    @app.get("/form")
    def form(request: Request) -> Any:
        return csrf_field()

    @app.get("/login")
    async def login(request: Request) -> str:
        request.session["user"] = "ada"
        request.session.renew()
        return "in"

    @app.route("/act", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREED"])
    async def act(request: Request) -> str:
        return "done"

    @app.post("/act-in-thread")
    def act_in_thread(request: Request) -> str:
        return f"done with {request.form['what']}"

    @app.post("/upload", stream=True)
    async def upload(request: Request) -> str:
        form = await request.load_form()
        return f"done with {form.fields['what']}"

    @app.post("/hook/in")
    async def hook(request: Request) -> str:
        return "done"

    @app.post("/hooked")
    async def hooked(request: Request) -> str:
        return "done"

    return app


def multipart(**fields: str) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return "".join([*parts, "--b--\r\n"]).encode()


def post(client: Any, path: str = "/act", **options: Any) -> Any:
    """A POST of a page of one's own, unless `headers` say otherwise."""
    return client.post(path, **{"headers": OWN, **options})


# -- on every wire


def test_a_form_is_taken_with_its_token_and_refused_without(serve: Any) -> None:
    client = serve(make_app())
    token = client.get("/token").text
    for path in ("/act-in-thread", "/upload"):
        assert post(client, path, data={"what": "a", "csrf_token": token}).text == "done with a"
        headers = {**OWN, "content-type": MULTIPART}
        content = multipart(what="b", csrf_token=token)
        assert client.post(path, content=content, headers=headers).text == "done with b"
        by_script = {**OWN, "x-csrf-token": token}
        assert client.post(path, data={"what": "c"}, headers=by_script).text == "done with c"
        for answer in (
            post(client, path, data={"what": "a"}),
            post(client, path, data={"what": "a", "csrf_token": token[:-4]}),
            client.post(path, content=multipart(what="b"), headers=headers),
        ):
            assert answer.status_code == 403
            assert "The token against forged requests is" in answer.json()["detail"]
            assert answer.headers["vary"] == "Accept, Cookie"


def test_where_a_request_comes_from_is_looked_at_on_every_wire(serve: Any) -> None:
    client = serve(make_app())
    assert client.post("/act", headers=OWN).text == "done"
    assert client.post("/act", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    own = str(client.base_url).rstrip("/")
    assert client.post("/act", headers={"origin": own}).text == "done"
    assert client.post("/act", headers={"origin": f"{own}0"}).status_code == 403


# -- where it comes from


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREED"])
def test_an_unsafe_method_of_another_site_is_refused(method: str) -> None:
    client = TestClient(make_app())
    for site in ("cross-site", "same-site", "", "none, none", "anything", "SAME-ORIGIN"):
        answer = client.request(method, "/act", headers={"sec-fetch-site": site})
        assert answer.status_code == 403
        assert answer.json()["detail"] == f"This request comes from another site (Sec-Fetch-Site: {site})."
    for site in ("same-origin", "none"):
        assert client.request(method, "/act", headers={"sec-fetch-site": site}).text == "done"


def test_a_safe_method_may_come_from_anywhere() -> None:
    client = TestClient(make_app())
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = client.request(
            method, "/act", headers={"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
        )
        assert answer.status_code == 200


@pytest.mark.parametrize("name", ["origin", "referer"])
@pytest.mark.parametrize(
    ("base_url", "origin", "is_ours"),
    [
        ("http://testserver", "http://testserver", True),
        ("http://testserver", "HTTP://TESTSERVER", True),
        ("http://testserver", "http://testserver:80", True),
        ("http://testserver", "https://testserver", True),  # a proxy has ended TLS
        ("http://testserver", "http://testserver:8000", False),
        ("http://testserver:8000", "http://testserver:8000", True),
        ("http://testserver:8000", "http://testserver", False),
        ("https://testserver", "https://testserver", True),
        ("https://testserver", "https://testserver:443", True),
        ("https://testserver", "http://testserver", False),
        ("http://testserver", "http://testserver.evil.example", False),
        ("http://testserver", "http://eviltestserver", False),
        ("http://testserver", "http://evil.example/testserver", False),
        ("http://testserver", "http://testserver@evil.example", False),
        ("http://testserver", "null", False),
        ("http://testserver", "file://", False),
        ("http://testserver", "testserver", False),
        ("http://testserver", "//testserver", False),
    ],
)
def test_without_sec_fetch_site_the_origin_is_looked_at_and_else_the_referer(
    name: str, base_url: str, origin: str, is_ours: bool
) -> None:
    client = TestClient(make_app(), base_url)
    value = f"{origin}/page?x=https://testserver" if name == "referer" else origin
    answer = client.post("/act", headers={name: value})
    assert answer.status_code == (200 if is_ours else 403)
    assert is_ours or answer.json()["detail"].startswith("This request comes from another origin: ")


def test_the_better_field_decides() -> None:
    client = TestClient(make_app())
    for headers, status in (
        ({"sec-fetch-site": "cross-site", "origin": "http://testserver"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://evil.example"}, 200),
        ({"origin": "http://evil.example", "referer": "http://testserver/"}, 403),
        ({"origin": "http://testserver", "referer": "http://evil.example/"}, 200),
    ):
        assert client.post("/act", headers=headers).status_code == status


def test_what_says_nothing_passes_without_cookies_and_needs_the_token_with_them() -> None:
    client = TestClient(make_app())
    assert client.post("/act", json={}).text == "done"
    own = {"cookie": "theme=dark"}
    answer = client.post("/act", json={}, headers=own)
    assert answer.status_code == 403
    assert "does not say where it comes from" in answer.json()["detail"]
    token = client.get("/token").text
    answer = client.post("/act", json={})
    assert answer.status_code == 403
    assert "X-CSRF-Token" in answer.json()["detail"]
    assert client.post("/act", json={}, headers={"x-csrf-token": token}).text == "done"
    assert client.post("/act", json={}, headers={"origin": "http://testserver"}).text == "done"


def test_a_trusted_origin_may_send_everything_and_no_other() -> None:
    app = make_app(CSRFMiddleware(["https://App.example.org", "http://dev.example:3000"]))
    client = TestClient(app)
    client.get("/token")
    for origin, status in (
        ("https://app.example.org", 200),
        ("http://dev.example:3000", 200),
        ("http://app.example.org", 403),
        ("https://app.example.org:444", 403),
        ("https://app.example.org.evil.example", 403),
        ("https://sub.app.example.org", 403),
        ("http://dev.example", 403),
    ):
        headers = {"sec-fetch-site": "cross-site", "origin": origin, "content-type": FORM}
        assert client.post("/act", content=b"a=b", headers=headers).status_code == status, origin


def test_exempt_paths_are_not_checked_and_no_others() -> None:
    client = TestClient(make_app(CSRFMiddleware(exempt=["/hook/", "/act"])))
    foreign = {"sec-fetch-site": "cross-site"}
    for path, status in (("/hook/in", 200), ("/act", 200), ("/hooked", 403), ("/upload", 403)):
        assert client.post(path, headers=foreign).status_code == status, path


def test_what_is_exempt_is_not_left_by_dots() -> None:
    app = App(__name__)
    app.middleware(CSRFMiddleware(exempt=["/hook/"]))
    app.post("/{path:path}")(lambda path: "done")
    client = TestClient(app)
    foreign = {"sec-fetch-site": "cross-site"}
    assert client.post("/hook/in", headers=foreign).text == "done"
    for up in ("..", "%2e%2e", "..%2f", "%2e.%2F", "x/..", "..%5c"):
        assert client.post(f"/hook/{up}/act", headers=foreign).status_code == 403, up


# -- the token


@pytest.mark.parametrize(
    "kind",
    [
        *(FORM, MULTIPART, "text/plain", "TEXT/Plain; charset=utf-8", "", None),
        *("application/json, text/plain", "json", "application/", "application /json"),
    ],
)
def test_what_a_form_of_another_site_could_send_needs_the_token_of_its_session(kind: str | None) -> None:
    client = TestClient(make_app())
    headers = OWN if kind is None else {**OWN, "content-type": kind}
    content = multipart(a="b") if kind == MULTIPART else b'{"a":"b"}'
    assert client.post("/act", content=content, headers=headers).text == "done"  # there is no session
    token = client.get("/token").text
    answer = client.post("/act", content=content, headers=headers)
    assert answer.status_code == 403
    assert "the field csrf_token of the form, or X-CSRF-Token" in answer.json()["detail"]
    with_token = {**headers, "x-csrf-token": token}
    assert client.post("/act", content=content, headers=with_token).text == "done"


def test_what_no_form_can_send_needs_none() -> None:
    client = TestClient(make_app())
    client.get("/token")
    assert post(client, json={"a": 1}).text == "done"
    for method in ("PUT", "DELETE", "PATCH"):
        assert client.request(method, "/act", headers=OWN).text == "done"


def test_a_token_is_masked_anew_each_time_and_each_is_good() -> None:
    client = TestClient(make_app())
    tokens = [client.get("/token").text for _ in range(20)]
    assert len(set(tokens)) == 20
    assert len({token[:16] for token in tokens}) == 20
    assert len({token[-16:] for token in tokens}) == 20
    for token in tokens:
        assert post(client, data={"csrf_token": token}).text == "done"


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "A" * len(token),
        lambda token: token[:-8],
        lambda token: token[4:],
        lambda token: token[::-1],
        lambda token: "x",
        lambda token: "=",
        lambda token: "ü",
        lambda token: "A" * 10_000,
        lambda token: "\0",
    ],
)
def test_a_token_that_is_not_the_sessions_is_refused(change: Any) -> None:
    client = TestClient(make_app())
    bad = change(client.get("/token").text)
    answer = post(client, data={"csrf_token": bad})
    assert answer.status_code == 403
    assert answer.json()["detail"].endswith("is not of this session: load the page again.")


def test_the_token_of_another_session_is_refused() -> None:
    app = make_app()
    stranger, client = TestClient(app), TestClient(app)
    client.get("/token")
    assert post(client, data={"csrf_token": stranger.get("/token").text}).status_code == 403


def test_a_session_that_never_had_a_token_accepts_none() -> None:
    client = TestClient(make_app())
    client.get("/login")
    for token in ("", "AA", "A" * 116):
        assert post(client, data={"csrf_token": token}).status_code == 403


@pytest.mark.parametrize("store", [None, MemoryStore()])
def test_a_token_from_before_the_login_is_worth_nothing_after_it(store: Any) -> None:
    client = TestClient(make_app(store=store))
    before = client.get("/token").text
    client.get("/login")
    after = client.get("/token").text
    assert post(client, data={"csrf_token": before}).status_code == 403
    assert post(client, data={"csrf_token": after}).text == "done"


def test_a_page_with_a_token_is_kept_by_no_cache() -> None:
    answer = TestClient(make_app()).get("/form")
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Cookie", "no-store")


def test_the_field_is_an_input_that_a_form_sends_back() -> None:
    client = TestClient(make_app())
    answer = client.get("/form")
    found = re.fullmatch(r'<input type="hidden" name="(\w+)" value="([\w=-]+)">', answer.text)
    assert found
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert post(client, data={found[1]: found[2]}).text == "done"


def test_templates_have_the_field_and_the_token(tmp_path: Any) -> None:
    (tmp_path / "page.html").write_text("{{ csrf_field() }} {{ csrf_token() }}")
    app = App(__name__, secret_key=KEY, templates=tmp_path)
    assert app.templates.environment  # made before anything is registered
    app.middleware(SessionMiddleware())
    app.middleware(CSRFMiddleware())

    @app.get("/")
    async def index(request: Request) -> Any:
        return app.templates.render("page.html")

    @app.post("/")
    async def act() -> str:
        return "done"

    client = TestClient(app)
    text = client.get("/").text
    assert text.startswith('<input type="hidden" name="csrf_token" value="')
    assert post(client, "/", data={"csrf_token": text.split()[-1]}).text == "done"


def test_a_form_that_is_malformed_is_the_clients_fault() -> None:
    client = TestClient(make_app())
    client.get("/token")
    headers = {**OWN, "content-type": "multipart/form-data; boundary=b"}
    assert client.post("/act", content=b"no part", headers=headers).status_code == 400


def test_a_stream_of_another_site_is_refused_before_it_is_read() -> None:
    read: list[bytes] = []

    def pieces() -> Any:
        for _ in range(3):
            read.append(b"x")
            yield b"x"

    app = make_app()

    @app.post("/stream", stream=True)
    async def stream(request: Request) -> AsyncIterator[bytes]:
        async for piece in request.stream():
            yield piece

    answer = TestClient(app).post("/stream", content=pieces(), headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert read == []


def test_a_stream_that_was_read_for_its_token_says_so_and_is_not_empty() -> None:
    app = make_app()

    @app.post("/stream", stream=True)
    async def stream(request: Request) -> str:
        return "".join([piece.decode() async for piece in request.stream()])

    client = TestClient(app)
    token = client.get("/token").text
    with pytest.raises(ConfigurationError, match=r"by CSRFMiddleware, .* sent as X-CSRF-Token"):
        client.post("/stream", data={"csrf_token": token}, headers=OWN)
    answer = client.post("/stream", data={"what": "tea"}, headers={**OWN, "x-csrf-token": token})
    assert answer.text == "what=tea"


# -- mistakes in a program


@pytest.mark.parametrize(
    "origin",
    ["", "null", "*", "app.example.org", "https://", "https://a/b", "https://a/", "ftp://a", "https://a b"],
)
def test_a_trusted_origin_that_is_none_is_refused_at_registration(origin: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'https://app\.example\.org'"):
        CSRFMiddleware([origin])


def test_lists_and_paths_are_checked_at_registration() -> None:
    with pytest.raises(ConfigurationError, match="are lists"):
        CSRFMiddleware("https://a.example")
    with pytest.raises(ConfigurationError, match="are lists"):
        CSRFMiddleware(exempt="/hook")
    for path in ("hook", "", "/"):
        with pytest.raises(ConfigurationError, match="the exempt path is"):
            CSRFMiddleware(exempt=[path])


def test_the_wrong_order_is_told_at_start_and_without_one(caplog: pytest.LogCaptureFixture) -> None:
    app = App(__name__, secret_key=KEY)
    app.middleware(CSRFMiddleware())
    app.middleware(SessionMiddleware())

    @app.get("/")
    async def index() -> str:
        return "never"

    with pytest.raises(ConfigurationError, match="registered before SessionMiddleware"), TestClient(app):
        pass
    assert quiet(app).get("/").status_code == 500
    assert "write app.middleware(SessionMiddleware()) first" in caplog.text


def test_without_sessions_where_it_comes_from_is_still_looked_at() -> None:
    app = App(__name__)
    app.middleware(CSRFMiddleware())

    @app.post("/")
    async def act() -> str:
        return "done"

    client = TestClient(app)
    assert post(client, "/", data={"a": "b"}).text == "done"
    assert client.post("/", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/", headers={"cookie": "a=b"}).status_code == 403


def test_a_token_needs_a_request_and_a_session(caplog: pytest.LogCaptureFixture) -> None:
    for ask in (csrf_token, csrf_field):
        with pytest.raises(ConfigurationError, match="outside a request"):
            ask()
    app = App(__name__)

    @app.get("/")
    async def index() -> str:
        return csrf_token()

    assert quiet(app).get("/").status_code == 500
    assert "SessionMiddleware" in caplog.text


def test_the_answer_to_a_refusal_is_the_programs_to_word() -> None:
    app = make_app()

    @app.errorhandler(403)
    async def forbidden(error: Any) -> str:
        return f"no: {error.detail}"

    answer = TestClient(app).post("/act", headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.text[:4]) == (403, "no: ")
