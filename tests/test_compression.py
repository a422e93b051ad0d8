"""CompressionMiddleware: what is compressed, and what the answer then says."""

from __future__ import annotations

import asyncio
import gzip
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import brotli
import pytest
from wires import LIVE

from weebill import App, FileResponse, Request, Response, StreamingResponse, compression
from weebill.compression import OFF_THE_LOOP, CompressionMiddleware, choose_coding
from weebill.errors import ConfigurationError
from weebill.testing import MemoryExchange, TestClient

try:
    from compression import zstd
except ImportError:
    from backports import zstd

TEXT = "the weebill is a small bird " * 50


def ask(value: Any, accept: str = "gzip", **options: Any) -> Any:
    app = App()
    app.middleware(CompressionMiddleware(**options))
    app.get("/")(lambda: value)
    return TestClient(app, raise_server_exceptions=False).get("/", headers={"accept-encoding": accept})


def text(**headers: str) -> Response:
    return Response(TEXT, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_an_answer_is_compressed_and_says_so() -> None:
    answer = ask(TEXT)
    assert gzip.decompress(answer.content) == TEXT.encode()
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-length"] == str(len(answer.content))


def test_vary_is_said_once_and_beside_what_is_there() -> None:
    assert ask(text(Vary="Cookie")).headers.getlist("vary") == ["Cookie", "Accept-Encoding"]
    assert ask(text(Vary="accept-encoding, Cookie")).headers.getlist("vary") == ["accept-encoding, Cookie"]


def test_who_does_not_accept_it_still_learns_that_it_varies() -> None:
    answer = ask(TEXT, "identity")
    assert (answer.text, answer.headers["vary"]) == (TEXT, "Accept-Encoding")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("br", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip, *;q=0", True),
        ("gzip;q=0.5, identity;q=0.6", False),
        ("gzip;q=0.5, *;q=0.6", False),
        ("x-gzip", True),
        ("GZIP;Q=0.5", True),
    ],
)
def test_qualities_decide(accept: str, accepted: bool) -> None:
    assert (choose_coding(accept, ("gzip",)) == "gzip") is accepted


@pytest.mark.parametrize(
    "value",
    [
        "short",
        text(Content_Encoding="br"),
        text(Content_Type="image/png"),
        text(Cache_Control="max-age=3, no-transform"),
        Response(TEXT, 206, {"Content-Range": "bytes 0-9/99"}),
        TEXT.encode(),
    ],
)
def test_what_is_not_worth_it_is_left_alone(value: Any) -> None:
    answer = ask(value)
    assert "vary" not in answer.headers
    assert answer.headers.get("content-encoding") in (None, "br")


def test_the_minimum_is_a_choice() -> None:
    assert ask("short" * 10, minimum_size=50).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in ask(TEXT, minimum_size=5000).headers


def test_what_does_not_shrink_is_sent_as_it_is() -> None:
    answer = ask("0123456789", minimum_size=1)
    assert (answer.text, answer.headers["vary"]) == ("0123456789", "Accept-Encoding")
    assert "content-encoding" not in answer.headers


def test_a_strong_etag_becomes_a_weak_one() -> None:
    assert ask(text(ETag='"abc"')).headers["etag"] == 'W/"abc"'
    assert ask(text(ETag='W/"abc"')).headers["etag"] == 'W/"abc"'
    assert ask(text(ETag='"abc"'), "identity").headers["etag"] == '"abc"'


def test_rfc_9110_15_4_5_a_304_says_what_the_200_said() -> None:
    app = App()
    app.middleware(CompressionMiddleware())

    @app.get("/")
    async def index(request: Request) -> Response:
        return text(ETag='"abc"').make_conditional(request)

    client = TestClient(app)
    for coding in ("gzip", "identity"):
        whole = client.get("/", headers={"accept-encoding": coding})
        fields = {"accept-encoding": coding, "if-none-match": whole.headers["etag"]}
        answer = client.get("/", headers=fields)
        assert answer.status_code == 304
        for name in ("etag", "vary"):
            assert answer.headers[name] == whole.headers[name]
    either = client.get("/", headers={"if-none-match": 'W/"abc", "abc"'})
    assert either.headers["etag"] == '"abc"'


def test_a_length_that_was_given_gives_way() -> None:
    answer = ask(text(Content_Length=str(len(TEXT))))
    assert gzip.decompress(answer.content) == TEXT.encode()


