"""A limit on the time that handlers take."""

from __future__ import annotations
