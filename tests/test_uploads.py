"""UploadFile: its file, and how it is saved."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import stat
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from form_helpers import TYPE, file, multipart

from weebill import App, Request, TestClient, UploadFile
from weebill.body import Body
from weebill.errors import ConfigurationError, UploadRefused
from weebill.uploads import Stretch


def upload(content: bytes = b"meow", filename: str = "cat.txt") -> UploadFile:
    return UploadFile(io.BytesIO(content), filename, size=len(content))


@contextmanager
def stretch(before: bytes, content: bytes, after: bytes, flush: int) -> Iterator[io.BufferedReader]:
    """`content` in the middle of a Body, whose first `flush` pieces lie on disk."""
    body = Body()
    for number, piece in enumerate((before, content, after), 1):
        body.add(piece)
        if number <= flush:
            asyncio.run(body.flush())
    yield io.BufferedReader(Stretch(body, len(before), len(content)))
    body.close()


@pytest.mark.parametrize("flush", [0, 1, 2, 3])
def test_the_file_is_one_as_python_knows_them(flush: int) -> None:
    with stretch(b"before", b"one,two\nthree,four\n", b"after", flush) as found:
        assert found.readable()
        assert found.seekable()
        assert not found.writable()
        assert found.read(3) == b"one"
        assert found.tell() == 3
        assert found.readlines() == [b",two\n", b"three,four\n"]
        assert found.read() == b""
        assert found.seek(-5, os.SEEK_END) == 14
        assert found.read(100) == b"four\n"
        assert found.seek(1000) == 1000
        assert found.read() == b""
        with pytest.raises(ValueError, match="no byte -1"):
            found.seek(-1)
        found.seek(0)
        assert list(csv.reader(io.TextIOWrapper(found))) == [["one", "two"], ["three", "four"]]


def test_an_archive_is_opened_from_it() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("cat.txt", b"meow" * 1000)
    with stretch(b"before", archive.getvalue(), b"after", 2) as found, zipfile.ZipFile(found) as reading:
        assert reading.read("cat.txt") == b"meow" * 1000


# -- saving


def test_a_file_is_saved_whole_wherever_it_was_read_up_to(tmp_path: Path) -> None:
    sent = upload()
    assert sent.file.read(2) == b"me"
    path = sent.save(tmp_path)
    assert (path, path.read_bytes()) == (tmp_path / "cat.txt", b"meow")
    assert sent.file.read() == b"ow"
    assert sent.save(str(tmp_path), "dog.txt").read_bytes() == b"meow"
    assert sorted(os.listdir(tmp_path)) == ["cat.txt", "dog.txt"]


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
def test_a_saved_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    usual, saved = (tmp_path / "usual").stat(), upload().save(tmp_path).stat()
    assert stat.S_IMODE(saved.st_mode) == stat.S_IMODE(usual.st_mode)
    assert saved.st_nlink == 1


REFUSED = [
    "", ".", "..", "../cat.txt", "/etc/passwd", "a/b", "a\\b", "C:\\cat.txt", "C:cat.txt", "cat.txt:stream",
    "cat.txt\0.png", "cat\n.txt", "cat\u202etxt.exe", ".htaccess", ".env", "cat.txt.", "cat.txt ", "con",
    "NUL.txt", "Com1.log", "lpt¹", "conin$", "aux .txt", "ß" * 128,
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    with pytest.raises(UploadRefused, match="400 The file cannot be saved: its name"):
        upload().save(folder, name)
    assert os.listdir(folder) == []
    assert os.listdir(tmp_path) == ["uploads"]


@pytest.mark.parametrize(
    "name", ["../../cat.txt", "/tmp/cat.txt", "C:\\temp\\cat.txt", "\\\\host\\share\\cat.txt"]
)
def test_the_clients_own_name_counts_without_its_folders(tmp_path: Path, name: str) -> None:
    assert upload(filename=name).save(tmp_path) == tmp_path / "cat.txt"


@pytest.mark.parametrize(
    "name", ["größe.txt", "a b.txt", "x" * 255, "console.txt", "%2e%2e%2f", "~", "-rf", "a..b"]
)
def test_other_names_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    assert upload().save(tmp_path, name) == tmp_path / name
    assert os.listdir(tmp_path) == [name]


def test_what_is_there_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_text("old")
    with pytest.raises(UploadRefused, match=r"409 There is a file 'cat\.txt' already"):
        upload().save(tmp_path)
    assert (tmp_path / "cat.txt").read_text() == "old"
    assert upload().save(tmp_path, overwrite=True).read_text() == "meow"
    (tmp_path / "folder").mkdir()
    for overwrite in (True, False):
        with pytest.raises(UploadRefused, match="409"):
            upload().save(tmp_path, "folder", overwrite=overwrite)
    assert sorted(os.listdir(tmp_path)) == ["cat.txt", "folder"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_never_followed(tmp_path: Path, there: bool) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "uploads"
    folder.mkdir()
    if there:
        secret.write_text("secret")
    (folder / "cat.txt").symlink_to(secret)
    with pytest.raises(UploadRefused, match="409"):
        upload().save(folder)
    path = upload().save(folder, overwrite=True)
    assert not path.is_symlink()
    assert path.read_text() == "meow"
    assert secret.exists() is there
    assert not there or secret.read_text() == "secret"


def test_of_many_who_save_under_one_name_one_does(tmp_path: Path) -> None:
    found: list[Any] = []
    start = threading.Barrier(8)

    def save(number: int) -> None:
        start.wait()
        try:
            found.append(upload(b"%d" % number).save(tmp_path).read_text())
        except UploadRefused as error:
            found.append(error.status_code)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(409) == 7
    assert [(tmp_path / "cat.txt").read_text()] == [text for text in found if text != 409]
    assert os.listdir(tmp_path) == ["cat.txt"]


def test_without_hard_links_a_name_is_claimed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert upload().save(tmp_path).read_text() == "meow"
    with pytest.raises(UploadRefused, match="409"):
        upload().save(tmp_path)
    assert os.listdir(tmp_path) == ["cat.txt"]


def test_nothing_is_left_of_a_file_that_breaks_off(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert [name[0] for name in os.listdir(tmp_path)] == ["."]
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        UploadFile(Broken(), "cat.txt").save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_a_mistake_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("nothing", "file"):
        with pytest.raises(ConfigurationError, match=f"there is no folder '.*{folder}' to save uploads in"):
            upload().save(tmp_path / folder)


def test_on_the_loop_save_is_a_mistake_and_save_async_is_not(tmp_path: Path) -> None:
    async def main() -> Path:
        with pytest.raises(ConfigurationError, match=r"await upload\.save_async\(folder\)"):
            upload().save(tmp_path)
        with pytest.raises(UploadRefused):
            await upload().save_async(tmp_path, "..")
        return await upload().save_async(tmp_path, "dog.txt", overwrite=True)

    assert asyncio.run(main()).read_text() == "meow"
    assert os.listdir(tmp_path) == ["dog.txt"]


def test_a_client_is_told_why_its_file_was_not_saved(tmp_path: Path) -> None:
    app = App(__name__)

    @app.post("/")
    def take(request: Request) -> str:
        return request.files["photo"].save(tmp_path).name

    client = TestClient(app)
    answers = [
        client.post("/", content=multipart(file("photo", name, b"meow")), headers=TYPE)
        for name in ("a/../../cat.txt", "cat.txt", ".hidden")
    ]
    assert [answer.status_code for answer in answers] == [200, 409, 400]
    assert "There is a file 'cat.txt' already." in answers[1].text
    assert "its name '.hidden' is hidden" in answers[2].text