def test_files_are_left_alone(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    answer = ask(FileResponse(tmp_path / "a.txt"))
    assert (answer.text, answer.headers.get("content-encoding")) == (TEXT, None)


# -- which coding

UNPACK = {"br": brotli.decompress, "zstd": zstd.decompress, "gzip": gzip.decompress}


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1, br;q=0.9", "gzip"),
        ("*", "br"),
        ("*;q=0.5, br;q=0", "zstd"),
        ("identity, br;q=0.5", None),
        ("deflate, compress", None),
        ("br;q=0, zstd;q=0, gzip;q=0", None),
    ],
)
def test_the_clients_weights_come_before_our_preference(accept: str, chosen: str | None) -> None:
    answer = ask(TEXT, accept)
    assert answer.headers.get("content-encoding") == chosen
    assert (UNPACK[chosen](answer.content) if chosen else answer.content) == TEXT.encode()


def test_our_preference_is_a_choice() -> None:
    assert ask(TEXT, "gzip, br", codings=["gzip", "br"]).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in ask(TEXT, "br", codings=["gzip"]).headers


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"codings": ["deflate"]}, "'deflate' is no coding of ours; there are br, zstd, gzip"),
        ({"codings": "gzip"}, r"write codings=\['gzip'\]"),
        ({"level": 0}, "1, fast, to 9, small"),
    ],
)
def test_a_mistake_in_an_option_is_a_sentence(options: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        CompressionMiddleware(**options)


def test_what_is_not_installed_is_left_out_and_asking_for_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("brotli", "backports", "backports.zstd", "compression"):
        monkeypatch.setitem(sys.modules, module, None)
    assert CompressionMiddleware().codings == ("gzip",)
    with pytest.raises(
        ConfigurationError, match=r"'br' is not installed; it is of the extra weebill\[compression\]"
    ):
        CompressionMiddleware(codings=["br"])


def test_head_says_what_get_would() -> None:
    app = App()
    app.middleware(CompressionMiddleware())
    app.get("/")(lambda: TEXT)
    app.get("/stream")(lambda: iter_text())
    client = TestClient(app)
    for path in ("/", "/stream"):
        fields = [
            {k: v for k, v in ask(path, headers={"accept-encoding": "br"}).headers.items() if k != "date"}
            for ask in (client.get, client.head)
        ]
        assert fields[0] == fields[1]
        assert fields[0]["content-encoding"] == "br"


def test_an_answer_that_a_handler_gives_again_and_again_stays_as_it_is() -> None:
    app, answer = App(), Response(TEXT)
    app.middleware(CompressionMiddleware())
    app.get("/")(lambda: answer)
    client = TestClient(app)
    for accept in ("gzip", "identity", "gzip"):
        found = client.get("/", headers={"accept-encoding": accept})
        assert found.headers.getlist("vary") == ["Accept-Encoding"]
        assert ("content-encoding" in found.headers) is (accept == "gzip")
    assert answer.content == TEXT.encode()


def test_a_long_answer_is_compressed_off_the_loop() -> None:
    long = TEXT * 100
    assert len(long) > OFF_THE_LOOP
    for coding, unpack in UNPACK.items():
        assert unpack(ask(long, coding).content) == long.encode()


# -- streams


def iter_text() -> Iterator[str]:
    for number in range(3):
        yield f"{number} {TEXT}"


async def aiter_text() -> AsyncIterator[str]:
    for piece in iter_text():
        yield piece


@pytest.mark.parametrize("make", [iter_text, aiter_text])
@pytest.mark.parametrize("coding", UNPACK)
def test_a_stream_is_compressed_and_keeps_its_type(make: Callable[[], Any], coding: str) -> None:
    answer = ask(StreamingResponse(make(), headers={"etag": '"1"'}), coding)
    assert answer.headers["content-encoding"] == coding
    assert (answer.headers["vary"], answer.headers["etag"]) == ("Accept-Encoding", 'W/"1"')
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "content-length" not in answer.headers
    assert unpacked(coding, [answer.content]) == "".join(iter_text()).encode()
    assert len(answer.content) < 1000


def unpacked(coding: str, pieces: Iterable[bytes]) -> bytes:
    """What a browser could show of these pieces."""
    if coding == "br":
        unpack: Any = brotli.Decompressor().process
    elif coding == "zstd":
        unpack = zstd.ZstdDecompressor().decompress
    else:
        unpack = zlib.decompressobj(31).decompress
    return b"".join(unpack(piece) for piece in pieces if piece)


@pytest.mark.parametrize("make", [iter_text, aiter_text])
@pytest.mark.parametrize("coding", UNPACK)
def test_each_piece_of_a_stream_can_be_read_when_it_arrives(make: Callable[[], Any], coding: str) -> None:
    app = App()
    app.middleware(CompressionMiddleware())
    app.get("/")(make)
    exchange = MemoryExchange("GET", "/", [(b"host", b"x"), (b"accept-encoding", coding.encode())])
    asyncio.run(exchange.serve(app))
    pieces = [piece for piece in exchange.pieces if piece]
    assert len(pieces) == 4  # and the end
    for count, _ in enumerate(iter_text(), 1):
        assert unpacked(coding, pieces[:count]) == "".join(list(iter_text())[:count]).encode()


def test_server_sent_events_are_compressed_too() -> None:
    answer = ask(StreamingResponse(iter(["data: 1\n\n"]), media_type="text/event-stream"))
    assert gzip.decompress(answer.content) == b"data: 1\n\n"


@pytest.mark.parametrize(
    ("value", "accept"),
    [
        (lambda: StreamingResponse(iter([b"octets"])), "gzip"),
        (lambda: StreamingResponse(iter(["picture"]), media_type="image/png"), "gzip"),
        (lambda: StreamingResponse(iter(["a"]), headers={"cache-control": "no-transform"}), "gzip"),
        (lambda: StreamingResponse(iter(["a"]), headers={"content-encoding": "br"}), "gzip"),
        (lambda: StreamingResponse(iter(["a"]), 206), "gzip"),
        (lambda: StreamingResponse(iter(["a"])), "identity"),
    ],
)
def test_a_stream_that_is_not_worth_it_is_left_alone(value: Callable[[], Any], accept: str) -> None:
    answer = ask(value(), accept)
    assert answer.headers.get("content-encoding") in (None, "br")
    assert answer.content == b"".join(
        piece if isinstance(piece, bytes) else piece.encode() for piece in value().pieces
    )


def test_a_length_that_a_stream_announced_gives_way() -> None:
    answer = ask(StreamingResponse(iter([TEXT]), headers={"content-length": str(len(TEXT))}))
    assert gzip.decompress(answer.content) == TEXT.encode()


def test_a_long_piece_is_compressed_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    packers = compression._CODINGS["gzip"]

    class Watched(compression._Gzip):
        def add(self, piece: bytes) -> bytes:
            threads.append(threading.current_thread().name)
            return super().add(piece)

    monkeypatch.setitem(compression._CODINGS, "gzip", (*packers[:2], Watched))
    pieces = ["short", "long " * OFF_THE_LOOP]
    assert gzip.decompress(ask(StreamingResponse(iter(pieces))).content) == "".join(pieces).encode()
    assert "worker" not in threads[0]
    assert "worker" in threads[1]


def test_a_stream_of_nothing_is_a_stream_of_nothing() -> None:
    answer = ask(StreamingResponse(iter([]), media_type="text/plain"))
    assert gzip.decompress(answer.content) == b""


def test_two_compressions_are_one() -> None:
    app = App()
    app.middleware(CompressionMiddleware())
    app.get("/", middleware=[CompressionMiddleware()])(iter_text)
    app.get("/whole", middleware=[CompressionMiddleware()])(lambda: TEXT)
    client = TestClient(app)
    for path, whole in (("/", "".join(iter_text())), ("/whole", TEXT)):
        answer = client.get(path, headers={"accept-encoding": "gzip"})
        assert gzip.decompress(answer.content) == whole.encode()
        assert answer.headers["vary"] == "Accept-Encoding"


def test_a_mounted_application_is_left_alone() -> None:
    app, inner = App(), App()
    app.middleware(CompressionMiddleware())
    inner.get("/")(lambda: TEXT)
    app.mount("/inner", inner)
    assert TestClient(app).get("/inner/", headers={"accept-encoding": "gzip"}).text == TEXT


def test_a_stream_that_fails_before_its_first_piece_is_a_500_that_is_not_compressed() -> None:
    def fails() -> Iterator[str]:
        raise ValueError
        yield ""

    answer = ask(StreamingResponse(fails()))
    assert (answer.status_code, answer.headers.get("content-encoding")) == (500, None)
    assert answer.json()["status"] == 500


def test_what_is_no_piece_is_complained_of(caplog: pytest.LogCaptureFixture) -> None:
    def pieces() -> Iterator[Any]:
        yield "fine"
        yield 42

    with pytest.raises(ConnectionError):
        ask(StreamingResponse(pieces()))
    assert "a stream gave int" in caplog.text


@pytest.mark.parametrize("wire", LIVE)
def test_a_live_stream_stays_live_and_is_closed_when_its_client_goes(serve: Callable[[App], Any]) -> None:
    app, read, closed = App(), threading.Event(), threading.Event()
    app.middleware(CompressionMiddleware())

    @app.get("/")
    async def ticks() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.to_thread(read.wait, 10)
            while True:
                yield "second"
                await asyncio.sleep(0)
        finally:
            closed.set()

    client = serve(app)
    with client.stream("GET", "/", headers={"accept-encoding": "gzip"}) as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "first"
        read.set()
        assert next(pieces).startswith("second")
    assert closed.wait(10)
