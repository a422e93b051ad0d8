"""Passwords, kept as what scrypt makes of them (RFC 7914)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from unicodedata import normalize

__all__ = ["hash_password", "verify_password"]

# As strong as the 128 MiB that OWASP names first, by the same table, in 16 MiB: forty threads may verify at
# the same time.
_N, _R, _P = 2**14, 8, 5


def hash_password(password: str) -> str:
    """What to keep of a password: text with parameters and salt. It takes a tenth of a second, so call it in
    a `def` handler.

    >>> from weebill.passwords import hash_password, verify_password
    >>> kept = hash_password("correct horse")
    >>> verify_password("correct horse", kept), verify_password("wrong horse", kept)
    (True, False)
    """
    salt = secrets.token_bytes(16)
    made = _scrypt(password, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(made).decode()}"


def verify_password(password: str, kept: str | None) -> bool:
    """Whether `kept`, made by `hash_password`, is of this password, in a time that says nothing about it.

    Give None where there is no account: it is False, and takes as long, so that nobody learns by the clock
    which accounts there are. Raises ValueError for a text that `hash_password` has not made.

    >>> from weebill.passwords import verify_password
    >>> verify_password("correct horse", None)
    False
    >>> verify_password("correct horse", "correct horse")
    Traceback (most recent call last):
    ValueError: this is not what hash_password makes
    """
    if kept is None:
        _scrypt(password, secrets.token_bytes(16), _N, _R, _P)
        return False
    kind, *parameters = kept.split("$")
    if kind != "scrypt" or len(parameters) != 5:
        raise ValueError("this is not what hash_password makes")
    n, r, p = map(int, parameters[:3])
    salt, made = map(b64decode, parameters[3:])
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), made)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # One spelling for all keyboards (NIST SP 800-63B section 5.1.1.2).
    secret = normalize("NFKC", password).encode()
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)
