"""A file sent by the kernel: `sendfile` past the transport, on a connection without TLS.

    the transport's buffer is empty ── sendfile ──> room? again
                                          │ none: wait until the socket takes more
                                          └ not in memory yet: sendfile in a file thread, which may wait

The bytes do not pass through Python, which halves the CPU time of a large file, and nothing of it waits in
our memory for a slow client. The socket is used by a descriptor of its own: uvloop lets nobody watch that of
a transport, and a thread that still writes must not meet one that is closed, and another client's by then.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress

from ..errors import ClientDisconnected
from ..exchange import ReadableFile
from ..threads import run_file_io
from .connection import WRITE_BUFFER
from .output import Output

__all__ = ["can_send_file", "send_file"]

AT_ONCE = 1 << 18  # bytes of one file; then others have a turn, however fast its client is


class _Twin:
    """A second descriptor of a socket, closed when nobody holds it any more."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = -1
        self.descriptor = os.dup(descriptor)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def send(self, file: ReadableFile, offset: int, count: int) -> int:
        """Send some bytes of a file. Raises BlockingIOError where there is no room for any."""
        return os.sendfile(self.descriptor, file.fileno(), offset, count)


def can_send_file(transport: asyncio.Transport) -> bool:
    """Whether the kernel can write to this connection as it is."""
    if not hasattr(os, "sendfile") or transport.get_extra_info("sslcontext") is not None:
        return False
    return transport.get_extra_info("socket") is not None


async def send_file(output: Output, file: ReadableFile, offset: int, count: int) -> None:
    """Send `count` bytes of `file` from `offset` on. Raises ClientDisconnected when the client has gone,
    OSError if the file cannot be read or has become shorter."""
    await _flush(output)
    twin = _Twin(output.transport.get_extra_info("socket").fileno())
    end = offset + count
    try:
        while offset < end:
            if output.is_gone():
                raise ClientDisconnected
            sent = await _send_some(output, twin, file, offset, min(AT_ONCE, end - offset))
            if sent == 0:
                raise OSError(f"a file has become shorter while it was sent, by {end - offset} bytes")
            offset += sent
    finally:
        output.blocked = False
        del twin  # an exception holds this frame, and with it the connection, open


async def _flush(output: Output) -> None:
    """Wait until the transport has given everything to the kernel, or the file would overtake it."""
    await asyncio.sleep(0)  # uvloop writes at the end of a turn
    transport = output.transport
    if output.is_gone():
        raise ClientDisconnected
    if not transport.get_write_buffer_size():
        return
    transport.set_write_buffer_limits(0)
    try:
        while transport.get_write_buffer_size():
            if not output.paused:
                output.paused = True
            await output.drain()
    finally:
        transport.set_write_buffer_limits(WRITE_BUFFER)


async def _send_some(output: Output, twin: _Twin, file: ReadableFile, offset: int, count: int) -> int:
    """Send what there is room for, 0 bytes only at the end of the file; let others have a turn."""
    try:
        if _is_in_memory(file, offset + count - 1):
            sent = twin.send(file, offset, count)
            output.written += sent
            output.blocked = False
            await asyncio.sleep(0)
        else:
            sent = await run_file_io(twin.send, file, offset, count)
            output.written += sent
            output.blocked = False
        return sent
    except BlockingIOError:
        output.blocked = True
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise ClientDisconnected from None
        raise
    loop = asyncio.get_running_loop()
    loop.add_writer(twin.descriptor, output.wake)
    try:
        await output.wait()
    finally:
        loop.remove_writer(twin.descriptor)
    return -1
