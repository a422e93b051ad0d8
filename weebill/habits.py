"""What people bring along from other frameworks, and what to write here instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from .errors import ConfigurationError

__all__ = ["foreign_marker", "missing_attribute", "missing_name", "note_habit", "unknown_options"]

_OPTIONS = {
    "blueprint": "router",
    "dependencies": "a before_request hook",
    "endpoint": "name=...",
    "host": "Router(host=...)",
    "host_matching": "Router(host=...)",
    "import_name": "name",
    "method": "methods=[...]",
    "methods": "route(path, methods=[...])",
    "response_class": "return a Response of that class",
    "response_model": "return a value of that class",
    "static_folder": "app.static(prefix, folder)",
    "static_url_path": "app.static(prefix, folder)",
    "status_code": "return value, 201",
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

_OF_REQUESTS = {
    "FILES": "request.files",
    "GET": "request.query",
    "META": "request.headers",
    "POST": "request.form",
    "args": "request.query",
    "data": "request.body",
    "get_data": "request.body",
    "get_json": "request.json()",
    "path_params": "request.params",
    "query_params": "request.query",
    "remote_addr": "request.client.host",
    "values": "request.query or request.form",
    "view_args": "request.params",
}

# What `from weebill import ...` is tried with, as a sentence behind "weebill has no ...".
_NAMES = {
    "APIRouter": "write Router",
    "BackgroundTasks": "write request.background(function, ...)",
    "Blueprint": "write Router",
    "Body": "a parameter whose type is a class with fields is the content",
    "EventSourceResponse": "write EventStream",
    "FastAPI": "write App",
    "Field": "write Meta",
    "Flask": "write App",
    "Path": "a parameter that the path names needs no marker",
    "Starlette": "write App",
    "g": "write request.state",
    "jsonify": "return the dict or the list",
    "make_response": "write Response(...), or return value, 201",
    "request": "a handler takes it as a parameter: def show(request: Request)",
    "send_file": "write FileResponse(path)",
    "session": "write request.session",
}
_MODULES = {
    "CORSMiddleware": "cors",
    "CSRFMiddleware": "csrf",
    "CompressionMiddleware": "compression",
    "GZipMiddleware": "compression import CompressionMiddleware",
    "LiveServer": "testing",
    "ProxyHeadersMiddleware": "proxy_headers",
    "RateLimitMiddleware": "rate_limit",
    "RequestIDMiddleware": "request_ids",
    "SecurityHeadersMiddleware": "security_headers",
    "SessionMiddleware": "sessions",
    "TimeoutMiddleware": "timeouts",
    "TrustedHostMiddleware": "trusted_hosts",
    "csrf_token": "csrf",
    "hash_password": "passwords",
    "run_in_thread": "threads",
    "verify_password": "passwords",
}
_FOREIGN = {
    "annotated_types": "write Meta(...) of weebill",
    "fastapi": "import it from weebill",
    "pydantic": "write Meta(...) of weebill",
}
_DEFAULTS = ("Body", "Cookie", "Depends", "FieldInfo", "File", "Form", "Header", "Path", "Query", "Security")


def missing_name(module: str, name: str) -> ImportError | AttributeError:
    """The error for a name that `weebill` has not, with what to write where another framework has it."""
    if name in _MODULES:
        where = _MODULES[name] if " " in _MODULES[name] else f"{_MODULES[name]} import {name}"
        return ImportError(f"{module} has no {name!r}; write from {module}.{where}", name=module)
    if name in _NAMES:  # an AttributeError would lose its words in `from weebill import ...`
        return ImportError(f"{module} has no {name!r}; {_NAMES[name]}", name=module)
    return AttributeError(f"module {module!r} has no attribute {name!r}")


def foreign_marker(annotation: object, default: object = None) -> str | None:
    """What to say of a marker, in `Annotated[...]` at any depth or as a default, that another framework reads
    and we do not; None where there is none. Passed over, `Depends` of FastAPI would guard nothing, and
    `Field(ge=1)` let 0 through."""
    for marker in (default, *getattr(annotation, "__metadata__", ())):
        kind, module = type(marker).__name__, type(marker).__module__.partition(".")[0]
        if module in _FOREIGN and (marker is not default or kind in _DEFAULTS):
            return f"{kind} of {module}, which is not read here; {_FOREIGN[module]}"
    return next((said for inner in get_args(annotation) if (said := foreign_marker(inner))), None)


def unknown_options(what: str, given: Iterable[str], known: Iterable[str]) -> ConfigurationError:
    """The error for an option that `what` does not take, with the one that was meant."""
    from difflib import get_close_matches  # only a mistake needs it

    name, known = next(iter(given)), [name for name in known if name != "unknown"]
    near = [f"{match}=..." for match in get_close_matches(name, known, 1, 0.7)]
    meant = _OPTIONS.get(name) or next(iter(near), None)
    ending = f"; write {meant}" if meant else f"; there are {', '.join(known)}"
    return ConfigurationError(f"{what} takes no option {name!r}{ending}")


def missing_attribute(what: object, name: str) -> AttributeError:
    """The error for an attribute that objects of other frameworks have."""
    kind = type(what).__name__
    ending = f"; write {_ATTRIBUTES[name]}" if name in _ATTRIBUTES else ""
    return AttributeError(f"{kind!r} object has no attribute {name!r}{ending}", name=name, obj=what)


def note_habit(error: Exception) -> None:
    """Add to an AttributeError what to write for an attribute that requests of other frameworks have. Here
    and not in a `__getattr__` of Request, which would cost every request."""
    if not isinstance(error, AttributeError) or type(error.obj).__name__ != "Request":
        return
    meant = _OF_REQUESTS.get(error.name or "")
    if meant and not hasattr(error, "__notes__"):
        error.add_note(f"In Weebill it is {meant}.")
