"""The example Birdlog in Chromium: one window logs in and uploads, another sees it without loading anew."""

from __future__ import annotations

from pathlib import Path

import chromium
import pytest
from birdlog_helpers import PASSWORD, png, process

NEWEST = "document.querySelector('li')?.innerText"
SEEN = "Emu <3 \N{MULTIPLICATION SIGN} 2\nada, "
MESSAGE = "document.querySelector('.message')?.innerText"


def test_one_window_reports_a_bird_and_the_other_sees_it_at_once(tmp_path: Path) -> None:
    photo = tmp_path / "emu.png"
    photo.write_bytes(png(64, 48))
    empty = "getComputedStyle(document.querySelector('ul'), '::before').content"
    with process("httptools", tmp_path) as server, chromium.started(tmp_path / "profile") as browser:
        url = server.url()
        ada, visitor = browser.new_page(), browser.new_page()
        visitor.open(url)
        assert visitor.run(empty) == '"No bird yet."'
        visitor.run("window.isTheSame = true")
        visitor.wait_until("document.querySelector('.live')")

        ada.open(url)
        ada.type("[name=name]", "ada")
        ada.type("[name=password]", PASSWORD)
        ada.submit("[formaction]")
        assert ada.run(MESSAGE) == "Welcome, ada."
        ada.submit("header button")
        assert ada.run(MESSAGE) == "You are logged out."
        ada.type("[name=name]", "ada")
        ada.type("[name=password]", PASSWORD)
        ada.submit(".card button")
        assert ada.run(MESSAGE) == "Welcome, ada."

        ada.type("[name=species]", "Emu <3")
        ada.type("[name=count]", "2")
        ada.choose("[name=photo]", photo)
        ada.submit(".card button")
        assert ada.run(MESSAGE) == "Emu <3: thank you."
        assert ada.run(NEWEST).startswith(SEEN)

        assert visitor.wait_until(NEWEST).startswith(SEEN)
        assert visitor.wait_until("document.querySelector('li img').naturalWidth") == 64
        assert visitor.run(empty) == "none"
        assert visitor.run("window.isTheSame")
        assert [page.complaints() for page in (ada, visitor)] == [[], []]
        assert server.stop() == 0


def test_without_a_browser_it_fails_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssertionError, match="sudo apt-get install chromium"):
        chromium.executable()
