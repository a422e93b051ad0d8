"""How many requests a client may send."""

from __future__ import annotations
