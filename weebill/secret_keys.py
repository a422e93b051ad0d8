"""The keys that sign what a client keeps for us, and what makes a good one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .errors import ConfigurationError

__all__ = ["VARIABLE", "checked_keys", "keys_of_environment"]

VARIABLE = "WEEBILL_SECRET_KEY"

MIN_BYTES = 32  # as long as the output of SHA-256 (RFC 2104 section 3)
MIN_DIFFERENT = 5  # characters: "aaaa..." is long and no secret

# The keys of our own documentation, which everybody can read.
_EXAMPLES = frozenset({"replace-this-with-the-output-of-the-command"})

_MAKE_ONE = 'make one with: python -c "import secrets; print(secrets.token_hex(32))"'


def checked_keys(keys: str | Sequence[str]) -> tuple[str, ...]:
    """One key, or the newest and then those that it replaces. ConfigurationError for one that is no secret.

    >>> from weebill.secret_keys import checked_keys
    >>> checked_keys("short")
    Traceback (most recent call last):
    weebill.errors.ConfigurationError: a secret key has 5 bytes and needs at least 32; make one with: ...
    """
    found = (keys,) if isinstance(keys, str) else tuple(keys)
    if not found:
        raise ConfigurationError(f"the list of secret keys is empty; {_MAKE_ONE}")
    for key in found:  # no message shows one
        if not isinstance(key, str):
            raise ConfigurationError(f"a secret key is a text, not {type(key).__name__}; {_MAKE_ONE}")
        if key in _EXAMPLES:
            raise ConfigurationError(f"a secret key is the example of the documentation; {_MAKE_ONE}")
        if (size := len(key.encode())) < MIN_BYTES:
            raise ConfigurationError(
                f"a secret key has {size} bytes and needs at least {MIN_BYTES}; {_MAKE_ONE}"
            )
        if len(set(key)) < MIN_DIFFERENT:
            raise ConfigurationError(f"a secret key is a few characters repeated; {_MAKE_ONE}")
    return found


def keys_of_environment() -> tuple[str, ...]:
    """The keys in WEEBILL_SECRET_KEY, with commas between them. ConfigurationError where there are none."""
    keys = [key.strip() for key in os.environ.get(VARIABLE, "").split(",")]
    if not any(keys):
        raise ConfigurationError(
            f"there is no secret key to sign with; set {VARIABLE}, or write App(secret_key=...), "
            f"and {_MAKE_ONE}"
        )
    return checked_keys([key for key in keys if key])
