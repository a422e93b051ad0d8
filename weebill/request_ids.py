"""A name for each request, to be found again in the logs."""

from __future__ import annotations
