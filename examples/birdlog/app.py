"""Birdlog: who saw which bird, with a photograph, and everybody sees it at once.

Accounts with sessions and CSRF tokens, uploads, a typed JSON API and a live page, over SQLite. What it knows
lies in the folder that BIRDLOG_DATA names, or in one beside this file: weebill run examples/birdlog/app.py
"""

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

from msgspec import Struct, convert

from weebill import (
    App,
    Depends,
    Event,
    Form,
    Header,
    Meta,
    Request,
    Response,
    Router,
    UploadFile,
    abort,
    flash,
    redirect,
    render_template,
    url_for,
)
from weebill.csrf import CSRFMiddleware
from weebill.passwords import hash_password, verify_password
from weebill.rate_limit import RateLimitMiddleware
from weebill.security_headers import SecurityHeadersMiddleware
from weebill.sessions import SessionMiddleware, SQLiteStore

DATA = Path(os.environ.get("BIRDLOG_DATA") or Path(__file__).with_name("data")).resolve()
PHOTOS = DATA / "photos"
PHOTOS.mkdir(parents=True, exist_ok=True)
PICTURES = {b"\xff\xd8\xff": ".jpg", b"\x89PN": ".png"}  # how they begin; what a client says may be wrong
POLICY = "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

app = App(__name__)
app.middleware(SecurityHeadersMiddleware(content_security_policy=POLICY))
app.middleware(SessionMiddleware(SQLiteStore(DATA / "sessions.sqlite")))
app.middleware(CSRFMiddleware())
app.static("/static", "static")
app.static("/photos", PHOTOS, name="photo", immutable=".*")
api = Router("/api", name="api")
few_guesses = RateLimitMiddleware("30/minute")


class Login(Struct):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{2,30}\Z")]
    password: Annotated[str, Meta(min_length=8, max_length=200)]


class NewSighting(Struct):
    species: Annotated[str, Meta(min_length=1, max_length=80)]
    count: Annotated[int, Meta(ge=1, le=100_000)] = 1


class Sighting(Struct):
    id: int
    person: str
    species: str
    count: int
    photo: str | None
    seen_at: datetime


# -- what is kept


@app.on_startup
def make_tables() -> None:
    with closing(connect()) as db:
        db.executescript("""
            pragma journal_mode = wal;
            create table if not exists people (name text primary key, password text not null);
            create table if not exists sightings (
              id integer primary key autoincrement, person text not null references people,
              species text not null, count integer not null, photo text,
              seen_at text not null default (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')));
        """)


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATA / "birdlog.sqlite", check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def database() -> Iterator[sqlite3.Connection]:
    """A connection for one request, whichever threads that runs in."""
    with closing(connect()) as connection:
        yield connection


def member(request: Request) -> str:
    """The name of who is logged in; nobody else comes further."""
    return str(request.session.get("name") or abort(403, "Log in first."))


Database = Annotated[sqlite3.Connection, Depends(database)]
Member = Annotated[str, Depends(member)]


def latest(after: int = 0, limit: int = 50) -> list[Sighting]:
    """The sightings behind number `after`, the newest first."""
    sql = "select * from sightings where id > ? order by id desc limit ?"
    with closing(connect()) as db:  # its own: the thread that looks may outlast the page it looks for
        return [convert(dict(row), Sighting) for row in db.execute(sql, [after, limit])]


def keep(db: sqlite3.Connection, person: str, new: NewSighting, photo: str | None = None) -> Sighting:
    sql = "insert into sightings (person, species, count, photo) values (?, ?, ?, ?) returning *"
    with db:
        row = db.execute(sql, [person, new.species, new.count, photo]).fetchone()
    return convert(dict(row), Sighting)


# -- the page and its forms


@app.get("/")
def index() -> str:
    return render_template("index.html", sightings=latest())


@app.post("/members", middleware=[few_guesses])
def sign_up(request: Request, db: Database, new: Annotated[Login, Form()]) -> Response:
    try:
        with db:
            db.execute("insert into people values (?, ?)", [new.name, hash_password(new.password)])
    except sqlite3.IntegrityError:
        return home(f"The name {new.name} is taken.")
    return enter(request, new.name)


@app.post("/login", middleware=[few_guesses])
def log_in(request: Request, db: Database, login: Annotated[Login, Form()]) -> Response:
    row = db.execute("select password from people where name = ?", [login.name]).fetchone()
    if not verify_password(login.password, row and row["password"]):
        return home("There is no account with this name and password.")
    return enter(request, login.name)


@app.post("/logout")
async def log_out(request: Request) -> Response:
    request.session.clear()
    return home("You are logged out.")


@app.post("/sightings", max_body="10MiB")
def report(
    request: Request, db: Database, who: Member, new: Annotated[NewSighting, Form()], photo: UploadFile | None
) -> Response:
    name = None
    if photo:
        ending = PICTURES.get(photo.file.read(3)) or abort(415, "A photograph is a JPEG or PNG file.")
        name = photo.save(PHOTOS, secrets.token_hex(16) + ending).name
    keep(db, who, new, name)
    request.background(announce)
    return home(f"{new.species}: thank you.")


def enter(request: Request, name: str) -> Response:
    """Log in, under a new id of the session, which nobody can have planted."""
    request.session.renew()
    request.session["name"] = name
    return home(f"Welcome, {name}.")


def home(message: str) -> Response:
    """Back to the page, which shows the message."""
    flash(message)
    return redirect(url_for("index"), 303)


# -- the live page

open_pages: set[asyncio.Event] = set()


async def announce() -> None:
    for news in open_pages:
        news.set()


@app.get("/live")
async def live(after: int = 0, last_event_id: Annotated[int, Header()] = 0) -> AsyncIterator[Event]:
    """Each sighting behind number `after`, as a piece of the page; who was away for a while misses none."""
    seen, news = max(after, last_event_id), asyncio.Event()
    open_pages.add(news)
    try:
        while True:
            news.clear()
            for new in reversed(await asyncio.to_thread(latest, seen)):
                yield Event(render_template("sighting.html", sighting=new), event="sighting", id=new.id)
                seen = new.id
            await news.wait()
    finally:
        open_pages.discard(news)


# -- the API


@api.get("/sightings")
def sightings(after: int = 0, limit: Annotated[int, Meta(ge=1, le=200)] = 50) -> list[Sighting]:
    return latest(after, limit)


@api.post("/sightings")
def add(request: Request, db: Database, who: Member, new: NewSighting) -> tuple[Sighting, int]:
    sighting = keep(db, who, new)
    request.background(announce)
    return sighting, 201


app.include(api)
