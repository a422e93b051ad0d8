"""A file sent by the kernel: `sendfile` past the transport, on a connection without TLS.

    sendfile ── sent ──> others have a turn ──> sendfile ...
        │  no room: wait until the socket takes more
        └─ not in memory yet: in a file thread, which may wait for the disk

The bytes do not pass through Python, which halves the CPU time of a large file, and nothing of it waits in
our memory for a slow client. It waits in the kernel, as pages of the file that are there anyway; so for as
long as it is sent the kernel may hold any number of them, which halves the time again.

The socket is used by a descriptor of its own: uvloop lets nobody watch that of a transport, and a thread that
still writes must not meet one that is closed, and another client's by then.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys

from ..errors import ClientDisconnected
from ..exchange import ReadableFile
from ..threads import run_file_io
from .output import Output, unsent_limit

__all__ = ["can_send_file", "send_file"]

AT_ONCE = 1 << 19  # bytes of one file; then others have a turn, however fast its client is
MOST = (1 << 31) - 1  # bytes: as much as there is room for


class _Twin:
    """A second descriptor of a socket, closed when nobody holds it any more."""

    __slots__ = ("descriptor", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = socket.socket(sock.family, sock.type, sock.proto, os.dup(sock.fileno()))
        self.descriptor = self.sock.fileno()

    def __del__(self) -> None:
        if hasattr(self, "sock"):
            self.sock.close()

    def send(self, file: ReadableFile, offset: int, count: int) -> int:
        """Send some bytes of a file. Raises BlockingIOError where there is no room for any."""
        return os.sendfile(self.descriptor, file.fileno(), offset, count)

    def unsent(self) -> int:
        """Bytes in the kernel that the client has not taken. Only Linux tells."""
        if sys.platform != "linux":
            return 0
        import fcntl
        import termios

        held = fcntl.ioctl(self.descriptor, termios.TIOCOUTQ, bytes(4))  # which is SIOCOUTQ there
        return int.from_bytes(held, sys.byteorder)


def can_send_file(transport: asyncio.Transport) -> bool:
    """Whether the kernel can write to this connection as it is, with nothing before it in our memory."""
    return (
        hasattr(os, "sendfile")
        and transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
        and transport.get_write_buffer_size() == 0
    )


async def send_file(output: Output, file: ReadableFile, offset: int, count: int) -> None:
    """Send `count` bytes of `file` from `offset` on; fewer, as `output.written` tells, where the file ends
    early or its file system knows no sendfile. Raises ClientDisconnected when the client has gone,
    OSError if the file cannot be read."""
    twin = _Twin(output.transport.get_extra_info("socket"))
    end = offset + count
    try:
        with unsent_limit(twin.sock, MOST):
            while offset < end:
                if output.is_gone():
                    raise ClientDisconnected
                try:
                    sent = await _send_some(twin, file, offset, min(AT_ONCE, end - offset))
                except BlockingIOError:
                    output.blocked = twin.unsent
                    await _wait_for_room(output, twin)
                    continue
                if sent == 0:
                    break
                output.blocked = None
                output.written += sent
                offset += sent
    except (ConnectionError, TimeoutError):  # of the socket
        raise ClientDisconnected from None
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    finally:
        output.blocked = None
        del twin  # an exception holds this frame, and would hold the connection open with it


async def _send_some(twin: _Twin, file: ReadableFile, offset: int, count: int) -> int:
    """Send what there is room for, 0 bytes at the end of the file only. Raises BlockingIOError."""
    if _is_in_memory(file, offset) and _is_in_memory(file, offset + count - 1):
        sent = twin.send(file, offset, count)
        await asyncio.sleep(0)
        return sent
    return await run_file_io(twin.send, file, offset, count)


def _is_in_memory(file: ReadableFile, offset: int) -> bool:
    """Whether a byte can be read without waiting for a disk. Only Linux tells."""
    try:
        return os.preadv(file.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except (OSError, AttributeError):
        return False


async def _wait_for_room(output: Output, twin: _Twin) -> None:
    """Wait until the socket takes more, or something else happens."""
    loop = asyncio.get_running_loop()
    loop.add_writer(twin.descriptor, output.wake)
    try:
        await output.wait()
    finally:
        loop.remove_writer(twin.descriptor)
