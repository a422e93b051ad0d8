"""A page that lists the files of a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from urllib.parse import quote

from .errors import HTTPException
from .responses import HTMLResponse

__all__ = ["list_folder"]

MOST = 10_000  # names on one page

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; color: #223 }}
body {{ max-width: 60rem; margin: 3rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100% }}
td {{ padding: .2rem .5rem; border-bottom: 1px solid #eee; overflow-wrap: anywhere }}
td + td {{ text-align: right; white-space: nowrap; color: #667; font-variant-numeric: tabular-nums }}
</style>
<h1>{title}</h1>
<table>
{rows}
</table>
{more}"""

_FIELDS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def list_folder(folder: Path, relative: str, is_listed: Callable[[Path], bool]) -> HTMLResponse:
    """The page for `folder`, called `relative` in its title: folders first, then files, each by name, at most
    10,000 of them. What `is_listed` denies is left out, and names that are no text. Blocks.

    Raises HTTPException 404 for a folder that cannot be read.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        raise HTTPException(404) from None
    shown = [name for name in names if _is_text(name) and is_listed(folder / name)]
    rows = ['<tr><td><a href="../">../</a></td><td></td><td></td></tr>'] if relative else []
    rows += [row for _, _, row in sorted(_row(folder / name) for name in shown)[:MOST]]
    more = f"<p>and {len(shown) - MOST} more</p>\n" if len(shown) > MOST else ""
    page = _PAGE.format(title=escape(f"/{relative}"), rows="\n".join(rows), more=more)
    return HTMLResponse(page, headers=_FIELDS)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8
        return False
    return name.isprintable()


def _row(path: Path) -> tuple[bool, str, str]:
    """Whether it goes behind the folders, its name to sort by, and its row."""
    try:
        status = path.stat()
    except OSError:  # it has gone a moment ago
        return True, path.name, ""
    is_file = not path.is_dir()
    name = path.name if is_file else path.name + "/"
    size = _size(status.st_size) if is_file else ""
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(status.st_mtime))
    link = f'<a href="{quote(name)}">{escape(name)}</a>'
    return is_file, path.name, f"<tr><td>{link}</td><td>{size}</td><td>{day}</td></tr>"


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    return f"{count:.1f} TiB"
