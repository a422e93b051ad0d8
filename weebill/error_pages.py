"""The answer to an error, in the form that the client reads: problem+json (RFC 9457), a page, or plain text.

None of it runs a script or loads anything, and its policy says so to the browser.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .errors import HTTPException, ValidationError, reason_phrase
from .headers import best_match
from .requests import Request
from .responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

__all__ = ["error_response", "page", "preferred", "sendable"]

PROBLEM = "application/problem+json"

STYLE = """
:root { color-scheme: light dark; --back: #fbfaf7; --text: #24292f; --soft: #6b7280; --mark: #c2410c }
@media (prefers-color-scheme: dark) {
:root { --back: #16181c; --text: #e6e6e3; --soft: #9aa2ad; --mark: #fb923c }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--text); font: 1.05rem/1.6 system-ui, sans-serif }
main { max-width: 38rem; margin: 0 auto; padding: 18vh 1.5rem 3rem; overflow-wrap: anywhere }
h1 { margin: 0 0 1rem; font-size: 2rem; line-height: 1.2; color: var(--mark) }
p, ul { margin: 0 0 1rem }
ul { padding-left: 1.2rem }
.soft { color: var(--soft); font-size: .9rem }
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<main>
{body}
</main>
</html>
"""

# For people; the standard phrase alone tells them little.
_IN_WORDS = {
    404: "There is nothing at this address.",
    500: "Something has gone wrong here. It is not your fault.",
    503: "There is too much to do here just now. Try again in a moment.",
}


def error_response(request: Request, error: HTTPException) -> Response:
    """The answer to `error`. A problem document carries its `members` too; a page of a fault of ours names
    the request as the log does."""
    status, phrase, said = error.status_code, reason_phrase(error.status_code), sendable(error.detail)
    form = preferred(request)
    if form == "html":
        title = f"{status} {phrase}".strip()
        detail = said if said != phrase else _IN_WORDS.get(status, "")
        lines = [f"<h1>{title}</h1>"]
        faults = error.errors if isinstance(error, ValidationError) else ()
        if faults:
            lines.append(f"<ul>{''.join(f'<li>{_escape(str(fault))}</li>' for fault in faults)}</ul>")
        elif detail:
            lines.append(f"<p>{_escape(detail)}</p>")
        lines += [f'<p class="soft">Request {_escape(request.id)}</p>'] if status >= 500 else []
        response: Response = page(title, "\n".join(lines), status)
    elif form == "json":
        problem: dict[str, Any] = {"title": phrase, "status": status}
        if said != phrase:
            problem["detail"] = said
        problem.update(error.members)
        response = JSONResponse(problem, status, media_type=PROBLEM)
    else:
        response = PlainTextResponse(f"{status} {said}\n", status)
    for name, value in {"x-content-type-options": "nosniff", **error.headers}.items():
        response.headers[name] = value
    response.headers.add("vary", "Accept")
    return response


def page(title: str, body: str, status: int, style: str = STYLE) -> HTMLResponse:
    """A page of our own. `title` is escaped here, the markup in `body` by the caller."""
    content = _PAGE.format(title=_escape(title), style=style, body=body)
    response: HTMLResponse = HTMLResponse(sendable(content), status)
    response.headers["content-security-policy"] = _policy(style)
    return response


def _escape(text: str) -> str:
    from html import escape  # only an error page needs it

    return escape(text)


def sendable(text: str) -> str:
    """`text` without half surrogate pairs, which a message may hold and which are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


@lru_cache
def _policy(style: str) -> str:
    """Nothing but this style sheet."""
    from base64 import b64encode  # only an error needs them
    from hashlib import sha256

    digest = b64encode(sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def preferred(request: Request) -> str:
    """The form that the client reads: "html" if it asks for HTML by name, "json", or "text"."""
    accept = request.headers.get("accept", "")
    best = best_match(accept, (PROBLEM, "application/json", "text/html", "text/plain"))
    if best == "text/html" and "text/html" in accept.lower():
        return "html"
    return "json" if best in (PROBLEM, "application/json") else "text"
