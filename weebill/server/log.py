"""Log lines on standard error: one line for each event, escaped, coloured on a terminal only.

The lines of the access log go round the records of `logging`, which cost more than most answers, as long as
nobody but us would see them: the lines of one turn of the loop are one write.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from textwrap import indent
from typing import Any

__all__ = ["AccessLog", "configure_logging"]

_ACCESS = '%s "%s %s HTTP/%s" %d %d %.1fms'

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_VISIBLE = bytes(range(0x20, 0x7F))
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


class _Handler(logging.StreamHandler[Any]):
    """Writes to standard error."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        is_coloured = sys.stderr.isatty()
        self.setFormatter(_Formatter(is_coloured))
        begin, end = (_COLOURS[logging.INFO], "\x1b[0m\n") if is_coloured else ("", "\n")
        self._begin, self._between, self._end = f"{begin}weebill: ", f"{end}{begin}weebill: ", end
        self._own = self.formatter

    def is_alone(self) -> bool:
        """Whether a line of the access log ends here and nowhere else, and as it left us."""
        access, parent = logging.getLogger("weebill.access"), logging.getLogger("weebill")
        return (
            parent.handlers == [self]
            and not (access.handlers or parent.propagate or self.filters or self.level)
            and access.filters == [_escape]
            and access.propagate
            and self.formatter is self._own
            and access.isEnabledFor(logging.INFO)
            and logging.getLogRecordFactory() is logging.LogRecord
        )

    def write(self, lines: list[str]) -> None:
        """Write some lines of the level INFO at once."""
        text = "".join(lines)
        # PERF: nearly all lines need nothing, and this look costs a fifth of the search.
        if not text.isascii() or text.encode().translate(None, _VISIBLE):
            lines = [_CONTROLS.sub(_escaped, line) for line in lines]
        self.acquire()
        try:
            self.stream.write(f"{self._begin}{self._between.join(lines)}{self._end}")
            self.flush()
        except Exception:  # what cannot be logged stops nobody
            self.handleError(
                logging.makeLogRecord({"msg": "%d lines of the access log", "args": (len(lines),)})
            )
        finally:
            self.release()


class AccessLog:
    """The logger "weebill.access", with a line for each answer. To be used on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: list[str] = []  # of this turn of the loop
        self._handler: _Handler

    def add(self, *told: object) -> None:
        """Log client, method, target, version, status, bytes of content and milliseconds."""
        if not self._lines:
            logger = logging.getLogger("weebill.access")
            handler = next(iter(logging.getLogger("weebill").handlers), None)
            if not isinstance(handler, _Handler) or not handler.is_alone():
                logger.info(_ACCESS, *told)
                return
            self._handler = handler
            self._loop.call_soon(self._write)
        self._lines.append(_ACCESS % told)

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._handler.write(lines)


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
    logger.addHandler(_Handler())
    logger.propagate = False
