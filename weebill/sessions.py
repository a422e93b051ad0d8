"""Sessions: what a program remembers of a client between its requests."""

from __future__ import annotations
