"""Content that is gathered: in memory, then in a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import pytest

from weebill.body import Body

CONTENT = bytes(range(256)) * 8


def spooled(pieces: Sequence[bytes], body: Body | None = None) -> Body:
    """A Body with all of these in its file."""

    async def spool(body: Body) -> Body:
        for piece in pieces:
            body.add(piece)
        await body.flush()
        return body

    return asyncio.run(spool(body or Body()))


@pytest.fixture(params=["all at once", "in part", "not by writev"])
def how_it_is_written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems have no writev, and none has to write everything at once."""
    if request.param == "in part":
        monkeypatch.setattr(os, "writev", lambda fd, pieces: os.write(fd, pieces[0][:7]), raising=False)
    elif request.param == "not by writev":
        monkeypatch.delattr(os, "writev", raising=False)


@pytest.mark.usefixtures("how_it_is_written")
@pytest.mark.parametrize("size", [1, 10, len(CONTENT)])  # of the pieces: 2,048 are more than one call takes
def test_what_is_written_to_the_file_is_all_that_came(size: int) -> None:
    body = spooled([CONTENT[start : start + size] for start in range(0, len(CONTENT), size)])
    assert body.on_disk
    assert body.read_all() == CONTENT
    spooled([b"more"], body)
    assert body.read_at(2000, 100) == (CONTENT + b"more")[2000:2100]
    assert body.read_all() == CONTENT + b"more"
    body.close()


def test_what_the_system_reads_in_parts_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sparing:
        """A file that gives a few bytes at a time, as the system does with more than 2 GiB."""

        def __init__(self, file: Any) -> None:
            self.seek = file.seek
            self.close = file.close
            self._read = file.read

        def read(self, count: int) -> bytes:
            return bytes(self._read(min(count, 100)))

    body = spooled([CONTENT])
    monkeypatch.setattr(body, "_file", Sparing(body._file))
    assert body.read_all() == CONTENT
    assert body.read_at(100, 500) == CONTENT[100:600]
    body.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full disk to write to")
def test_what_there_is_no_room_for_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(prefix: str, **options: Any) -> Any:
        return open("/dev/full", "w+b", **options)

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    body = Body()
    with pytest.raises(OSError, match="No space"):
        spooled([b"a few bytes"], body)
    body.close()
