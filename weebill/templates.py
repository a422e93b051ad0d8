"""Templates by Jinja2, always with autoescape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .requests import current_request

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

__all__ = ["Templates", "render_template"]


class Templates:
    """The templates of one folder. Jinja2 is imported and the folder read when the first is rendered.

    Raises ConfigurationError for a folder that is not there.
    """

    def __init__(self, folder: Path, globals_: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.globals = globals_ or {}
        self._environment: jinja2.Environment | None = None

    @property
    def environment(self) -> jinja2.Environment:
        """Jinja2's environment, to add filters and globals to."""
        if self._environment is None:
            import jinja2  # a hello does not need it

            if not self.folder.is_dir():
                raise ConfigurationError(
                    f"the template folder {self.folder} does not exist; make it, or say App(templates=...)"
                )
            loader = jinja2.FileSystemLoader(self.folder)
            self._environment = jinja2.Environment(loader=loader, autoescape=True)
            self._environment.globals.update(self.globals)
        return self._environment

    def render(self, name: str, /, **context: Any) -> Markup:
        """The page. Raises ConfigurationError for a template that is not there, naming the folder."""
        environment = self.environment
        import jinja2
        from markupsafe import Markup

        try:
            template = environment.get_template(name)
        except jinja2.TemplateNotFound as error:
            raise ConfigurationError(f"there is no template {error.name!r} in {self.folder}") from None
        return Markup(template.render(context))  # noqa: S704  (it is what autoescape has made)


def render_template(name: str, /, **context: Any) -> Markup:
    """Render a template of the running app, with `request` among its names; autoescape is on.

    Raises ConfigurationError outside a request and for a missing folder or template.
    """
    request = current_request.get(None)
    if request is None:
        raise ConfigurationError(f"render_template({name!r}) was called outside a request")
    page: Markup = request.app.templates.render(name, **{"request": request, **context})
    return page
