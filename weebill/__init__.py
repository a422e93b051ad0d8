"""Weebill: a small web framework that brings its own HTTP server."""

from typing import TYPE_CHECKING, Any

from msgspec import Meta

from .app import App
from .errors import HTTPException, ValidationError
from .injection import Depends
from .parameters import Cookie, File, Form, Header, Query
from .redirects import RedirectResponse, redirect, safe_path
from .requests import Request
from .responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
    abort,
)
from .router import Router
from .templates import render_template, render_template_string, stream_template, url_for

if TYPE_CHECKING:
    from .event_stream import Event, EventStream
    from .files import FileResponse
    from .sessions import flash, get_flashed_messages
    from .testing import TestClient
    from .uploads import UploadFile

__version__ = "0.1.0"

__all__ = [
    "App",
    "Cookie",
    "Depends",
    "Event",
    "EventStream",
    "File",
    "FileResponse",
    "Form",
    "HTMLResponse",
    "HTTPException",
    "Header",
    "JSONResponse",
    "Meta",
    "PlainTextResponse",
    "Query",
    "RedirectResponse",
    "Request",
    "Response",
    "Router",
    "StreamingResponse",
    "TestClient",
    "UploadFile",
    "ValidationError",
    "abort",
    "flash",
    "get_flashed_messages",
    "redirect",
    "render_template",
    "render_template_string",
    "safe_path",
    "stream_template",
    "url_for",
]

# Imported when they are first asked for: a hello does not need them.
_LATER = {
    "Event": ".event_stream",
    "EventStream": ".event_stream",
    "FileResponse": ".files",
    "TestClient": ".testing",
    "UploadFile": ".uploads",
    "flash": ".sessions",
    "get_flashed_messages": ".sessions",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        from .habits import missing_name

        raise missing_name(__name__, name)
    from importlib import import_module

    globals()[name] = getattr(import_module(_LATER[name], __name__), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
