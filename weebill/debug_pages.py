"""What the author of a program sees of a failure, in debug only."""

from __future__ import annotations
