"""What people bring along from other frameworks, and what to write here instead."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import ConfigurationError

__all__ = ["missing_attribute", "unknown_options"]

_OPTIONS = {
    "blueprint": "router",
    "dependencies": "a before_request hook",
    "endpoint": "name=...",
    "host": "Router(host=...)",
    "host_matching": "Router(host=...)",
    "import_name": "name",
    "method": "methods=[...]",
    "methods": "route(path, methods=[...])",
    "static_folder": "app.static(prefix, folder)",
    "static_url_path": "app.static(prefix, folder)",
    "strict_slashes": "App(redirect_slashes=True)",
    "subdomain": "host=...",
    "template_folder": "templates=...",
    "url_prefix": "prefix=...",
}
_ATTRIBUTES = {
    "add_api_route": "add_route(path, handler)",
    "add_event_handler": "on_startup and on_shutdown",
    "add_exception_handler": "errorhandler(status or class)",
    "add_middleware": "middleware(SomeMiddleware())",
    "add_url_rule": "add_route(path, handler)",
    "api_route": "route(path, methods=[...])",
    "before_first_request": "on_startup",
    "exception_handler": "errorhandler(status or class)",
    "include_router": "include(router, prefix)",
    "on_event": "on_startup and on_shutdown",
    "register_blueprint": "include(router, prefix)",
    "register_error_handler": "errorhandler(status or class)",
    "test_client": "TestClient(app)",
    "url_path_for": "url_for(name)",
}


def unknown_options(what: str, given: Iterable[str], known: Iterable[str]) -> ConfigurationError:
    """The error for an option that `what` does not take, with the one that was meant."""
    from difflib import get_close_matches  # only a mistake needs it

    name, known = next(iter(given)), list(known)
    near = [f"{match}=..." for match in get_close_matches(name, known, 1)]
    meant = _OPTIONS.get(name) or next(iter(near), None)
    ending = f"; write {meant}" if meant else f"; there are {', '.join(known)}"
    return ConfigurationError(f"{what} takes no option {name!r}{ending}")


def missing_attribute(what: object, name: str) -> AttributeError:
    """The error for an attribute that objects of other frameworks have."""
    kind = type(what).__name__
    ending = f"; write {_ATTRIBUTES[name]}" if name in _ATTRIBUTES else ""
    return AttributeError(f"{kind!r} object has no attribute {name!r}{ending}", name=name, obj=what)
