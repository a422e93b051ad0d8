"""Requests that another site has its visitors send are refused."""

from __future__ import annotations
