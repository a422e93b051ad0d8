"""What the author of a program sees of a failure, in debug only.

Pages to read, with nothing in them that runs: no console, no script. What is known to be secret is masked, by
its name; the values of variables are not shown at all. And only who sits at the machine sees them, as far as
that can be told (`may_be_seen`): the Host is a name of this machine, or another site's page could have its
visitor's browser read them under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import linecache
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from html import escape
from ipaddress import ip_address
from pathlib import Path
from traceback import FrameSummary, TracebackException
from typing import TYPE_CHECKING, Any

from .error_pages import PROBLEM, error_response, page, preferred, sendable
from .errors import HTTPException, reason_phrase
from .functions import describe
from .requests import Request
from .responses import JSONResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from .router import Route

__all__ = ["exception_response", "may_be_seen", "missing_response"]

AROUND = 5  # lines of source on each side
MOST_FRAMES = 60  # of one exception; a recursion has a thousand
MOST_EXCEPTIONS = 20  # in a chain or a group
MOST_CHARACTERS = 4000  # of a message
MOST_ROUTES = 500

MASK = "********"
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]{3,45}")
_SECRET = re.compile(r"pass|secret|token|key|auth|cookie|session|credential|csrf|signature|otp", re.I)
# Every part is bounded: the text may hold what a client has sent.
_SECRET_IN_SOURCE = re.compile(
    r"""((?:pass|secret|token|key|credential)\w{0,40}["']?(?: ?: ?\w{1,40})? ?[=:] ?[rbf]{0,2})"""
    r"""(["'])(?:(?!\2)[^\\\n]|\\.){0,400}\2""",
    re.I,
)

STYLE = """
:root { color-scheme: light dark; --back: #fbfaf7; --text: #24292f; --soft: #6b7280; --mark: #c2410c;
--line: #e4e2dc; --code: #f3f1eb; --here: #fde68a }
@media (prefers-color-scheme: dark) {
:root { --back: #16181c; --text: #e6e6e3; --soft: #9aa2ad; --mark: #fb923c; --line: #2d3139;
--code: #1e2127; --here: #5b4211 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1rem 4rem; overflow-wrap: anywhere }
h1 { margin: 0; color: var(--mark); font-size: 1.4rem; line-height: 1.3 }
h2 { margin: 2rem 0 .5rem; font-size: 1.05rem }
.message { margin: .5rem 0; font-size: 1.1rem; white-space: pre-wrap }
.soft { color: var(--soft); font-size: .9rem }
details { margin: .4rem 0; border: 1px solid var(--line); border-radius: .4rem; overflow: hidden }
summary { padding: .35rem .7rem; cursor: pointer }
summary code { font-weight: 600 }
code, pre, td { font: .85rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
pre { margin: 0; padding: .5rem 0; background: var(--code); overflow-x: auto; overflow-wrap: normal }
pre span, pre mark { display: block; padding: 0 .7rem; width: max-content; min-width: 100% }
pre mark { background: var(--here); color: inherit }
pre.text { padding: .7rem; white-space: pre }
.group { margin-left: 1rem; padding-left: 1rem; border-left: 3px solid var(--line) }
table { width: 100%; border-collapse: collapse }
td { padding: .2rem .7rem .2rem 0; border-top: 1px solid var(--line); vertical-align: top }
td:first-child { color: var(--soft); width: 30% }
li { margin: .2rem 0 }
"""


def may_be_seen(request: Request) -> bool:
    """Whether a debug page may go to this client: it names the machine as its own user does, and its address
    is not of the open internet."""
    host = request.host.lower()
    host = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    if host not in ("localhost", "[::1]", "testserver") and not host.endswith(".localhost"):
        try:
            if not ip_address(host).is_loopback:
                return False
        except ValueError:
            return False
    told = [request.headers.get(name, "") for name in ("x-forwarded-for", "x-real-ip", "forwarded")]
    addresses = _ADDRESS.findall(" ".join(told))  # a proxy on this machine makes its clients look like us
    if request.client is not None:
        addresses.append(request.client.host.partition("%")[0])
    return not any(map(_is_global, addresses))


def _is_global(address: str) -> bool:
    try:
        found = ip_address(address)
        return (getattr(found, "ipv4_mapped", None) or found).is_global
    except ValueError:  # none, as of the client of tests
        return False


# -- an exception


def exception_response(request: Request, error: Exception) -> Response:
    """The answer 500 with all that is known of `error`. The caller has made sure that it may be seen."""
    told = TracebackException.from_exception(error)
    text = "\n".join(map(_cut, _masked_source("".join(told.format())).split("\n")))
    title = _cut("".join(told.format_exception_only()).strip())
    form = preferred(request)
    if form == "html":
        response: Response = page(title.partition("\n")[0], _exception_body(request, told, text), 500, STYLE)
    elif form == "json":
        lines = sendable(text).splitlines()
        problem = {"title": reason_phrase(500), "status": 500, "detail": sendable(title), "traceback": lines}
        response = JSONResponse(problem, 500, media_type=PROBLEM)
    else:
        response = PlainTextResponse(sendable(text), 500)
    return _kept_private(response)


def _kept_private(response: Response) -> Response:
    response.headers["cache-control"] = "no-store"
    response.headers["x-content-type-options"] = "nosniff"
    response.headers["referrer-policy"] = "no-referrer"
    return response


def _exception_body(request: Request, told: TracebackException, text: str) -> str:
    return "\n".join(
        [
            *_told(told, Path(request.app.root), "h1"),
            *_request_section(request),
            "<h2>As text</h2>",
            f'<details><summary>Traceback</summary><pre class="text">{escape(text)}</pre></details>',
            '<p class="soft">Debug is on: this page is for you alone. Others get a plain 500.</p>',
        ]
    )


def _told(told: TracebackException, root: Path, heading: str) -> Iterator[str]:
    """An exception and those behind it, the last first."""
    link, following, count = "", told, 0
    while following is not None and count < MOST_EXCEPTIONS:
        if link:
            yield f"<h2>{link}</h2>"
        yield from _one(following, root, "h2" if link else heading)
        if following.__cause__ is not None:
            link, following = "It was raised from this:", following.__cause__
        elif following.__context__ is not None and not following.__suppress_context__:
            link, following = "It was raised while this was handled:", following.__context__
        else:
            return
        count += 1


def _one(told: TracebackException, root: Path, heading: str) -> Iterator[str]:
    name, _, message = "".join(told.format_exception_only()).strip().partition(":")
    yield f"<{heading}>{escape(name)}</{heading}>"
    if message:
        yield f'<p class="message">{escape(_cut(message.strip()))}</p>'
    yield from _frames(told.stack, root)
    for member in (told.exceptions or ())[:MOST_EXCEPTIONS]:
        yield '<div class="group">'
        yield from _told(member, root, "h2")
        yield "</div>"


def _frames(stack: Sequence[FrameSummary], root: Path) -> Iterator[str]:
    """The frames, innermost first: those of the program open, those of libraries folded."""
    frames = list(reversed(stack))
    left_out = max(len(frames) - MOST_FRAMES, 0)
    if left_out:
        frames[MOST_FRAMES // 2 : MOST_FRAMES // 2 + left_out] = []
    opened = [_is_own(frame.filename) for frame in frames]
    if frames and not any(opened):
        opened[0] = True
    for position, (frame, is_open) in enumerate(zip(frames, opened, strict=True)):
        if left_out and position == MOST_FRAMES // 2:
            yield f'<p class="soft">… {left_out} frames …</p>'
        where = frame.filename
        if Path(where).is_relative_to(root):
            where = str(Path(where).relative_to(root))
        yield f"<details{' open' if is_open else ''}><summary><code>{escape(frame.name)}</code> "
        yield f'<span class="soft">{escape(where)}:{frame.lineno}</span></summary>'
        yield f"<pre>{''.join(_source(frame))}</pre></details>"


def _source(frame: FrameSummary) -> Iterator[str]:
    here = frame.lineno or 0
    lines = linecache.getlines(frame.filename)
    for number in range(max(here - AROUND, 1), min(here + AROUND, len(lines)) + 1):
        tag = "mark" if number == here else "span"
        yield f"<{tag}>{number:5}  {escape(_masked_source(lines[number - 1].rstrip()))}</{tag}>"


_LIBRARIES = tuple(
    {str(Path(path)) for name, path in sysconfig.get_paths().items() if name.endswith("lib")}
    | {str(Path(__file__).parent)}
)


def _is_own(filename: str) -> bool:
    """Whether a file is of the program, and of no library."""
    return not filename.startswith(("<frozen", *_LIBRARIES))


# -- a path without a route


def missing_response(request: Request, error: HTTPException, routes: Sequence[Route]) -> Response:
    """The answer to a path or a method that no route takes, with those that there are. The caller has made
    sure that it may be seen."""
    listed = [route for route in routes if route.application is None][:MOST_ROUTES]
    mounts = [route.pattern.text for route in routes if route.application is not None]
    near = _near(request.path, listed)
    if preferred(request) != "html":
        if near:
            names = [f"{' '.join(route.methods)} {route.pattern.text}" for route in near]
            error = HTTPException(
                error.status_code, error.detail, error.headers, {**error.members, "did_you_mean": names}
            )
        return _kept_private(error_response(request, error))
    body = [
        f"<h1>{error.status_code} {escape(error.detail)}</h1>",
        f'<p class="message">{escape(request.method)} {escape(request.path)}</p>',
    ]
    if near:
        items = "".join(f"<li>{_route_name(route)}</li>" for route in near)
        body.append(f"<h2>Did you mean</h2><ul>{items}</ul>")
    rows = [(_route_name(route), escape(describe(route.handler))) for route in listed]
    rows += [(f"<code>{escape(prefix)}/…</code>", "another application") for prefix in mounts]
    body += [f"<h2>The routes of this application: {len(rows)}</h2>", _table(rows)]
    body += _request_section(request)
    response = page(f"{error.status_code} {error.detail}", "\n".join(body), error.status_code, STYLE)
    response.headers.update(error.headers)
    response.headers.add("vary", "Accept")
    return _kept_private(response)


def _near(path: str, routes: Iterable[Route]) -> list[Route]:
    """The routes whose paths look like `path`. A parameter looks like whatever stands in its place."""
    path = path[:200]
    segments = path.split("/")
    texts: dict[str, list[Route]] = {}
    for route in routes:
        own = route.pattern.text.split("/")
        if len(own) == len(segments):
            own = [theirs if "{" in ours else ours for ours, theirs in zip(own, segments, strict=True)]
        texts.setdefault("/".join(own), []).append(route)
    return [route for text in get_close_matches(path, texts, 3) for route in texts[text]][:5]


def _route_name(route: Route) -> str:
    return f"<code>{escape(' '.join(route.methods))} {escape(route.pattern.text)}</code>"


# -- the request


def _request_section(request: Request) -> Iterator[str]:
    route = request.exchange.route
    client = request.client
    rows: list[tuple[str, Any]] = [
        ("method", request.method),
        ("path", request.path),
        ("prefix", request.root_path),
        ("route", route.pattern.text if route is not None and route.pattern.text != "*" else ""),
        ("handler", describe(route.handler) if route is not None and route.pattern.text != "*" else ""),
        ("HTTP", request.http_version),
        ("client", f"{client.host}:{client.port}" if client else ""),
        ("id", request.id),
    ]
    yield "<h2>Request</h2>"
    yield _table([(escape(name), escape(str(value))) for name, value in rows if value])
    fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.exchange.fields]
    try:
        query = request.query.multi_items()
    except HTTPException:  # too long to be read
        query = []
    for heading, pairs in (("Query", query), ("Fields", fields)):
        if pairs:
            yield f"<h2>{heading}</h2>"
            yield _table([(escape(name), escape(_masked(name, value))) for name, value in pairs])


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return f"<table>{''.join(f'<tr><td>{name}<td>{value}' for name, value in rows)}</table>"


# -- secrets


def _masked(name: str, value: str) -> str:
    return MASK if _SECRET.search(name) else _cut(value)


def _masked_source(text: str) -> str:
    """Source without the texts that are assigned to names of secrets."""
    return _SECRET_IN_SOURCE.sub(rf"\1\2{MASK}\2", text)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"
