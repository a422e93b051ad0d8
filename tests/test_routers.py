"""Routers: prefixes, includes, names, and whose a path is that has no route."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from weebill import App, Request, Router
from weebill.errors import ConfigurationError, PatternError
from weebill.testing import TestClient


def signing(router: Router, name: str) -> Router:
    """The router, with a hook that adds `name` to the field "by" of each answer."""

    @router.after_request
    def sign(response: Any) -> None:
        response.headers["by"] = (response.headers.get("by", "") + " " + name).strip()

    return router


def signed(client: TestClient, method: str, path: str, **options: Any) -> tuple[int, str | None]:
    answer = client.request(method, path, **options)
    return answer.status_code, answer.headers.get("by")


# -- include


def test_a_router_may_be_included_several_times() -> None:
    app, router = App(), Router("/notes")
    app.include(router, "/v1")
    app.include(router, "/v2")
    router.get("/{id:int}")(lambda id: f"note {id}")  # noqa: A006
    client = TestClient(app)
    assert client.get("/v1/notes/1").text == client.get("/v2/notes/1").text == "note 1"
    assert client.get("/notes/1").status_code == 404


def test_what_is_registered_late_arrives_in_every_app_and_at_every_depth() -> None:
    one, two, outer, inner = App(), App(), Router("/outer"), Router("/inner")
    one.include(outer)
    two.include(outer, "/two")
    outer.include(inner, "/more")
    inner.get("/late")(lambda: "late")
    assert TestClient(one).get("/outer/more/inner/late").text == "late"
    assert TestClient(two).get("/two/outer/more/inner/late").text == "late"
    with TestClient(one) as client:
        assert client.get("/outer/hot").status_code == 404
        outer.get("/hot")(lambda: "hot")
        signing(outer, "outer")
        assert (client.get("/outer/hot").text, client.get("/outer/hot").headers["by"]) == ("hot", "outer")


def test_parameters_of_a_prefix_reach_the_handler() -> None:
    app, router = App(), Router("/shop/{shop}")
    router.get("/{item:int}")(lambda shop, item: f"{shop} {item}")
    app.include(router, "/{lang}")
    assert TestClient(app).get("/en/shop/a%20b/5").text == "a b 5"


def test_a_parameter_of_prefix_and_path_must_not_have_one_name() -> None:
    router = Router("/{id}")
    router.get("/x")(lambda id: "")  # noqa: A006
    with pytest.raises(PatternError, match=r"'/\{id\}/\{id\}/x' has the parameter 'id' twice.*<lambda>"):
        App().include(router, "/{id}")


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda app: app.include(Router(), "api"), "the prefix 'api' must begin with a slash"),
        (lambda app: app.include(Router(), "/api/"), "the prefix '/api/' must begin .* not end"),
        (lambda app: app.include(App(), "/api"), r"not an App; write mount\('/api', app\)"),
        (
            lambda app: app.include(Router(), url_prefix="/a"),
            "include takes no option 'url_prefix'; .*prefix=",
        ),
        (lambda app: Router(url_prefix="/a"), "Router takes no option 'url_prefix'; write prefix="),
        (lambda app: App(template_folder="pages"), "App takes no option 'template_folder'; write templates="),
        (lambda app: App(static_folder="files"), r"'static_folder'; write app.static\(prefix, folder\)"),
        (lambda app: App(debgu=True), "App takes no option 'debgu'; write debug="),
        (
            lambda app: app.route("/x", method="POST"),
            r"route '/x' takes no option 'method'; write methods=\[",
        ),
        (lambda app: app.get("/x", methods=["POST"]), r"no option 'methods'; write route\(path, methods="),
        (lambda app: app.post("/x", nmae="x"), "the route '/x' takes no option 'nmae'; write name="),
        (lambda app: app.post("/x", qqq="x"), "no option 'qqq'; there are name, stream"),
        (lambda app: app.add_route("/x", str, endpoint="x"), "no option 'endpoint'; write name="),
        (lambda app: app.route("/x", ["TRACE"])(str), "TRACE at '/x'"),
        (lambda app: app.route("/x", ["CONNECT"])(str), "CONNECT at '/x'"),
    ],
)
def test_what_other_frameworks_call_it_is_answered_with_what_to_write(
    mistake: Callable[[App], Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        mistake(App())


def test_attributes_of_other_frameworks_say_what_to_write() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'register_blueprint'; write include\(router"):
        App().register_blueprint(Router())
    with pytest.raises(AttributeError, match=r"'Router' object has no attribute 'nothing'$"):
        Router().nothing  # noqa: B018
    assert not hasattr(App(), "config")


def test_help_shows_every_option_of_a_route() -> None:
    options = {"name", "stream", "max_body", "timeout", "cancel_on_disconnect"}
    for method in ("route", "add_route", "get", "post", "put", "patch", "delete", "head", "options"):
        shown = inspect.signature(getattr(App, method)).parameters
        assert options <= set(shown)
        assert all(shown[name].kind is inspect.Parameter.KEYWORD_ONLY for name in options)


# -- whose a path is


def make_areas() -> App:
    app = signing(App(), "app")
    api, users = (
        signing(Router("/api"), "api"),
        signing(Router("/users"), "users"),
    )
    users.get("/{id:int}")(lambda id: "user")  # noqa: A006
    api.get("/ping")(lambda: "pong")
    api.errorhandler(404)(lambda error: {"nothing at": "api"})
    api.include(users)
    app.include(api)
    app.get("/about")(lambda: "about")
    app.include(signing(Router("/alike"), "one"))
    app.include(signing(Router("/alike"), "two"))
    app.include(signing(Router("/{lang}/docs"), "docs"))
    bare = signing(Router(), "bare")
    bare.get("/bare")(lambda: "bare")
    app.include(bare)
    return app


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/api/users/1", (200, "users api app")),
        ("GET", "/api/users/nobody", (404, "users api app")),
        ("POST", "/api/users/1", (405, "users api app")),
        ("OPTIONS", "/api/users/1", (204, "users api app")),
        ("GET", "/api/users", (404, "users api app")),
        ("GET", "/api/none", (404, "api app")),
        ("GET", "/api", (404, "api app")),
        ("GET", "/apis", (404, "app")),
        ("GET", "/none", (404, "app")),
        ("GET", "/alike/none", (404, "app")),  # of which router? of the one around both
        ("GET", "/en/docs/none", (404, "docs app")),
        ("POST", "/bare", (405, "bare app")),
        ("OPTIONS", "/bare", (204, "bare app")),
        ("GET", "/bare/none", (404, "app")),
        ("GET", "/api/%zz", (400, "app")),
    ],
)
def test_a_path_below_the_prefix_of_a_router_belongs_to_it(
    method: str, path: str, found: tuple[int, str]
) -> None:
    assert signed(TestClient(make_areas()), method, path) == found


def test_the_404_of_a_router_is_worded_by_its_own_error_handler() -> None:
    client = TestClient(make_areas())
    assert client.get("/api/none").json() == client.get("/api/users/none").json() == {"nothing at": "api"}
    assert "nothing at" not in client.get("/none").text


def test_a_guard_of_a_router_stands_before_its_404_too() -> None:
    app, admin = App(), Router("/admin")
    admin.before_request(lambda: ("who are you?", 401))
    app.include(admin)
    assert TestClient(app).get("/admin/whatever").status_code == 401
    assert TestClient(app).get("/whatever").status_code == 404


def test_the_middleware_of_a_router_sees_a_preflight_and_a_404() -> None:
    app, api = App(), Router("/api")

    class Open:
        async def startup(self, app: App) -> None:
            started.append(app)

        async def __call__(self, request: Request, call_next: Any) -> Any:
            response = await call_next(request)
            response.headers["open"] = "yes"
            return response

    started: list[App] = []
    api.middleware(Open())
    api.post("/x")(lambda: "x")
    app.include(api)
    with TestClient(app) as client:
        seen = [
            client.request(m, p).headers.get("open") for m, p in (("OPTIONS", "/api/x"), ("GET", "/api/y"))
        ]
        assert seen == ["yes", "yes"]
        assert client.get("/y").headers.get("open") is None
    assert started == [app]


def test_two_routers_at_one_path_share_its_405() -> None:
    app, one, two = signing(App(), "app"), signing(Router("/a"), "one"), signing(Router("/a"), "two")
    one.get("/x")(lambda: "get")
    two.put("/x")(lambda: "put")
    app.include(one)
    app.include(two)
    client = TestClient(app)
    assert signed(client, "GET", "/a/x") == (200, "one app")
    assert signed(client, "PUT", "/a/x") == (200, "two app")
    assert signed(client, "DELETE", "/a/x") == (405, "app")
    assert client.delete("/a/x").headers["allow"] == "GET, HEAD, OPTIONS, PUT"
