"""Where the arguments of a typed handler come from: path, query, header, cookie, form, file, content."""

from __future__ import annotations
