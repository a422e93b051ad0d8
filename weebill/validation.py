"""Values from outside: JSON read strictly, values converted to types, every fault with its place."""

from __future__ import annotations
