"""Forms as clients send them, byte by byte."""

from __future__ import annotations

BOUNDARY = "----form"
TYPE = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


def part(header: str, content: bytes = b"", end: bytes = b"\r\n") -> bytes:
    """One part whose header is `header`, with the boundary in front."""
    return f"--{BOUNDARY}\r\n{header}\r\n\r\n".encode() + content + end


def text(name: str, value: str) -> bytes:
    """A part that is a text field."""
    return part(f'Content-Disposition: form-data; name="{name}"', value.encode())


def file(name: str, filename: str, content: bytes, kind: str = "text/plain") -> bytes:
    """A part that is a file."""
    return part(
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {kind}',
        content,
    )


def multipart(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
