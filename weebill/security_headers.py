"""Fields that tell a browser to be careful."""

from __future__ import annotations
