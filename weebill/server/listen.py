"""Listening sockets."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys

from ..errors import StartError
from ..settings import Settings

# Bytes that the kernel takes ahead of what it has sent. By itself it takes megabytes of each stream, in one
# turn of the loop while all others wait.
UNSENT = 128 << 10

__all__ = ["open_sockets", "turn_away"]


def open_sockets(settings: Settings) -> list[socket.socket]:
    """A listening socket for each address that `settings.host` has; all have the same port.

    Raises StartError: one sentence that says which address, and what is wrong with it.
    """
    host, port = settings.host, settings.port
    if not 0 <= port <= 65535:
        raise StartError(f"{port} is no port: they go from 0 to 65535")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartError(f"the host {host!r} has no address: {error.strerror}") from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(_listen(family, (address[0], port, *address[2:]), settings.backlog))
            except OSError as error:
                if sockets and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue  # a name with an address of a family that this machine does not speak
                raise StartError(_sentence(error, str(address[0]), port)) from None
            port = port or sockets[0].getsockname()[1]
    except StartError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _listen(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # inherited by what is accepted
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def turn_away(listener: socket.socket) -> None:
    """Have the kernel begin no more connections, while those that have begun can still be accepted.

    Without this, one that comes between the last accept and close is reset, although its client may have
    asked already. Linux only: a filter that drops each SYN, so that its client tries again in a second.
    """
    if sys.platform != "linux":
        return
    import ctypes  # for this alone

    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(instructions))  # struct sock_fprog
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


_SO_ATTACH_FILTER = 26
_NO_SYN = (  # struct sock_filter: code, jump if true, jump if false, constant
    (0x30, 0, 0, 13),  # load the byte with TCP's flags
    (0x54, 0, 0, 0x12),  # and SYN | ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone?
    (0x06, 0, 0, 0),  # keep nothing of it
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all of any other
)


def _sentence(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; stop the program that has it, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is for privileged programs only; choose one from 1024 on with --port"
    return f"cannot listen on {host} port {port}: {error.strerror}"
