"""The logger "weebill", for what a hello imports: to import logging is a twentieth of `import weebill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["logger"]


def logger() -> Logger:
    """The logger, when there is something to tell."""
    from logging import getLogger  # has been imported by whatever runs a loop

    return getLogger("weebill")
