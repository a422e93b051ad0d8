"""Fields that tell a browser to be careful."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from .errors import ConfigurationError
from .headers import Fields, check_field
from .responses import PAGE_FIELDS

if TYPE_CHECKING:
    from .pipeline import Answer
    from .requests import Request
    from .responses import Response

__all__ = ["SecurityHeadersMiddleware"]

_ANCESTORS = {"DENY": "'none'", "SAMEORIGIN": "'self'"}


class SecurityHeadersMiddleware:
    """Tell browsers, with each answer, what they must not do with it.

    Each argument is the value of its field, and None leaves the field out; a field that a handler has set
    stays. The defaults do not break a site that works alone: no guessing of media types, no frames, no
    `Referer` with paths to other sites, a window of its own, `base-uri` and `object-src` shut. HSTS is said
    over https only (RFC 6797 section 7.2), and without `includeSubDomains`, which may bind names that do not
    speak https.

    `content_security_policy` is a whole policy of yours. Where it says `{nonce}`, each answer gets a new
    random one, which is `request.state.csp_nonce` in handlers and templates. Raises ConfigurationError.

    >>> from weebill.security_headers import SecurityHeadersMiddleware
    >>> app = App()
    >>> careful = app.middleware(SecurityHeadersMiddleware(frame_options="SAMEORIGIN"))
    >>> TestClient(app).get("/").headers["x-content-type-options"]
    'nosniff'
    """

    def __init__(
        self,
        *,
        content_security_policy: str | None = "",
        strict_transport_security: str | None = "max-age=31536000",
        content_type_options: str | None = "nosniff",
        frame_options: str | None = "DENY",
        referrer_policy: str | None = "strict-origin-when-cross-origin",
        cross_origin_opener_policy: str | None = "same-origin",
        permissions_policy: str | None = None,
    ) -> None:
        if frame_options is not None and frame_options not in _ANCESTORS:
            raise ConfigurationError(
                f"frame_options is {frame_options!r}; write 'DENY' or 'SAMEORIGIN', or None and "
                "frame-ancestors in content_security_policy"
            )
        if content_security_policy == "":
            content_security_policy = "base-uri 'self'; object-src 'none'"
            if frame_options is not None:  # browsers go by it and not by X-Frame-Options
                content_security_policy += f"; frame-ancestors {_ANCESTORS[frame_options]}"
        _fields({"content-security-policy": content_security_policy})
        self._policy = content_security_policy or ""
        self._has_nonce = "{nonce}" in self._policy
        self._fields = _fields(
            {
                "x-content-type-options": content_type_options,
                "x-frame-options": frame_options,
                "referrer-policy": referrer_policy,
                "cross-origin-opener-policy": cross_origin_opener_policy,
                "permissions-policy": permissions_policy,
                "content-security-policy": content_security_policy if not self._has_nonce else None,
            }
        )
        self._over_tls = _fields({"strict-transport-security": strict_transport_security})

    async def __call__(self, request: Request, call_next: Answer) -> Response:
        fields = self._fields
        if self._has_nonce:
            nonce = request.state.csp_nonce = secrets.token_urlsafe(16)
            policy = self._policy.replace("{nonce}", nonce).encode("latin-1")
            fields = [*fields, (b"content-security-policy", policy)]
        response = await call_next(request)
        if request.scheme == "https":
            fields = fields + self._over_tls
        # What pages say by default is no handler's word: the arguments decide.
        own = [pair for pair in response.raw_headers if not any(pair is default for default in PAGE_FIELDS)]
        present = {name.lower() for name, _ in own}
        response.raw_headers = own + [field for field in fields if field[0] not in present]
        return response


def _fields(values: dict[str, str | None]) -> Fields:
    fields: Fields = []
    for name, value in values.items():
        if value is None:
            continue
        try:
            pair = name.encode("ascii"), value.encode("latin-1")
            check_field(*pair)
        except (ValueError, AttributeError) as error:
            raise ConfigurationError(f"{name} cannot be {value!r}: {error}") from None
        fields.append(pair)
    return fields
