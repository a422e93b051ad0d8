"""Templates: what they have at hand, what they escape, and how they fail."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from markupsafe import Markup

from weebill import (
    App,
    Request,
    Router,
    render_template,
    render_template_string,
    stream_template,
    url_for,
)
from weebill.errors import ConfigurationError
from weebill.sessions import SessionMiddleware
from weebill.templates import Templates
from weebill.testing import TestClient


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    return tmp_path / "templates"


@pytest.fixture
def app(folder: Path) -> App:
    return App(templates=folder)


def page_of(app: App, source: str, **context: Any) -> str:
    """What a handler's template gives."""
    app.get("/page/{number:int}", name="page")(lambda: render_template_string(source, **context))
    return TestClient(app).get("/page/7").text


# -- what is at hand


def test_a_page_is_html_from_any_kind_of_handler(app: App, folder: Path) -> None:
    (folder / "hello.html").write_text("<p>{{ name }}</p>")
    app.get("/def")(lambda: render_template("hello.html", name="def"))

    @app.get("/async")
    async def on_loop() -> Markup:
        return render_template("hello.html", name="async")

    client = TestClient(app)
    for kind in ("def", "async"):
        answer = client.get(f"/{kind}")
        assert answer.text == f"<p>{kind}</p>"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_templates_know_the_request_and_the_urls(app: App) -> None:
    page = page_of(
        app, "{{ request.path }} {{ request.params.number }} {{ url_for('page', number=8, q='ü') }}"
    )
    assert page == "/page/7 7 /page/8?q=%C3%BC"


def test_so_do_those_that_are_imported_and_included(app: App, folder: Path) -> None:
    (folder / "macros.html").write_text(
        "{% macro where() %}{{ request.method }} {{ url_for('page', number=1) }}{% endmacro %}"
    )
    (folder / "part.html").write_text("{{ request.path }}")
    source = "{% from 'macros.html' import where %}{{ where() }}|{% include 'part.html' without context %}"
    assert page_of(app, source) == "GET /page/1|/page/7"


def test_a_name_that_is_given_counts_more(app: App) -> None:
    assert page_of(app, "{{ request }} {{ url_for }}", request="mine", url_for="too") == "mine too"


@pytest.mark.parametrize("debug", [True, False])
def test_what_a_session_does_not_hold_is_no_mistake(app: App, debug: bool) -> None:
    app.debug = debug
    app.secret_key = "0123456789abcdef" * 2
    app.middleware(SessionMiddleware())
    source = (
        "{% if session.user %}in{% else %}out{% endif %} {{ session['user'] }} {{ session.user is defined }}"
    )
    assert page_of(app, source) == "out  False"


