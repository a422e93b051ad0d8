"""The answer to an error, in the form that the client reads: problem+json (RFC 9457) or a plain page."""

from __future__ import annotations

import traceback
from html import escape

from .errors import HTTPException, ValidationError, reason_phrase
from .headers import best_match
from .requests import Request
from .responses import HTMLResponse, JSONResponse, Response

__all__ = ["debug_response", "error_response"]

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; color: #223 }}
body {{ max-width: 60rem; margin: 3rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem }}
pre {{ background: #f4f4f0; padding: 1rem; overflow-x: auto }}
</style>
<h1>{title}</h1>
<p>{detail}</p>
{more}"""


def error_response(request: Request, error: HTTPException) -> Response:
    """A page for a client that prefers HTML, else a problem document."""
    title = f"{error.status_code} {reason_phrase(error.status_code)}".strip()
    if _prefers_html(request):
        faults = error.errors if isinstance(error, ValidationError) else ()
        more = (
            "<ul>{}</ul>".format("".join(f"<li>{escape(str(fault))}</li>" for fault in faults))
            if faults
            else ""
        )
        page = _PAGE.format(title=escape(title), detail="" if faults else escape(error.detail), more=more)
        return HTMLResponse(page, error.status_code, error.headers)
    problem: dict[str, object] = {"title": reason_phrase(error.status_code), "status": error.status_code}
    if error.detail != problem["title"]:
        problem["detail"] = error.detail
    if isinstance(error, ValidationError):
        problem["errors"] = [fault._asdict() for fault in error.errors]
    return JSONResponse(problem, error.status_code, error.headers, "application/problem+json")


def debug_response(request: Request, error: Exception) -> Response:
    """The traceback of an exception, for its author's eyes only: the caller has made sure of debug."""
    lines = "".join(traceback.format_exception(error))
    title = f"{type(error).__name__}: {error}"
    if _prefers_html(request):
        where = f"{request.method} {request.target}"
        page = _PAGE.format(title=escape(title), detail=escape(where), more=f"<pre>{escape(lines)}</pre>")
        return HTMLResponse(page, 500)
    problem = {"title": reason_phrase(500), "status": 500, "detail": title, "traceback": lines.splitlines()}
    return JSONResponse(problem, 500, media_type="application/problem+json")


def _prefers_html(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    offers = ("application/problem+json", "application/json", "text/html")
    return "text/html" in accept.lower() and best_match(accept, offers) == "text/html"
