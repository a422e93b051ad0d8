"""Forms: urlencoded and multipart content, read as it arrives, and UploadFile."""

from __future__ import annotations
