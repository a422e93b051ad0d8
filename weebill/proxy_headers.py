"""What proxies tell of the client, believed only from those that are trusted."""

from __future__ import annotations