def test_the_session_is_looked_up_only_when_it_is_used(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def session(request: Request) -> dict[str, str]:
        looked.append(request.path)
        return {"user": "ann"}

    monkeypatch.setattr(Request, "session", property(session), raising=False)
    assert page_of(app, "{% if false %}{{ session.user }}{% endif %}nothing") == "nothing"
    assert looked == []
    source = "{{ session.user }} {{ session['user'] }} {{ session.get('no', 1) }} {{ 'user' in session }}"
    more = "{{ session|list }} {{ session|length }} {{ session }} {% if session %}yes{% endif %}"
    app.get("/user")(lambda: render_template_string(f"{source} {more}"))
    page = "ann ann 1 True [&#39;user&#39;] 1 {&#39;user&#39;: &#39;ann&#39;} yes"
    assert TestClient(app).get("/user").text == page
    assert set(looked) == {"/user"}


def test_filters_globals_and_names_of_the_app(app: App) -> None:
    app.context_processor(lambda: {"site": "first", "year": 2026})
    app.context_processor(lambda: {"site": "second"})

    @app.template_filter()
    def shout(text: str) -> str:
        return text.upper()

    @app.template_filter("reversed_text")
    def backwards(text: str) -> str:
        return text[::-1]

    @app.template_global("sum_of")
    def add(*numbers: int) -> int:
        return sum(numbers)

    source = "{{ 'ab'|shout }} {{ 'ab'|reversed_text }} {{ sum_of(1, 2) }} {{ site }} {{ year }}"
    assert page_of(app, source, year=1) == "AB ba 3 second 1"
    assert shout("x") == "X"
    with pytest.raises(
        ConfigurationError, match=r"write parentheses: @app.template_filter\(\), above .*upper"
    ):
        app.template_filter(str.upper)  # type: ignore[arg-type]


def test_an_app_and_a_mounted_one_have_templates_of_their_own(tmp_path: Path) -> None:
    apps = []
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.html").write_text(f"{name} {{{{ url_for('index') }}}}")
        apps.append(App(templates=tmp_path / name))
    outer, inner = apps
    router = Router("/routed")
    for place in (outer, inner):
        place.get("/", name="index")(lambda: render_template("page.html"))
    router.get("/")(lambda: render_template("page.html"))
    outer.include(router)
    outer.mount("/inner", inner)
    client = TestClient(outer)
    assert client.get("/").text == "outer /"
    assert client.get("/routed/").text == "outer /"
    assert client.get("/inner/").text == "inner /inner/"


def test_the_first_folder_that_has_the_template_counts(tmp_path: Path) -> None:
    for name, files in (("own", ["a.html"]), ("shared", ["a.html", "b.html"])):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text(f"{name}/{file}")
    templates = App(templates=[tmp_path / "own", tmp_path / "shared"]).templates
    assert [templates.render("a.html"), templates.render("b.html")] == ["own/a.html", "shared/b.html"]


def test_outside_a_request_the_apps_own_render_works(app: App, folder: Path) -> None:
    (folder / "mail.txt").write_text("Dear {{ name }}, {{ url_for('index') }}")
    app.get("/", name="index")(lambda: "")
    assert app.templates.render("mail.txt", name="<Ann>") == "Dear &lt;Ann&gt;, /"
    assert app.templates.render_string("{{ 1 + 1 }}") == "2"
    for call in (
        lambda: render_template("mail.txt"),
        lambda: render_template_string(""),
        lambda: stream_template("mail.txt"),
    ):
        with pytest.raises(ConfigurationError, match=r"outside a request; there app.templates.render\(...\)"):
            call()
    with pytest.raises(
        ConfigurationError, match=r"url_for\('index'\) was called outside a request; there app.url"
    ):
        url_for("index")


def test_url_for_is_that_of_the_running_app(app: App) -> None:
    app.get("/bird/{name}", name="bird")(lambda name: url_for("bird", name=name + "2"))
    assert TestClient(app).get("/bird/emu").text == "/bird/emu2"


def test_threads_may_render_at_the_same_time(app: App, folder: Path) -> None:
    (folder / "page.html").write_text("{{ n }}")
    barrier, pages = threading.Barrier(8), []

    def render(n: int) -> None:
        barrier.wait(10)
        pages.append(app.templates.render("page.html", n=n))

    threads = [threading.Thread(target=render, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(pages) == [str(n) for n in range(8)]


# -- what is escaped


@pytest.mark.parametrize("name", ["page.html", "page.txt", "page.svg", "page.xml", "page.js", "page"])
def test_every_kind_of_file_is_escaped(app: App, folder: Path, name: str) -> None:
    (folder / name).write_text("""<a title="{{ x }}" lang='{{ x }}'>{{ x }}</a>{{ x|safe }}""")
    x = """<b>&"'"""
    text = "&lt;b&gt;&amp;&#34;&#39;"
    assert app.templates.render(name, x=x) == f"<a title=\"{text}\" lang='{text}'>{text}</a>{x}"


def test_a_template_in_a_string_is_escaped_and_markup_is_not(app: App) -> None:
    render = app.templates.render_string
    assert render("{{ x }}", x="<") == "&lt;"
    assert render("{{ x }}", x=Markup("<b>")) == "<b>"
    assert isinstance(render("{{ x }}", x=render("<i>{{ y }}</i>", y="<")), Markup)


@dataclass
class Bird:
    name: str
    weight: float


def test_json_in_a_script_cannot_leave_it(app: App) -> None:
    render = app.templates.render_string
    text = "</script><!--&'\u2028\u2029"
    page = render(
        "<script>{{ x|tojson }}</script>", x=[text, Bird("emu", 1.5), float("nan"), {"b": 1, "a": 2}]
    )
    assert page == (
        r'<script>["\u003c/script\u003e\u003c!--\u0026\u0027\u2028\u2029",'
        r'{"name":"emu","weight":1.5},null,{"b":1,"a":2}]</script>'
    )
    assert render("<a data-x='{{ x|tojson }}'>", x="'") == r"""<a data-x='"\u0027"'>"""
    assert render("{{ x|tojson(2) }}", x={"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'


SCRIPTS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " \t\n javascript:alert(1)",
    "java\nscr\tipt:alert(1)",
    "\x01javascript:alert(1)",
    "vbscript:x",
    "data:text/html,<script>alert(1)</script>",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "data:,x",
]

ADDRESSES = [
    "",
    "/path",
    "path?a=javascript:b",
    "#javascript:",
    "./javascript:x",
    "https://example.org/a:b",
    "//example.org",
    "mailto:a@example.org",
    "tel:123",
    "myapp:open",
    "data:image/png;base64,AAAA",
]


@pytest.mark.parametrize("address", SCRIPTS)
@pytest.mark.parametrize(
    "source",
    [
        '<a href="{{ x }}">',
        "<a href='{{- x -}}'>",
        '<a class="{{ 1 }}" HREF = "{{ x }}">',
        '<form action="{{ x if true else 1 }}">',
        '<button formaction="{{ none or x }}">',
        '<iframe src="{{ x|trim }}">',
        '<a href="{% if true %}{{ x }}{% endif %}">',
        '<a href="{{ nothing }}{{ x }}">',
        '<svg><a xlink:href="{{ x }}">',
        '<object data="{{ x }}">',
        '<a href="  {{ x }}">',
        '{% for y in [x] %}<a href="{{ y }}">{% endfor %}',
        "{{ x|safe_url }}",
        '<a href="{{ x|e }}">',
        '<a href="{{ x|default("")|forceescape }}">',
        "{% macro same(y) %}{{ y }}{% endmacro %}<a href='{{ same(x) }}'>",
        "{% set y %}{{ x }}{% endset %}<a href='{{ y }}'>",
        "<a href='{{ x|safe ~ nothing }}'>",
    ],
)
def test_a_url_attribute_is_never_a_script(app: App, source: str, address: str) -> None:
    assert "about:invalid" in app.templates.render_string(source, x=address)


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_of_other_kinds_stay(app: App, address: str) -> None:
    expected = f'<a href="{address}">'
    assert app.templates.render_string('<a href="{{ x }}">', x=address) == expected


def test_what_is_no_url_or_declared_safe_is_let_alone(app: App) -> None:
    render = app.templates.render_string
    x = "javascript:void(0)"
    assert render('<a href="{{ x|safe }}">', x=x) == f'<a href="{x}">'
    assert render('<a href="{{ x|safe|trim }}">', x=x) == f'<a href="{x}">'
    assert render('<a href="{{ x }}">', x=Markup("/a?b&amp;c")) == '<a href="/a?b&amp;c">'
    assert render('<a href="{{ x|e }}">', x="/a?b&c") == '<a href="/a?b&amp;c">'
    for source in (
        '<a title="{{ x }}">',
        '<a href="/q?to={{ x }}">',
        "<p>href={{ 1 }} {{ x }}",
        '<a data-src="{{ x }}">',
    ):
        assert x in render(source, x=x)
    raw = '{% raw %}<a href="{{ x }}">{% endraw %}'
    assert render(raw) == '<a href="{{ x }}">'
    assert render('<a href="{{ 7 }}{{ none }}">') == '<a href="7None">'


# -- what fails


def test_a_missing_name_is_an_error_in_debug_that_says_where(app: App, folder: Path) -> None:
    (folder / "page.html").write_text("<p>\n{% if true %}\n{{ nmae }}\n{% endif %}")
    assert app.templates.render("page.html") == "<p>\n\n\n"
    app.debug = True
    with pytest.raises(jinja2.UndefinedError) as caught:
        app.templates.render("page.html")
    place = f"{folder / 'page.html'}, line 3"
    assert str(caught.value) == f"'nmae' is undefined, in {place}"
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert (str(folder / "page.html"), 3, "{{ nmae }}") in [(f.filename, f.lineno, f.line) for f in frames]
    assert app.templates.render_string("{{ a|default('b') }} {{ a is defined }}") == "b False"
    app.debug = False
    assert app.templates.render("page.html") == "<p>\n\n\n"


def test_debug_pages_show_the_line_of_the_template(app: App, folder: Path) -> None:
    (folder / "page.html").write_text("<p>\n{{ 1 // 0 }}")
    app.debug = True
    app.get("/")(lambda: render_template("page.html"))
    client = TestClient(app, raise_server_exceptions=False, headers={"accept": "text/html"})
    page = client.get("/").text
    assert "ZeroDivisionError" in page
    assert str(folder / "page.html") in page
    assert "{{ 1 // 0 }}" in page


def test_a_template_with_a_fault_of_syntax_names_its_line(app: App, folder: Path) -> None:
    (folder / "page.html").write_text("<p>\n{% if %}")
    with pytest.raises(jinja2.TemplateSyntaxError) as caught:
        app.templates.render("page.html")
    assert (caught.value.lineno, caught.value.filename) == (2, str(folder / "page.html"))


def test_a_template_that_is_not_there_names_the_folder_and_what_is_near(app: App, folder: Path) -> None:
    (folder / "birds.html").write_text("")
    (folder / "table.html").write_text("\n{% include 'brids.html' %}")
    for name, place in (("brids.html", ""), ("table.html", f", in {folder / 'table.html'}, line 2")):
        with pytest.raises(ConfigurationError) as caught:
            app.templates.render(name)
        assert str(caught.value) == (
            f"there is no template 'brids.html' in {folder}{place}; there is 'birds.html'"
        )


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "a/../../secret.txt", "..\\secret.txt", ""])
def test_a_name_never_leads_out_of_the_folder(app: App, folder: Path, name: str) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    with pytest.raises(ConfigurationError, match="there is no template"):
        app.templates.render(name)


def test_a_folder_that_is_named_must_be_there(tmp_path: Path) -> None:
    for given in ("nowhere", ["nowhere"], [tmp_path, "nowhere"]):
        with pytest.raises(ConfigurationError, match="nowhere does not exist"):
            App(templates=given)  # type: ignore[arg-type]


def test_a_changed_template_is_read_again_in_debug_only(folder: Path) -> None:
    state = SimpleNamespace(debug=False)
    templates = Templates([folder], is_debug=lambda: state.debug)
    file = folder / "page.html"
    file.write_text("one")
    assert templates.render("page.html") == "one"
    file.write_text("two and more")
    assert templates.render("page.html") == "one"
    state.debug = True
    assert templates.render("page.html") == "two and more"


# -- streams


def test_a_large_template_is_sent_while_it_is_rendered(app: App, folder: Path) -> None:
    (folder / "rows.html").write_text("{{ request.path }}\n{% for row in rows %}{{ row }}\n{% endfor %}")
    wanted, threads = threading.Semaphore(0), set()

    def rows() -> Iterator[str]:
        for row in range(3):
            assert wanted.acquire(timeout=10)
            threads.add(threading.current_thread().name)
            yield f"<{row}>" + "x" * 9000

    @app.get("/")
    async def index() -> Any:
        return stream_template("rows.html", rows=rows())

    with TestClient(app).stream("GET", "/") as answer:
        wanted.release()
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        pieces = answer.iter_bytes()
        first = next(pieces).decode()
        assert first.startswith("/\n&lt;0&gt;xxx")
        wanted.release(2)
        rest = b"".join(pieces).decode()
    assert (first + rest).count("\n") == 4
    assert "MainThread" not in threads
    assert all(name.startswith("weebill-worker") for name in threads)


def test_small_pieces_are_joined(app: App, folder: Path) -> None:
    (folder / "rows.html").write_text("{% for row in range(2000) %}{{ row }},{% endfor %}")
    pieces = list(app.templates.stream("rows.html"))
    assert len(pieces) == 2
    assert "".join(pieces) == app.templates.render("rows.html")
    assert pieces[0].startswith("0,1,")


def test_a_stream_that_fails_early_is_an_error_and_one_that_is_missing_too(app: App, folder: Path) -> None:
    (folder / "page.html").write_text("some {{ 1 // 0 }}")
    app.get("/broken")(lambda: stream_template("page.html"))
    app.get("/missing")(lambda: stream_template("pag.html"))
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/broken").status_code == 500
    assert client.get("/missing").status_code == 500
    with pytest.raises(ConfigurationError, match=r"'pag.html' in .*; there is 'page.html'"):
        TestClient(app).get("/missing")
