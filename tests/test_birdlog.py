"""The example Birdlog, as its users meet it: the same tests in memory, on our server with either parser, on
uvicorn and on granian."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from birdlog_helpers import (
    BROWSER,
    PASSWORD,
    PROGRAM,
    WIRES,
    Birdlog,
    live,
    load,
    login,
    newest,
    png,
    process,
    token,
)

from weebill import TestClient

TIMES = "\N{MULTIPLICATION SIGN}"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """All of them, starting while the first tests run in memory."""
    servers = {wire: process(wire, tmp_path_factory.mktemp(wire)) for wire in WIRES if wire != "memory"}
    yield servers
    for server in servers.values():
        with server:  # granian's worker would outlive a parent that is killed
            server.stop() if server.process.poll() is None else None


@pytest.fixture(scope="module", params=WIRES)
def birdlog(
    request: pytest.FixtureRequest, servers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Birdlog]:
    if request.param != "memory":
        birdlog = Birdlog(request.param, server=servers[request.param])
        with birdlog.clients:
            yield birdlog
        return
    program = load(tmp_path_factory.mktemp("memory"))
    with TestClient(program.app, headers=BROWSER, follow_redirects=True) as client:
        yield Birdlog("memory", client)
    assert not program.open_pages


@pytest.fixture(scope="module")
def ada(birdlog: Birdlog) -> Any:
    """Somebody who is logged in."""
    return birdlog.member()


def report(client: Any, species: str = "Weebill", **more: Any) -> Any:
    """Send the form of a sighting."""
    files = {"photo": more.pop("photo")} if "photo" in more else None
    return client.post(
        "/sightings", data={"csrf_token": token(client), "species": species, **more}, files=files
    )


# -- accounts


def test_a_member_is_logged_in_until_the_log_out(birdlog: Birdlog, ada: Any) -> None:
    page = ada.get("/").text
    assert "Log out" in page
    assert "Log in" not in page
    assert "Welcome" not in page  # it has been shown
    inside = ada.cookies["session"]
    page = ada.post("/logout", data={"csrf_token": token(ada)}).text
    assert "You are logged out." in page
    assert "Log in" in page
    assert "Log out" not in page
    thief = birdlog.visitor()
    thief.cookies.set("session", inside)
    assert "Log out" not in thief.get("/").text

    before = ada.cookies["session"]
    page = ada.post("/login", data=login(ada, ada.name)).text
    assert f"Welcome, {ada.name}." in page
    assert "Log out" in page
    assert ada.cookies["session"] not in (before, inside)


@pytest.mark.parametrize(("name", "password"), [("member-1", "wrong horse"), ("nobody-at-all", PASSWORD)])
def test_a_wrong_password_and_a_wrong_name_are_told_alike(
    birdlog: Birdlog, ada: Any, name: str, password: str
) -> None:
    visitor = birdlog.visitor()
    page = visitor.post("/login", data=login(visitor, name, password)).text
    assert "There is no account with this name and password." in page
    assert "Log out" not in page


def test_a_name_is_taken_once(birdlog: Birdlog, ada: Any) -> None:
    visitor = birdlog.visitor()
    page = visitor.post("/members", data=login(visitor, ada.name)).text
    assert f"The name {ada.name} is taken." in page
    assert "Log out" not in page


def test_a_name_and_a_password_that_do_not_fit_are_told_with_their_places(birdlog: Birdlog) -> None:
    visitor = birdlog.visitor()
    form = login(visitor, "Ada Lovelace", "short")
    answer = visitor.post("/members", data=form, headers={"accept": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [fault["place"] for fault in answer.json()["errors"]] == ["form.name", "form.password"]
    assert "short" not in answer.text
    page = visitor.post("/members", data=form)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "form.name: expected str matching" in page.text


def test_the_cookie_of_the_session_is_for_the_server_alone(birdlog: Birdlog) -> None:
    visitor = birdlog.visitor()
    answer = visitor.get("/")
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"session=[\w-]{43}; Max-Age=1209600; Path=/; HttpOnly; SameSite=Lax", cookie)
    assert "Cookie" in answer.headers["vary"]
    assert answer.headers["cache-control"] == "no-store"


def test_who_guesses_passwords_is_soon_told_to_wait(tmp_path: Path) -> None:
    with TestClient(load(tmp_path).app) as client:
        answers = [client.post(path, data={}).status_code for path in ("/login", "/members") * 16]
    assert answers == [422] * 30 + [429] * 2


# -- requests that are forged


def test_a_form_without_its_token_is_refused(birdlog: Birdlog, ada: Any) -> None:
    before = newest(ada)
    answer = ada.post("/sightings", data={"species": "Cuckoo"})
    assert answer.status_code == 403
    assert "The token against forged requests is missing" in answer.text
    assert newest(ada) == before


@pytest.mark.parametrize("path", ["/sightings", "/login", "/members", "/logout", "/api/sightings"])
def test_what_another_site_sends_is_refused(birdlog: Birdlog, ada: Any, path: str) -> None:
    forged = {"sec-fetch-site": "cross-site", **FORM}
    answer = ada.post(path, content=b"species=Cuckoo", headers=forged)
    assert answer.status_code == 403
    assert "another site" in answer.text


def test_a_token_of_another_session_is_refused(birdlog: Birdlog, ada: Any) -> None:
    answer = ada.post("/logout", data={"csrf_token": token(birdlog.visitor())})
    assert answer.status_code == 403
    assert "Log out" in ada.get("/").text


def test_every_page_tells_the_browser_to_be_careful(birdlog: Birdlog) -> None:
    headers = birdlog.visitor().get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"


# -- sightings


def test_nobody_reports_without_an_account(birdlog: Birdlog) -> None:
    stranger = birdlog.visitor()
    answer = report(stranger)
    assert answer.status_code == 403
    assert "Log in first." in answer.text


def test_what_is_reported_is_escaped_on_the_page(ada: Any) -> None:
    page = report(ada, "<script>alert(1)</script>", count="3").text
    assert "<script>alert" not in page
    assert f"&lt;script&gt;alert(1)&lt;/script&gt;</b> {TIMES} 3" in page


def test_a_form_that_does_not_fit_is_told_every_fault(ada: Any) -> None:
    before = newest(ada)
    answer = report(ada, "", count="many")
    assert answer.status_code == 422
    assert "form.species: expected str of length &gt;= 1" in answer.text
    assert "form.count: expected int, got &quot;many&quot;" in answer.text
    assert newest(ada) == before


@pytest.mark.parametrize("padding", [0, 3 << 20], ids=["in memory", "on disk"])
def test_a_photograph_is_given_back_as_it_came(ada: Any, padding: int) -> None:
    content = png() + bytes(padding)
    report(ada, "Emu", photo=("../../emu.png", content, "image/png"))
    name = ada.get("/api/sightings?limit=1").json()[0]["photo"]
    assert re.fullmatch(r"[0-9a-f]{32}\.png", name)
    answer = ada.get(f"/photos/{name}")
    assert answer.content == content
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    again = ada.get(f"/photos/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    part = ada.get(f"/photos/{name}", headers={"range": "bytes=0-7"})
    assert part.status_code == 206
    assert part.content == content[:8]
    assert part.headers["content-range"] == f"bytes 0-7/{len(content)}"


def test_an_input_for_a_file_that_was_left_empty_is_no_photograph(ada: Any) -> None:
    assert report(ada, "Wren", photo=("", b"", "application/octet-stream")).status_code == 200
    assert ada.get("/api/sightings?limit=1").json()[0]["photo"] is None


def test_what_is_no_photograph_is_refused_whatever_it_says_of_itself(ada: Any) -> None:
    before = newest(ada)
    answer = report(ada, "Emu", photo=("emu.png", b"<script>alert(1)</script>", "image/png"))
    assert answer.status_code == 415
    assert "A photograph is a JPEG or PNG file." in answer.text
    assert newest(ada) == before


def test_a_photograph_that_is_too_long_is_refused(birdlog: Birdlog, ada: Any) -> None:
    answer = report(ada, "Emu", photo=("emu.png", png() + bytes(10 << 20), "image/png"))
    assert answer.status_code == 413


# -- the API


def test_the_api_takes_and_gives_json(ada: Any) -> None:
    answer = ada.post("/api/sightings", json={"species": "Kookaburra", "count": 4})
    assert answer.status_code == 201
    made = answer.json()
    assert made["species"] == "Kookaburra"
    assert made["count"] == 4
    assert made["person"] == ada.name
    assert made["photo"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["seen_at"])
    assert ada.get("/api/sightings", params={"after": made["id"] - 1}).json() == [made]
    assert len(ada.get("/api/sightings", params={"limit": 1}).json()) == 1


@pytest.mark.parametrize(
    ("content", "kind", "status", "said"),
    [
        (b'{"species": ""}', "application/json", 422, '"body.species"'),
        (b'{"count": 0}', "application/json", 422, '"body.count"'),
        (b'{"species": ', "application/json", 400, "line 1, column 13"),
        (b'{"species": "Emu"}', "text/plain", 403, "token"),
        (b'{"species": "Emu"}', "application/cbor", 415, "application/json"),
        (b"", "application/json", 422, '"body"'),
    ],
)
def test_the_api_says_what_is_wrong_and_where(
    ada: Any, content: bytes, kind: str, status: int, said: str
) -> None:
    headers = {"content-type": kind, "accept": "application/json"}
    answer = ada.post("/api/sightings", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.text


@pytest.mark.parametrize(
    ("query", "place"), [("limit=0", "query.limit"), ("after=x", "query.after"), ("limit=999", "query.limit")]
)
def test_a_question_that_does_not_fit_is_told_its_place(birdlog: Birdlog, query: str, place: str) -> None:
    answer = birdlog.visitor().get(f"/api/sightings?{query}", headers={"accept": "application/json"})
    assert answer.status_code == 422
    assert [fault["place"] for fault in answer.json()["errors"]] == [place]


def test_the_api_asks_who_you_are_before_it_looks_at_what_you_send(birdlog: Birdlog) -> None:
    answer = birdlog.visitor().post("/api/sightings", json={}, headers={"accept": "application/json"})
    assert answer.status_code == 403
    assert answer.json()["detail"] == "Log in first."


# -- the live page


def test_an_open_page_sees_what_others_report(birdlog: Birdlog, ada: Any) -> None:
    report(ada, "Magpie")
    last = newest(ada)
    with live(birdlog.visitor(), last - 1) as events, live(ada, last - 1) as own:
        assert next(events)[:2] == next(own)[:2] == ("sighting", last)
        report(ada, "Lyrebird", count="2", photo=("lyrebird.png", png(), "image/png"))
        for name, number, piece in (next(events), next(own)):
            assert name == "sighting"
            assert number == last + 1
            assert f"<b>Lyrebird</b> {TIMES} 2" in piece
            assert re.search(r'<img src="/photos/[0-9a-f]{32}\.png"', piece)
        ada.post("/api/sightings", json={"species": "Galah"})
        assert "<b>Galah</b>" in next(events)[2]


def test_a_page_that_comes_back_gets_what_it_has_missed(birdlog: Birdlog, ada: Any) -> None:
    last = newest(ada)
    for species in ("Emu", "Wren", "Robin"):
        ada.post("/api/sightings", json={"species": species})
    with live(birdlog.visitor(), last, headers={"last-event-id": str(last + 1)}) as events:
        assert [next(events)[1], next(events)[1]] == [last + 2, last + 3]


def test_a_page_that_goes_while_its_sightings_are_looked_up_takes_no_connection_from_under_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = load(tmp_path)
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()
    look_up, found = program.latest, []

    def look_up_slowly(*arguments: Any) -> Any:
        begun.set()
        go_on.wait(10)
        try:
            found.append(look_up(*arguments))
        finally:
            over.set()
        return found[-1]

    monkeypatch.setattr(program, "latest", look_up_slowly)
    with TestClient(program.app) as client, client.stream("GET", "/live") as page:
        assert begun.wait(10)
        page.close()
        go_on.set()
        assert over.wait(10)
    assert found == [[]]


def test_the_page_says_from_where_on_it_wants_to_know(ada: Any) -> None:
    page = ada.get("/").text
    assert f'data-live="/live?after={newest(ada)}"' in page


# -- the end


def test_all_of_it_is_no_longer_than_300_lines() -> None:
    files = [PROGRAM, *PROGRAM.parent.glob("templates/*"), *PROGRAM.parent.glob("static/*")]
    assert len(files) == 6
    assert sum(len(file.read_text().splitlines()) for file in files) <= 300


def test_a_stop_waits_for_no_page_that_is_open(birdlog: Birdlog, ada: Any) -> None:
    """The last test: nobody is asked after it. In memory the page stays open, and `birdlog` has the rest."""
    last = newest(ada)
    page = live(ada, last - 1)
    events = page.__enter__()
    assert next(events)[1] == last
    if birdlog.server is None:
        return
    birdlog.server.process.send_signal(signal.SIGTERM)
    if birdlog.wire in ("httptools", "h11"):
        assert list(events) == []  # it ends as a stream ends
    else:
        with pytest.raises((httpx.TransportError, StopIteration)):
            next(events)
    page.__exit__(None, None, None)
    birdlog.server.wait_for_silence()
    code = birdlog.server.process.wait(20)
    assert code == (-signal.SIGTERM if birdlog.wire == "uvicorn" else 0)
    if birdlog.wire != "uvicorn":  # which tells of each answer that it cuts
        assert "Traceback" not in "".join(birdlog.server.said)
