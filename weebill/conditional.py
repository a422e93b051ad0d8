"""Conditional requests and ranges as pure functions (RFC 9110 sections 13 and 14)."""

from __future__ import annotations
