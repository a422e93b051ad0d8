"""FileResponse: the content of a file, whole or in ranges, if the client has not got it already."""

from __future__ import annotations
