"""Templates by Jinja2, always with autoescape.

A template has at hand, besides what it is given: `request`, `session`, `url_for`, `get_flashed_messages`,
`csrf_token` and `csrf_field`; also where another template imports or includes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .requests import current_request
from .responses import HTMLResponse, StreamingResponse

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

    from .requests import Request

__all__ = ["Templates", "render_template", "render_template_string", "stream_template", "url_for"]

PIECE = 1 << 13  # characters of a streamed template that are sent at a time

Processor = Callable[[], dict[str, Any]]


class Templates:
    """The templates of some folders; the first that has a template of that name counts. Jinja2 is imported
    when the first is rendered.

    `globals_` are names that all templates have, `is_debug` tells whether a missing name is an error and a
    changed template is read again. `processors` are functions whose dicts are added to what templates are
    given. Safe to use from several threads.

    >>> app = App()
    >>> app.templates.render_string("<p>{{ bird }}</p>", bird="<b>weebill</b>")
    Markup('<p>&lt;b&gt;weebill&lt;/b&gt;</p>')
    """

    def __init__(
        self,
        folders: Sequence[Path],
        globals_: dict[str, Any] | None = None,
        is_debug: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folders = list(folders)
        self.globals = globals_ or {}
        self.processors: list[Processor] = []
        self._is_debug = is_debug
        self._debug: bool | None = None  # as it was set in _environment
        self._environment: jinja2.Environment | None = None
        self._lock = threading.Lock()

    @property
    def environment(self) -> jinja2.Environment:
        """Jinja2's environment, to add filters and globals to.

        >>> app = App()
        >>> app.templates.environment.filters["shout"] = str.upper
        >>> str(app.templates.render_string("{{ 'hello'|shout }}"))
        'HELLO'
        """
        debug = self._is_debug()
        if self._environment is None or debug is not self._debug:
            from .template_environment import make_environment, set_debug

            with self._lock:
                if self._environment is None:
                    self._environment = make_environment(self.folders, self.globals)
                set_debug(self._environment, debug)
                self._debug = debug
        return self._environment

    def render(self, name: str, /, **context: Any) -> Markup:
        """The page, within a request or outside.

        Raises ConfigurationError for a template that is not there, naming the folders and what is near, and
        in debug jinja2.UndefinedError for a name that is not given.

        >>> from pathlib import Path
        >>> Path("templates").mkdir()
        >>> _ = Path("templates/bird.html").write_text("<h1>{{ name }}</h1>")
        >>> app = App(templates=Path("templates").resolve())
        >>> str(app.templates.render("bird.html", name="<wren>"))
        '<h1>&lt;wren&gt;</h1>'
        """
        return self._render(self._find(name), context)

    def render_string(self, source: str, /, **context: Any) -> Markup:
        """The same for a template that is a text of the program's own. Never make it of what clients send:
        it would run in your program."""
        return self._render(self.environment.from_string(source), context)

    def stream(self, name: str, /, **context: Any) -> Iterator[str]:
        """The page in pieces of some kilobytes, rendered as they are asked for. Raises as `render`.

        >>> from pathlib import Path
        >>> Path("pages").mkdir()
        >>> _ = Path("pages/list.txt").write_text("{% for n in numbers %}{{ n }},{% endfor %}")
        >>> list(App(templates=Path("pages").resolve()).templates.stream("list.txt", numbers=range(3)))
        ['0,1,2,']
        """
        from .template_environment import joined

        return joined(self._pieces(self._find(name), context), PIECE)

    def _find(self, name: str) -> jinja2.Template:
        environment = self.environment
        import jinja2

        try:
            return environment.get_template(name)
        except jinja2.TemplateNotFound as error:
            raise self._not_found(error) from None

    def _render(self, template: jinja2.Template, context: dict[str, Any]) -> Markup:
        from markupsafe import Markup

        with self._telling():
            return Markup(template.render(self._complete(context)))  # noqa: S704  (autoescape has made it)

    def _pieces(self, template: jinja2.Template, context: dict[str, Any]) -> Iterator[str]:
        with self._telling():
            yield from template.generate(self._complete(context))

    def _complete(self, context: dict[str, Any]) -> dict[str, Any]:
        """With the names of the processors: a later one counts more, and what is given most."""
        for processor in reversed(self.processors):
            context = {**processor(), **context}
        return context

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say what is missing, and where in a template."""
        import jinja2

        from .template_environment import place_of

        try:
            yield
        except jinja2.TemplateNotFound as error:  # of {% include %} or {% extends %}
            raise self._not_found(error) from None
        except jinja2.UndefinedError as error:
            error.args = (f"{error.message}{place_of(error)}",)
            raise

    def _not_found(self, error: jinja2.TemplateNotFound) -> ConfigurationError:
        from difflib import get_close_matches  # only a mistake needs it

        from .template_environment import place_of

        folders = " and ".join(map(str, self.folders))
        if not any(folder.is_dir() for folder in self.folders):
            return ConfigurationError(
                f"the template folder {folders} does not exist; make it, or say App(templates=...)"
            )
        near = get_close_matches(str(error.name), self.environment.list_templates(), 3, 0.7)
        hint = f"; there is {' and '.join(map(repr, near))}" if near else ""
        return ConfigurationError(f"there is no template {error.name!r} in {folders}{place_of(error)}{hint}")


def render_template(name: str, /, **context: Any) -> Markup:
    """Render a template of the running app; autoescape is on.

    Raises ConfigurationError outside a request, where `app.templates.render` works, and as that does.

    >>> app = App()
    >>> @app.get("/")
    ... def index():
    ...     return render_template("index.html", birds=["weebill"])
    """
    page: Markup = _request(f"render_template({name!r})").app.templates.render(name, **context)
    return page


def render_template_string(source: str, /, **context: Any) -> Markup:
    """Render a template that is a text of the program's own, with autoescape. Never make it of what clients
    send: it would run in your program. Raises as `render_template`.

    >>> app = App()
    >>> @app.get("/")
    ... def index():
    ...     return render_template_string("<p>{{ request.path }} {{ '<' }}</p>")
    >>> TestClient(app).get("/").text
    '<p>/ &lt;</p>'
    """
    page: Markup = _request("render_template_string()").app.templates.render_string(source, **context)
    return page


def stream_template(name: str, /, **context: Any) -> StreamingResponse:
    """The answer with a large page that is sent while it is rendered, in worker threads, piece by piece.

    What the template shows may be given as an iterator that is read as the page grows. An error before the
    first kilobytes is still a proper answer; after them the answer breaks off. Raises as `render_template`.

    >>> app = App()
    >>> @app.get("/")
    ... def report():
    ...     return stream_template("report.html", rows=iter(range(1_000_000)))
    """
    pieces = _request(f"stream_template({name!r})").app.templates.stream(name, **context)
    response = StreamingResponse(pieces, media_type="text/html; charset=utf-8")
    response.raw_headers += HTMLResponse.own_fields
    return response


def url_for(name: str, /, **params: Any) -> str:
    """The path of a route of the running app: `App.url_for`, which works outside a request too.

    >>> app = App()
    >>> @app.get("/bird/{name}")
    ... def bird(name: str):
    ...     return url_for("bird", name="emu")
    >>> TestClient(app).get("/bird/weebill").text
    '/bird/emu'
    """
    url: str = _request(f"url_for({name!r})", "app.url_for(...)").app.url_for(name, **params)
    return url


def _request(call: str, instead: str = "app.templates.render(...)") -> Request:
    request = current_request.get(None)
    if request is None:
        raise ConfigurationError(f"{call} was called outside a request; there {instead} works")
    return request
