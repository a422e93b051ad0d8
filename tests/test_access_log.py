"""One line for each answer, also for one that breaks off."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from weebill import App
from weebill.testing import LiveServer


def make_app() -> App:
    app = App(__name__)

    @app.get("/whole")
    async def whole() -> str:
        return "whole"

    @app.get("/broken")
    async def broken() -> AsyncIterator[str]:
        yield "begun"
        raise RuntimeError("on purpose")

    return app


def test_an_answer_is_one_line_of_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="weebill")
    with LiveServer(make_app(), access_log=True) as server:
        httpx.get(f"{server.url}/whole?a=b")
    lines = [record.getMessage() for record in caplog.records if record.name == "weebill.access"]
    assert len(lines) == 1
    assert lines[0].startswith('127.0.0.1 "GET /whole?a=b HTTP/1.1" 200 5 ')


def test_an_answer_that_breaks_off_is_in_the_access_log_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="weebill")
    with LiveServer(make_app(), access_log=True) as server, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{server.url}/broken")
    lines = [record.getMessage() for record in caplog.records if record.name == "weebill.access"]
    assert len(lines) == 1
    assert lines[0].startswith('127.0.0.1 "GET /broken HTTP/1.1" 200 5 ')
