"""From the name of a route to its URL."""

from __future__ import annotations

from typing import Any

import pytest

from weebill import App, Request, Router
from weebill.errors import ConfigurationError
from weebill.testing import TestClient


def show(**params: Any) -> str:
    return ""


def make_app(**options: Any) -> App:
    """An App whose "/url" is what `url_for` gives for the query's name and parameters, in a request."""
    app = App(**options)

    @app.get("/url/{name}")
    def url(request: Request, name: str) -> str:
        given: dict[str, Any] = dict(request.query)
        if "_external" in given:
            given["_external"] = True
        return app.url_for(name, **given)

    admin, users = Router("/admin", name="admin"), Router("/users", name="users")
    admin.get("/")(index)
    users.get("/")(index_of_users)
    users.get("/{id}")(lambda id: app.url_for(id))  # noqa: A006
    admin.include(users)
    app.include(admin)
    app.get("/")(home)
    app.get("/post/{page:int}", name="post")(home)
    app.get("/post", name="post")(home)
    app.get("/all/{rest:path}", name="rest")(lambda rest: rest)
    return app


def home() -> str:
    return ""


def index() -> str:
    return ""


def index_of_users() -> str:
    return ""


index_of_users.__name__ = "index"


def test_the_names_of_routers_go_before_those_of_their_routes() -> None:
    app = make_app()
    assert app.url_for("admin.index") == "/admin/"
    assert app.url_for("admin.users.index") == "/admin/users/"
    with pytest.raises(ConfigurationError, match=r"no route is named 'index'; there are url, admin.index"):
        app.url_for("index")


def test_a_leading_dot_means_the_router_of_the_current_request() -> None:
    client = TestClient(make_app())
    assert client.get("/admin/users/.index").text == "/admin/users/"
    assert client.get("/url/.home").text == "/"


def test_unknown_parameters_are_the_query_and_none_is_left_out() -> None:
    app = make_app()
    assert app.url_for("home", tag=["a", "b"], q="x y&z", none=None) == "/?tag=a&tag=b&q=x+y%26z"


def test_the_route_that_takes_up_most_of_what_is_given_is_meant() -> None:
    app = make_app()
    assert (app.url_for("post"), app.url_for("post", page=2)) == ("/post", "/post/2")
    assert app.url_for("post", q=1) == "/post?q=1"


def test_an_anchor_is_quoted() -> None:
    assert make_app().url_for("home", _anchor="a b#c/é", q=1) == "/?q=1#a%20b%23c/%C3%A9"


def test_no_value_makes_a_path_that_a_browser_takes_for_a_host() -> None:
    app = App()
    app.get("/{rest:path}")(lambda rest: rest)
    [name] = [route.name for route in app.routes]
    for rest in ("/evil.example", "//evil.example", "\\evil.example", "\t/evil.example"):
        url = app.url_for(name, rest=rest)
        assert url[:2] not in ("//", "/\\", "/\t")
        assert TestClient(app).get(url).text == rest


@pytest.mark.parametrize(
    ("options", "host", "url"),
    [
        ({}, "example.com", "http://example.com/post/3?q=1#x"),
        ({}, "Example.com:8000", "http://example.com:8000/post/3?q=1#x"),
        ({}, "[::1]:8000", "http://[::1]:8000/post/3?q=1#x"),
        ({"base_url": "https://safe.example"}, "evil.example", "https://safe.example/post/3?q=1#x"),
        ({"base_url": "https://safe.example/at/"}, "evil.example", "https://safe.example/at/post/3?q=1#x"),
    ],
)
def test_an_external_url_has_the_host_of_the_request_or_the_apps_own(
    options: dict[str, str], host: str, url: str
) -> None:
    app = make_app(**options)
    app.get("/it")(lambda: app.url_for("post", page=3, q=1, _anchor="x", _external=True))
    app.get("/too")(lambda request: request.url_for("post", page=3, q=1, _anchor="x"))
    client = TestClient(app)
    assert client.get("/it", headers={"host": host}).text == url
    assert client.get("/too", headers={"host": host}).text == url


def test_no_url_is_built_of_a_bad_host() -> None:
    # Our own server refuses such a request; others hand it on.
    answer = TestClient(make_app()).get("/url/home?_external=1", headers=[("host", "a.example/x?y")])
    assert (answer.status_code, "Host" in answer.text) == (400, True)


def test_outside_a_request_an_external_url_needs_the_apps_own() -> None:
    with pytest.raises(ConfigurationError, match=r"needs App\(base_url='https://example.com'\)"):
        make_app().url_for("home", _external=True)
    assert make_app(base_url="http://a.example").url_for("home", _external=True) == "http://a.example/"


