"""StaticFiles: what a folder's files are called, how they are cached, and what is nobody's business."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from test_calls import MOST, PLAIN, calls

from weebill import App, FileResponse, TestClient
from weebill.errors import ConfigurationError
from weebill.files import OpenFile, guess_media_type
from weebill.proxy_headers import ProxyHeadersMiddleware
from weebill.static import CACHE, HASHED, StaticFiles

LONG_AGO = 1_000_000_000.0


def write(path: Path, content: str | bytes, when: float = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (when, when))
    return path


def client_of(folder: Path, **options: Any) -> TestClient:
    app = App(__name__)
    app.static("/s", folder, **options)
    return TestClient(app)


# -- the App's side


def test_several_folders_have_names_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.txt", "a")
    write(tmp_path / "b" / "x.txt", "b")
    app = App(__name__)
    app.static("/a", tmp_path / "a")
    app.static("/b", tmp_path / "b", name="uploads")
    client = TestClient(app)
    assert app.url_for("static", file="x.txt") == "/a/x.txt"
    app.static("/c", tmp_path / "b")
    with pytest.raises(ConfigurationError, match=r"may mean /a/.* or /c/"):
        app.url_for("static", file="x.txt")
    assert app.url_for("uploads", file="x y.txt") == "/b/x%20y.txt"
    assert [client.get(f"/{p}/x.txt").text for p in "abc"] == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": 1}, "colour"),
        ({"max_age": "soon"}, "soon"),
        ({"max_age": -1}, "max_age is -1"),
        ({"max_age": [1]}, "max_age is"),
        ({"immutable": "("}, "static folder"),
        ({"immutable": True}, "immutable is True"),
    ],
)
def test_a_mistake_in_an_option_is_told_at_registration(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        App(__name__).static("/s", tmp_path, **options)


# -- types


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("A.CSS", "text/css; charset=utf-8"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.js.map", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.md", "text/markdown; charset=utf-8"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.xml", "application/xml"),
        ("a.tar.gz", "application/gzip"),
        ("a.py", "text/x-python; charset=utf-8"),
        ("a.unheard-of", "application/octet-stream"),
        ("Makefile", "application/octet-stream"),
        ("a.", "application/octet-stream"),
    ],
)
def test_a_media_type_is_the_same_on_every_machine(name: str, media_type: str) -> None:
    assert guess_media_type(name) == media_type


# -- how long it may be kept


@pytest.mark.parametrize(
    "name",
    ["app.3f9a1c2b.js", "index-BX7k2f9d.css", "main.0a1b2c3d4e5f60718293.chunk.js", "app-5GQ2F9CY.js",
     "logo.3f9a1c2b.svg", "a_3f9a1c2b.woff2", "index-BX7k2f9d.js.map", "photo-d41d8cd98f00b204.jpg"],
)  # fmt: skip
def test_a_name_with_a_hash_is_immutable(name: str) -> None:
    assert HASHED.search(name)


@pytest.mark.parametrize(
    "name",
    ["app.js", "my-homepage.js", "jquery-migrate.js", "photo-20240131.jpg", "guide-Version2.css",
     "app.min.js", "a-feedface.css", "report-deadbeef.txt", "index-Web3Core.js", "app.3f9a1c2b.html",
     "book-Chapter2.pdf", "IMG_2024.css", "release-1.2.3.js", "3f9a1c2b.js", "app.3f9a1c2b",
     "6f1c2b3a-0000-4111-8222-426614174abc.jpg"],
)  # fmt: skip
def test_a_name_that_a_person_gives_is_not(name: str) -> None:
    assert not HASHED.search(name)


def test_hashed_names_are_kept_for_ever_and_others_asked_for_again(tmp_path: Path) -> None:
    for name in ("app.3f9a1c2b.js", "app.js"):
        write(tmp_path / name, "x")
    client = client_of(tmp_path)
    assert client.get("/s/app.3f9a1c2b.js").headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/s/app.js").headers["cache-control"] == "no-cache"
    client = client_of(tmp_path, max_age="1h", immutable=None)
    assert client.get("/s/app.3f9a1c2b.js").headers["cache-control"] == "max-age=3600"
    assert "immutable" in client_of(tmp_path, immutable=r"\.js$").get("/s/app.js").headers["cache-control"]


# -- neighbours


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write(tmp_path / "app.js", "plain text of a script")
    write(tmp_path / "app.js.br", "brotli")
    write(tmp_path / "app.js.zst", "zstandard")
    write(tmp_path / "app.js.gz", "gzip gzip gzip")
    write(tmp_path / "other.js", "other")
    return tmp_path


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("br;q=0.5, gzip;q=1", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("zstd, gzip", "zstd"),
        ("*", "br"),
        ("*;q=0", None),
        ("br;q=0, *", "zstd"),
        ("gzip;q=0", None),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("gzip;q=0.1", "gzip"),
        ("identity;q=0", None),
        ("deflate", None),
        ("gzip;q=2", None),
    ],
)
def test_a_neighbour_is_chosen_by_accept_encoding(packed: Path, accept: str, coding: str | None) -> None:
    client = client_of(packed)
    answer = client.get("/s/app.js", headers={"accept-encoding": accept, "range": "bytes=0-3"})
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_each_coding_has_a_tag_of_its_own(packed: Path) -> None:
    client = client_of(packed)
    tags = {
        client.head("/s/app.js", headers={"accept-encoding": coding}).headers["etag"]
        for coding in ("", "br", "zstd", "gzip")
    }
    assert len(tags) == 4
    gzip = client.head("/s/app.js", headers={"accept-encoding": "gzip"}).headers["etag"]
    spared = client.get("/s/app.js", headers={"accept-encoding": "gzip", "if-none-match": gzip})
    assert (spared.status_code, spared.headers["vary"]) == (304, "Accept-Encoding")
    assert client.get("/s/app.js", headers={"if-none-match": gzip}).status_code == 200


def test_a_neighbour_that_is_older_hidden_elsewhere_or_not_wanted_is_none(packed: Path) -> None:
    os.utime(packed / "app.js.br", (LONG_AGO - 1, LONG_AGO - 1))
    (packed / "app.js.zst").unlink()
    write(packed.parent / "outside.zst", "secret")
    (packed / "app.js.zst").symlink_to(packed.parent / "outside.zst")
    fields = {"accept-encoding": "br, zstd, gzip;q=0.1"}
    assert client_of(packed).head("/s/app.js", headers=fields).headers["content-encoding"] == "gzip"
    plain = client_of(packed, precompressed=False).get("/s/app.js", headers=fields)
    assert (plain.text, "vary" in plain.headers) == ("plain text of a script", False)
    alone = client_of(packed).get("/s/other.js", headers=fields)
    assert (alone.text, "vary" in alone.headers) == ("other", False)
    itself = client_of(packed).get("/s/app.js.gz", headers=fields)
    assert (itself.text, itself.headers["content-type"]) == ("gzip gzip gzip", "application/gzip")
    assert "content-encoding" not in itself.headers


# -- folders


def test_a_folder_without_its_slash_leads_to_the_one_with_it(tmp_path: Path) -> None:
    write(tmp_path / "a b" / "ä" / "index.html", "here")
    (tmp_path / "empty").mkdir()
    client = client_of(tmp_path)
    answer = client.get("/s/a%20b/%C3%A4?q=//example.org\\")
    assert answer.status_code == 308
    assert answer.headers["location"] == "/s/a%20b/%C3%A4/?q=//example.org%5C"
    assert client.get("/s/a%20b/%C3%A4/").text == "here"
    for missing in ("empty", "empty/", "", "a%20b", "a%20b//%C3%A4", "/a%20b/", "a%20b%2F%C3%A4/"):
        assert client.get(f"/s/{missing}").status_code == 404


def test_a_mounted_app_leads_to_its_own_place(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "index.html", "here")
    inner, outer = App(__name__), App(__name__)
    inner.static("/s", tmp_path)
    outer.mount("/outer", inner)
    assert TestClient(outer).get("/outer/s/sub").headers["location"] == "/outer/s/sub/"


def test_a_prefix_that_needs_quotes_has_them_once(tmp_path: Path) -> None:
    write(tmp_path / "10% off" / "index.html", "here")
    inner, outer = App(__name__), App(__name__, redirect_slashes=True)
    inner.static("/s", tmp_path)
    inner.redirect_slashes = True
    inner.get("/page")(lambda: "page")
    outer.middleware(ProxyHeadersMiddleware(headers=["X-Forwarded-Prefix"]))
    outer.mount("/a b", inner)
    client = TestClient(outer, headers={"x-forwarded-prefix": "/c%20d"})
    assert client.get("/a%20b/s/10%25%20off").headers["location"] == "/c%20d/a%20b/s/10%25%20off/"
    assert client.get("/a%20b/page/").headers["location"] == "/c%20d/a%20b/page"


def test_another_index_or_none(tmp_path: Path) -> None:
    write(tmp_path / "index.html", "index")
    write(tmp_path / "home.htm", "home")
    assert client_of(tmp_path).get("/s/").text == "index"
    assert client_of(tmp_path, index="home.htm").get("/s/").text == "home"
    assert client_of(tmp_path, index=None).get("/s/").status_code == 404


def test_a_list_is_sorted_escaped_and_shows_nothing_hidden(tmp_path: Path) -> None:
    for name in ("b.txt", 'a<b>&".txt', ".hidden", "con.txt", "dot.", "é%2f.txt", "sub/x.txt", "Sub2/x"):
        write(tmp_path / "top" / name, "x" * 2048)
    (tmp_path / "top" / "way-out").symlink_to("/etc")
    (tmp_path / "top" / "bad\nname").touch()
    with open(os.fsencode(tmp_path / "top") + b"/\xff", "wb"):
        pass
    os.mkfifo(tmp_path / "top" / "fifo")
    client = client_of(tmp_path, listing=True)
    answer = client.get("/s/top/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    links = [part.partition('"')[0] for part in page.split('href="')[1:]]
    assert links == ["../", "Sub2/", "sub/", "a%3Cb%3E%26%22.txt", "b.txt", "%C3%A9%252f.txt"]
    assert "a&lt;b&gt;&amp;&quot;.txt" in page
    assert "<b>" not in page
    assert "2.0 KiB" in page
    assert all(client.get(f"/s/top/{link}").status_code == 200 for link in links[1:])
    assert "../" not in client.get("/s/").text
    assert client.get("/s/top").headers["location"] == "/s/top/"
    assert client_of(tmp_path).get("/s/top/").status_code == 404


# -- what is nobody's business


@pytest.mark.parametrize(
    "rest",
    ["sub%2Fx.txt", "%2Fsub/x.txt", "sub%2F..%2Fx.txt", "sub//x.txt", "x.txt.", "x.txt%20", "x.txt%2e",
     "sub./x.txt", "sub%20/x.txt", "./x.txt", "%2e/x.txt", "sub/../x.txt", "x.txt/.", "sub%5Cx.txt",
     "x.txt::$DATA", ".git/config", "sub/.env", "~x.txt", "..", "...", "C:/x.txt", "nul", "sub/aux.txt/x"],
)  # fmt: skip
def test_a_file_has_one_name_only(tmp_path: Path, rest: str) -> None:
    write(tmp_path / "x.txt", "x")
    write(tmp_path / "sub" / "x.txt", "x")
    write(tmp_path / ".git" / "config", "secret")
    write(tmp_path / "sub" / ".env", "secret")
    client = client_of(tmp_path)
    assert client.get("/s/x.txt").text == client.get("/s/sub/x.txt").text == "x"
    assert client.get(f"/s/{rest}").status_code == 404


def open_files() -> Iterator[str]:
    """What this process has open: paths, and names of what has none."""
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing, and what others close meanwhile
            yield os.readlink(f"/proc/self/fd/{number}")


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="links on the way are looked for on Linux")
def test_a_folder_that_has_become_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "site" / "sub" / "a.bin", "mine")
    write(tmp_path / "elsewhere" / "a.bin", "secret")
    path = tmp_path.resolve() / "site" / "sub" / "a.bin"
    assert OpenFile(path, follow=False).read_at(0, 9) == b"mine"
    (tmp_path / "site" / "sub").rename(tmp_path / "before")
    (tmp_path / "site" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        OpenFile(path, follow=False)
    app = App(__name__)
    app.get("/")(lambda: FileResponse.of(str(path), [], None))
    assert TestClient(app).get("/").status_code == 404
    assert not [opened for opened in open_files() if opened.startswith(str(tmp_path.resolve()))]


def test_a_fifo_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    app = App(__name__)
    app.static("/s", tmp_path)
    app.get("/file")(lambda: FileResponse(tmp_path / "fifo"))
    client = TestClient(app)
    assert client.get("/s/fifo").status_code == client.get("/file").status_code == 404


def test_no_descriptors_left_is_no_404(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> int:
        raise OSError(24, "Too many open files")

    write(tmp_path / "x", "x")
    client = client_of(tmp_path)
    client.raise_server_exceptions = False
    monkeypatch.setattr(os, "open", full)
    assert client.get("/s/x").status_code == 500


# -- the cache


def test_a_file_that_changes_is_never_served_as_it_was(tmp_path: Path) -> None:
    """The second change has the first one's time and length."""
    path = write(tmp_path / "x.txt", "one")
    client = client_of(tmp_path)
    for content in ("one", "two", "six", "three", "one"):
        write(path, content)
        assert client.get("/s/x.txt").text == content
    path.unlink()
    assert client.get("/s/x.txt").status_code == 404
    write(path, "again")
    assert client.get("/s/x.txt").text == "again"


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what was written just now count as old."""
    monkeypatch.setattr("weebill.static.SETTLED", -60)


def client_and_files(folder: Path) -> tuple[TestClient, StaticFiles]:
    app = App(__name__)
    app.static("/s", folder)
    files = app.routes[0].handler
    assert isinstance(files, StaticFiles)
    return TestClient(app), files


def test_a_small_file_is_not_read_again_while_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    path = write(tmp_path / "x.txt", "one")
    client, files = client_and_files(tmp_path)
    files.fresh = 0.0
    assert client.get("/s/x.txt").text == "one"
    read: list[Any] = []
    monkeypatch.setattr("weebill.files._read", lambda file, count: read.append(file) or b"read again")
    assert client.get("/s/x.txt").text == "one"
    assert read == []
    write(path, "two")  # as long and as old as before; only the system's own time tells
    assert client.get("/s/x.txt").text == "read again"


def test_within_a_moment_nobody_looks_at_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    path = write(tmp_path / "x.txt", "one")
    client, files = client_and_files(tmp_path)
    files.fresh = 1e9
    assert client.get("/s/x.txt").text == "one"
    path.unlink()
    assert client.get("/s/x.txt").text == "one"
    files.fresh = 0.0
    assert client.get("/s/x.txt").status_code == 404
    files.fresh = 1e9
    assert client.get("/s/x.txt").status_code == 404


def test_a_hit_is_one_write_without_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    write(tmp_path / "x.txt", "one")
    app = App(__name__)
    app.static("/s", tmp_path)
    app.routes[0].handler.fresh = 1e9  # type: ignore[attr-defined]
    assert TestClient(app).get("/s/x.txt").text == "one"
    found, answer = calls(app, PLAIN % b"/s/x.txt", "httptools")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\none")
    print("\n".join(f"{n:4} {call}" for n, call in enumerate(found, 1)))
    assert not [call for call in found if "threads.py" in call]
    assert len(found) <= MOST + 10, "\n".join(found)


def test_an_encoded_slash_finds_nothing_in_the_cache_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    write(tmp_path / "sub" / "x.txt", "one")
    client, files = client_and_files(tmp_path)
    files.fresh = 1e9
    assert client.get("/s/sub/x.txt").text == "one"
    assert list(files._cache) == ["sub/x.txt"]
    assert client.get("/s/sub%2Fx.txt").status_code == 404


def test_a_neighbour_that_comes_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    write(tmp_path / "x.js", "plain")
    client, files = client_and_files(tmp_path)
    files.fresh = 0.0
    fields = {"accept-encoding": "gzip"}
    assert "content-encoding" not in client.head("/s/x.js", headers=fields).headers
    write(tmp_path / "x.js.gz", "packed")
    assert client.head("/s/x.js", headers=fields).headers["content-encoding"] == "gzip"


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    monkeypatch.setattr("weebill.static.CACHE", 10_000)
    for n in range(20):
        write(tmp_path / f"{n}.bin", bytes(1000))
    write(tmp_path / "big.bin", bytes(100_000))
    client, files = client_and_files(tmp_path)
    for n in range(20):
        assert client.get(f"/s/{n}.bin").content == bytes(1000)
    assert client.get("/s/big.bin").content == bytes(100_000)
    assert client.get("/s/missing").status_code == 404
    assert list(files._cache) == ["18.bin", "19.bin", "big.bin"]
    assert files._cached == sum(found.cost for found in files._cache.values()) <= 10_000 < CACHE


def test_a_time_in_the_future_is_told_as_now(tmp_path: Path) -> None:
    """RFC 9110 section 8.8.2.1."""
    write(tmp_path / "x", "x", when=time.time() + 10_000)
    answer = client_of(tmp_path).get("/s/x")
    assert answer.headers["last-modified"] <= answer.headers["date"]
