"""Cookies that we set: names, values and attributes, checked (RFC 6265)."""

from __future__ import annotations
