"""Cookies that we set: names, values and attributes, checked (RFC 6265 and its successor, 6265bis)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from .headers import http_date, is_token

__all__ = ["format_cookie"]

SameSite: TypeAlias = Literal["lax", "strict", "none"]

MAX_COOKIE_SIZE = 4096  # bytes, with name and attributes: what every browser keeps (RFC 6265 section 6.1)

_FAR = 2**37  # seconds, in the year 6325; NaN is not below it

_NO_COOKIE_OCTET = re.compile(r"[^!#-+\--:<-\[\]-~]")  # RFC 6265 section 4.1.1
_NO_PATH = re.compile(r"[^ -:<-~]")  # RFC 6265 section 4.1.1, av-octet
_DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")

# What a name promises of its cookie (RFC 6265bis section 4.1.3). Browsers compare it in any case.
_SECURE_PREFIXES = ("__secure-", "__host-", "__http-")
_HOST_PREFIXES = ("__host-",)
_HTTP_PREFIXES = ("__http-", "__host-http-")


def format_cookie(
    name: str,
    value: str = "",
    max_age: float | timedelta | None = None,
    expires: datetime | float | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = True,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> str:
    """The value of a Set-Cookie field (RFC 6265 section 4.1).

    `max_age` is in seconds, `expires` a datetime with a time zone or seconds since the epoch; without both
    the cookie ends with the browser. Raises ValueError for what a browser would drop, cut or take for
    something else: a name that is no token, a value with blanks, quotes, commas, semicolons, backslashes or
    anything beyond ASCII, more than 4096 bytes, a bad path or domain, attributes that break the promise of a
    name with `__Host-` or `__Secure-`, and SameSite=None or Partitioned without Secure.

    >>> from weebill.cookies import format_cookie
    >>> format_cookie("theme", "dark", max_age=3600)
    'theme=dark; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax'
    """
    _check_name_and_value(name, value)
    cookie = [f"{name}={value}"]
    if max_age is not None:
        seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
        if not abs(seconds) < _FAR:
            raise ValueError(f"max_age of the cookie {name!r} is {max_age!r}, which is no number of seconds")
        cookie.append(f"Max-Age={int(seconds)}")
    if expires is not None:
        cookie.append(f"Expires={_date(name, expires)}")
    if domain is not None:
        cookie.append(f"Domain={_checked_domain(name, domain)}")
    if path is not None:
        if not path.startswith("/") or _NO_PATH.search(path):
            raise ValueError(
                f"the path of the cookie {name!r} is {path!r}; it begins with a slash and has no semicolon, "
                "no control and nothing beyond ASCII"
            )
        cookie.append(f"Path={path}")
    _check_promises(name, path, domain, secure, httponly)
    if secure:
        cookie.append("Secure")
    if httponly:
        cookie.append("HttpOnly")
    if samesite is not None:
        cookie.append(f"SameSite={_checked_samesite(name, samesite, secure)}")
    if partitioned:
        if not secure:
            raise ValueError(f"the cookie {name!r} is partitioned, which needs secure=True")
        cookie.append("Partitioned")
    line = "; ".join(cookie)
    if len(line) > MAX_COOKIE_SIZE:
        raise ValueError(
            f"the cookie {name!r} takes {len(line)} bytes; browsers drop what is longer than "
            f"{MAX_COOKIE_SIZE}"
        )
    return line


def must_be_secure(name: str, samesite: str | None, partitioned: bool) -> bool:
    """Whether a browser drops a cookie of this kind unless it is Secure."""
    return partitioned or samesite == "none" or name.lower().startswith(_SECURE_PREFIXES)


def _check_name_and_value(name: str, value: str) -> None:
    if not is_token(name):
        raise ValueError(
            f"{name!r} is no name of a cookie: it takes letters, digits and !#$%&'*+-.^_`|~ only"
        )
    if bad := _NO_COOKIE_OCTET.search(value):  # the value itself may be a secret
        raise ValueError(
            f"the value of the cookie {name!r} holds {bad[0]!r}, which a cookie cannot; encode it, for "
            "instance by urllib.parse.quote(value, safe='') or base64.urlsafe_b64encode"
        )


def _date(name: str, expires: datetime | float) -> str:
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise ValueError(
                f"the date when the cookie {name!r} expires has no time zone; write datetime.now(UTC) + ..."
            )
        return http_date(expires.timestamp())
    if not 0 <= expires < _FAR:
        raise ValueError(f"the cookie {name!r} expires at {expires!r}, which is no time since the epoch")
    return http_date(expires)


def _checked_domain(name: str, domain: str) -> str:
    plain = domain.removeprefix(".")  # which browsers ignore (RFC 6265 section 5.2.3)
    if len(plain) > 253 or not _DOMAIN.fullmatch(plain):
        raise ValueError(
            f"the domain of the cookie {name!r} is {domain!r}; it is the name of a host, without scheme and "
            "port, beyond ASCII in punycode"
        )
    return plain


def _checked_samesite(name: str, samesite: str, secure: bool) -> str:
    kind = samesite.lower()
    if kind not in ("lax", "strict", "none"):
        raise ValueError(f"samesite of the cookie {name!r} is {samesite!r}; it is 'lax', 'strict' or 'none'")
    if kind == "none" and not secure:
        raise ValueError(f"the cookie {name!r} has samesite='none', which needs secure=True")
    return kind.capitalize()


def _check_promises(name: str, path: str | None, domain: str | None, secure: bool, httponly: bool) -> None:
    lower = name.lower()
    if lower.startswith(_SECURE_PREFIXES) and not secure:
        raise ValueError(f"the cookie {name!r} promises to be secure by its name; it needs secure=True")
    if lower.startswith(_HOST_PREFIXES) and (path != "/" or domain is not None):
        raise ValueError(
            f"the cookie {name!r} promises one host by its name; it needs path='/' and no domain"
        )
    if lower.startswith(_HTTP_PREFIXES) and not httponly:
        raise ValueError(f"the cookie {name!r} promises not to be a script's; it needs httponly=True")
