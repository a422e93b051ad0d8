"""Files of one folder, and nothing outside it."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import ConfigurationError, HTTPException
from .requests import Request
from .responses import FileResponse

__all__ = ["StaticFiles"]


_NEVER = re.compile(r"[\\:\0]")
# What Windows takes for a device, in any folder and with any ending.
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\..*)?", re.IGNORECASE
)


class StaticFiles:
    """The handler behind `static`: answers the parameter `file` with a file below `folder`.

    Hidden files, names of Windows' devices, what symbolic links lead out to, and everything that is no
    regular file are 404, without a hint which it was. A folder is answered by its index.html. Raises
    ConfigurationError for a folder that is not there.
    """

    __name__ = "static"

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise ConfigurationError(f"the static folder {self.folder} does not exist")

    def __repr__(self) -> str:
        return f"the files of {self.folder}"

    def __call__(self, request: Request) -> FileResponse:
        return FileResponse(self.find(request.params["file"]))

    def find(self, relative: str) -> Path:
        """The file of a decoded path. Raises HTTPException 404."""
        segments = relative.split("/")
        if any(s.startswith(".") or _NEVER.search(s) or _DEVICE.fullmatch(s) for s in segments):
            raise HTTPException(404)
        try:
            path = self.folder.joinpath(*[s for s in segments if s]).resolve(strict=True)
            if path.is_dir():
                path = (path / "index.html").resolve(strict=True)
            elif relative.endswith("/"):  # a slash at the end counts: only a folder has one
                raise HTTPException(404)
            inside = path.relative_to(self.folder) if path.is_relative_to(self.folder) else None
            if inside and path.is_file() and not any(part.startswith(".") for part in inside.parts):
                return path
        except (OSError, RuntimeError):  # missing, unreadable, a loop of links, a name too long
            pass
        raise HTTPException(404)