@pytest.mark.parametrize(
    "base_url",
    ["example.com", "ftp://a.example", "https://", "https://a b", "https://a/?q", "https://é.example"],
)
def test_a_base_url_that_is_none_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url is"):
        App(base_url=base_url)


@pytest.mark.parametrize("name", ["_method", "_scheme"])
def test_options_of_flask_that_we_have_not_are_no_parameters_of_a_query(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"url_for takes no {name}"):
        make_app().url_for("home", **{name: "x"})


# -- what may be meant


def test_one_name_of_two_handlers_is_an_error_where_it_is_used() -> None:
    app, one, two = App(), Router("/one"), Router("/two")
    one.get("/")(index)
    two.get("/")(index_of_users)
    app.include(one)
    app.include(two)
    with pytest.raises(
        ConfigurationError, match=r"may mean /one/, index \(.* or /two/, .*give the routers a name"
    ):
        app.url_for("index")


def test_one_handler_at_several_paths_has_the_url_of_the_first() -> None:
    app = App()
    app.get("/home")(app.get("/")(home))
    assert app.url_for("home") == "/"


def test_a_router_that_is_included_twice_means_itself_from_inside() -> None:
    app, router = App(), Router()
    router.get("/me")(lambda: app.url_for("me"))
    [me] = router.routes
    me.name = "me"
    app.include(router, "/v1")
    app.include(router, "/v2")
    client = TestClient(app)
    assert [client.get(f"/{v}/me").text for v in ("v1", "v2")] == ["/v1/me", "/v2/me"]
    with pytest.raises(ConfigurationError, match=r"may mean /v1/me or /v2/me; give include"):
        app.url_for("me")


# -- mounts and proxies


def test_a_mounted_app_sees_its_own_root_path() -> None:
    app, inner = App(), make_app()
    app.mount("/ä", inner)
    client = TestClient(app)
    assert client.get("/%C3%A4/url/home").text == "/%C3%A4/"
    assert client.get("/%C3%A4/url/home?_external=1").text == "http://testserver/%C3%A4/"


def test_the_outer_app_is_the_outer_app_again_behind_a_mount() -> None:
    app, inner, seen = App(), App(), []
    inner.get("/")(lambda: "inner")
    app.mount("/inner", inner)

    async def look(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        request.background(lambda: seen.append(app.url_for("url_of_app", _external=True)))
        return response

    app.middleware(look)
    app.get("/there", name="url_of_app")(home)
    assert TestClient(app).get("/inner/").text == "inner"
    assert seen == ["http://testserver/there"]


def test_static_files_have_urls(tmp_path: Any) -> None:
    app = App()
    app.static("/static", tmp_path)
    assert app.url_for("static", file="css/a b.css") == "/static/css/a%20b.css"


# -- hosts


def make_hosts(**options: Any) -> App:
    app, tenant = App(**options), Router(host="{tenant}.example.com", name="tenant")

    @tenant.get("/")
    def home(request: Request, tenant: str) -> str:
        return " ".join(
            app.url_for("tenant.home", tenant=t, _external=e) for t in (None, "b") for e in (0, 1)
        )

    @tenant.get("/own")
    def own() -> str:
        return app.url_for("tenant.own") + " " + app.url_for("main")

    @app.get("/main")
    def main() -> str:
        return app.url_for("tenant.own", tenant="acme")

    app.include(tenant)
    return app


def test_a_route_of_another_host_has_a_url_with_the_host() -> None:
    app = make_hosts()
    assert app.url_for("tenant.own", tenant="Acme") == "//acme.example.com/own"
    answer = TestClient(app).get("/main", headers={"host": "example.com:8000"})
    assert answer.text == "//acme.example.com:8000/own"
    safe = make_hosts(base_url="https://example.com")
    assert safe.url_for("tenant.own", tenant="acme", _external=True) == "https://acme.example.com/own"


def test_within_a_host_the_path_is_enough_and_the_parameters_stay() -> None:
    answer = TestClient(make_hosts()).get("/own", headers={"host": "acme.example.com:81"})
    assert answer.text == "/own /main"


@pytest.mark.parametrize("tenant", ["a.b", "evil.example/", "a b", "", "é", "a:80", "u@"])
def test_a_value_that_is_no_part_of_a_name_is_refused(tenant: str) -> None:
    with pytest.raises(ConfigurationError, match=r"url_for\('tenant.own'\): tenant=.* does not fit"):
        make_hosts().url_for("tenant.own", tenant=tenant)
