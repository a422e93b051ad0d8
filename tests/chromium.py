"""A headless Chromium, driven over its DevTools protocol by the websockets that Weebill depends on anyway.

    Browser ── a context each, with cookies of its own ──> Page     all commands go over one connection

What a page waits for is waited for in the page, by a promise that something in it resolves.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PATIENCE = 20.0  # seconds
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)

# Resolves when `find()` gives something; looks at each change of the document, and of what is loaded.
_UNTIL = """
new Promise((resolve, reject) => {
  const find = () => (%s);
  const look = () => { const found = find(); if (found) { end(); resolve(found); } };
  const observer = new MutationObserver(look);
  const late = setTimeout(() => { end(); reject(new Error("not within %d s: " + find)); }, %d);
  const end = () => {
    observer.disconnect(); clearTimeout(late); document.removeEventListener("load", look, true);
  };
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  document.addEventListener("load", look, true);
  look();
})
"""


class Page:
    """One tab. `run` evaluates JavaScript; the other methods do what a visitor does."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol, and its result."""
        return self._browser.tell(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Go there, and wait for the whole page."""
        self.tell("Page.navigate", url=url)
        self._browser.wait_for("Page.loadEventFired", self._session)

    def run(self, script: str) -> Any:
        """The value of an expression; that of a promise is waited for."""
        answer = self.tell("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if (details := answer.get("exceptionDetails")) is not None:
            raise AssertionError(details["exception"].get("description") or details["text"])
        return answer["result"].get("value")

    def wait_until(self, script: str) -> Any:
        """The first value of the expression that is true."""
        return self.run(_UNTIL % (script, PATIENCE, PATIENCE * 1000))

    def type(self, selector: str, text: str) -> None:
        """Write into an input, in place of what is there."""
        self.run(f"document.querySelector({selector!r}).select()")
        self.tell("Input.insertText", text=text)

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file to upload."""
        root = self.tell("DOM.getDocument")["root"]["nodeId"]
        node = self.tell("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.tell("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def submit(self, selector: str) -> None:
        """Click on a button, and wait for the page that comes."""
        self.run(f"document.querySelector({selector!r}).click()")
        self._browser.wait_for("Page.loadEventFired", self._session)

    def complaints(self) -> list[str]:
        """What stands in its console: errors of scripts, what did not load, what its policy has forbidden."""
        self.run("0")  # what came before has been told now
        events = self._browser.events(self._session)
        entries = [event["params"]["entry"] for event in events if event["method"] == "Log.entryAdded"]
        thrown = [event["params"] for event in events if event["method"] == "Runtime.exceptionThrown"]
        return [entry["text"] for entry in entries] + [str(each["exceptionDetails"]) for each in thrown]

    def screenshot(self, file: Path) -> None:
        """The page as a PNG file."""
        answer = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """The connection to a Chromium that runs."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def new_page(self) -> Page:
        """A tab with cookies and storage of its own, as in a window of another person."""
        context = self.tell("Target.createBrowserContext")["browserContextId"]
        target = self.tell("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        return Page(self, self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def tell(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """A command, and its result. What happens meanwhile is kept for `wait_for`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while (answer := self._next()).get("id") != self._number:
            self._events.append(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait_for(self, event: str, session: str) -> None:
        """Return when this event has come since it was waited for last."""
        while True:
            for n, seen in enumerate(self._events):
                if seen["method"] == event and seen.get("sessionId") == session:
                    del self._events[n]
                    return
            self._events.append(self._next())

    def events(self, session: str) -> list[dict[str, Any]]:
        """What has happened in a page and was not waited for."""
        return [event for event in self._events if event.get("sessionId") == session]

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(PATIENCE))
        return message


def executable() -> str:
    """Where it is. There is no way round it: what only a browser shows must not be missed."""
    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            return found
    raise AssertionError(
        "this test needs Chromium, and there is none; on Debian: sudo apt-get install chromium"
    )


@contextmanager
def started(folder: Path) -> Iterator[Browser]:
    """A Chromium that keeps all it knows in `folder`, until the end of the block."""
    process = subprocess.Popen(
        [executable(), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if (found := re.search(r"DevTools listening on (ws://\S+)", line)) is not None:
                break
        else:
            raise AssertionError("Chromium did not start: " + "".join(said))
        with connect(found[1], proxy=None, max_size=None, compression=None) as connection:
            browser = Browser(connection)
            yield browser
            browser.tell("Browser.close")
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
