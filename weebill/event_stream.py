"""Server-sent events: EventStream, and Event, which it sends."""

from __future__ import annotations
