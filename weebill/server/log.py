"""Log lines on standard error: one line for each event, escaped, coloured on a terminal only."""

from __future__ import annotations

import logging
import re
import sys
from textwrap import indent
from typing import Any

__all__ = ["configure_logging"]

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_COLOURS = {
    logging.DEBUG: "\x1b[2m",  # dim
    logging.INFO: "\x1b[36m",  # cyan
    logging.WARNING: "\x1b[33m",  # yellow
    logging.ERROR: "\x1b[31m",  # red
    logging.CRITICAL: "\x1b[31m",
}


def _escape(record: logging.LogRecord) -> bool:
    """What a peer sent must not begin a line or move the cursor of whoever reads the log, in whatever form a
    program has it written."""
    record.msg, record.args = _CONTROLS.sub(_escaped, record.getMessage()), None
    return True


class _Formatter(logging.Formatter):
    def __init__(self, coloured: bool) -> None:
        super().__init__("weebill: %(message)s")
        self._coloured = coloured

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record)
        colour = _COLOURS.get(record.levelno, "") if self._coloured else ""
        return f"{colour}{line}\x1b[0m" if colour else line

    def formatException(self, ei: Any) -> str:  # noqa: N802
        # Indented, so that a line of an exception's message is never taken for one of ours.
        return indent(_CONTROLS_IN_LINES.sub(_escaped, super().formatException(ei)), "    ")


def _escaped(control: re.Match[str]) -> str:
    return f"\\x{ord(control[0]):02x}"


def configure_logging(level: str) -> None:
    """Show what Weebill logs from `level` on, unless the program has set up its logger "weebill" itself. The
    messages are escaped in either case."""
    logger = logging.getLogger("weebill")
    for each in (logger, logging.getLogger("weebill.access")):
        each.addFilter(_escape)  # once, however often it is added
    logger.setLevel(level.upper())
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(sys.stderr.isatty()))
    logger.addHandler(handler)
    logger.propagate = False
