"""What scripts of other sites may read (the Fetch standard, section 3.2)."""

from __future__ import annotations
