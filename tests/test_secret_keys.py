"""Keys that sign, and passwords."""

from __future__ import annotations

from typing import Any

import pytest

from weebill import App
from weebill.errors import ConfigurationError
from weebill.passwords import hash_password, verify_password
from weebill.secret_keys import VARIABLE, checked_keys

KEY, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "has 0 bytes"),
        ("k" + "0123456789" * 3, "has 31 bytes and needs at least 32"),
        ("replace-this-with-the-output-of-the-command", "example of the documentation"),
        ("abab" * 20, "a few characters repeated"),
        ([], "is empty"),
        ([KEY, "short"], "has 5 bytes"),
        (b"0123456789abcdef" * 4, "is a text, not int"),
        ([b"0123456789abcdef" * 4], "is a text, not bytes"),
    ],
)
def test_a_key_that_is_no_secret_is_refused_with_the_way_to_a_good_one(key: Any, words: str) -> None:
    for make in (lambda: App(secret_key=key), lambda: setattr(App(), "secret_key", key)):
        with pytest.raises(ConfigurationError, match=words) as caught:
            make()
        assert 'python -c "import secrets; print(secrets.token_hex(32))"' in str(caught.value)
        assert not key or str(key) not in str(caught.value)


def test_the_keys_are_those_of_the_app_else_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{KEY}, {OTHER}")
    assert App().secret_keys == (KEY, OTHER)
    assert App(secret_key=OTHER).secret_keys == (OTHER,)
    app = App()
    app.secret_key = [OTHER, KEY]
    assert (app.secret_key, app.secret_keys) == (OTHER, (OTHER, KEY))


@pytest.mark.parametrize("value", [None, "", " , "])
def test_without_a_key_it_is_said_how_to_make_one(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(
        ConfigurationError, match=r"set WEEBILL_SECRET_KEY, or write App\(secret_key="
    ) as caught:
        _ = App().secret_keys
    assert "token_hex(32)" in str(caught.value)


def test_a_key_is_not_shown() -> None:
    app = App(secret_key=KEY)
    assert KEY not in repr(app)
    assert checked_keys(KEY) == (KEY,)


def test_a_password_is_known_again_and_no_other() -> None:
    kept, again = hash_password("päss wörd"), hash_password("päss wörd")
    assert kept != again
    assert kept.startswith("scrypt$16384$8$5$")
    assert verify_password("päss wörd", kept)
    assert verify_password("pa\u0308ss wo\u0308rd", kept)  # the same, typed on another keyboard
    assert not verify_password("pass word", kept)


def test_no_password_is_that_of_an_account_that_is_not_there() -> None:
    assert not verify_password("", None)
    assert not verify_password("päss wörd", None)


def test_parameters_are_read_from_what_was_kept() -> None:
    import hashlib
    from base64 import b64encode

    made = hashlib.scrypt(b"old", salt=b"salt", n=1024, r=8, p=1, dklen=32)
    kept = f"scrypt$1024$8$1${b64encode(b'salt').decode()}${b64encode(made).decode()}"
    assert verify_password("old", kept)
    assert not verify_password("new", kept)


@pytest.mark.parametrize("kept", ["", "plain", "md5$1$2$3$a$b", "scrypt$16384$8$5$salt", "scrypt$a$8$5$a$b"])
def test_what_is_no_kept_password_is_an_error_and_not_a_wrong_password(kept: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        verify_password("x", kept)
