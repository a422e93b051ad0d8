"""Weebill: a small web framework that brings its own HTTP server."""

from .app import App
from .errors import HTTPException
from .requests import Request
from .responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
    abort,
    redirect,
)
from .router import Router
from .templates import render_template

__version__ = "0.1.0"

__all__ = [
    "App",
    "FileResponse",
    "HTMLResponse",
    "HTTPException",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Request",
    "Response",
    "Router",
    "StreamingResponse",
    "abort",
    "redirect",
    "render_template",
]
