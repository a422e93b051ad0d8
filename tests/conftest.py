"""Fixtures that many test files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from wires import WIRES, connected


@pytest.fixture(params=WIRES, scope="module")
def wire(request: pytest.FixtureRequest) -> str:
    """The name of each wire in turn."""
    return request.param


@pytest.fixture
def serve(wire: str) -> Iterator[Callable[[Any], Any]]:
    """A function that serves an application on the wire and gives a client of it."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(connected(app, wire))
