"""What the programs in peers/ answer with, and are expected to."""

from __future__ import annotations

from functools import cache

BIRD = {
    "id": 17,
    "name": "Weebill",
    "species": "Smicrornis brevirostris",
    "grams": 6.0,
    "length": 8.5,
    "heard": True,
    "seen": False,
    "ring": None,
    "places": ["mallee", "woodland"],
    "site": {"name": "Hattah", "state": "Victoria"},
}
CHUNK = b"0123456789" * 10


@cache
def rows() -> list[dict[str, object]]:
    """1 MB of JSON, made when it is first asked for: it shall not count as memory of a server that idles."""
    return [
        {"id": n, "name": f"Weebill {n}", "grams": 6.5, "heard": True, "places": ["mallee", "woodland"]}
        for n in range(10_000)
    ]
