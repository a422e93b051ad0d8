"""ProxyHeadersMiddleware and TrustedHostMiddleware: who the client is, and what we are called."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from wires import LIVE

from weebill import App, Request
from weebill.errors import ConfigurationError
from weebill.proxy_headers import Networks, ProxyHeadersMiddleware, parse_forwarded
from weebill.testing import LiveServer, MemoryExchange, TestClient
from weebill.trusted_hosts import TrustedHostMiddleware

FOR, PROTO, HOST = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"
PORT, PREFIX = "X-Forwarded-Port", "X-Forwarded-Prefix"
ALL = [FOR, PROTO, HOST, PORT, PREFIX]

Peer = tuple[str, int] | None


def make(**options: Any) -> App:
    app = App()
    app.middleware(ProxyHeadersMiddleware(**options))

    @app.get("/")
    async def index(request: Request) -> dict[str, Any]:
        client = request.client and list(request.client)
        return {"client": client, "url": request.url, "link": app.url_for("index")}

    return app


def seen(app: App, peer: Peer, *fields: tuple[str, str], host: str = "inner:8000") -> Any:
    """What the handler sees of a request from this peer; the status if it is refused."""
    pairs = [(b"host", host.encode()), *((n.encode(), v.encode("latin-1")) for n, v in fields)]
    exchange = MemoryExchange("GET", "/", pairs, client=peer)
    asyncio.run(exchange.serve(app))
    if exchange.status != 200:
        return exchange.status
    return json.loads(b"".join(exchange.pieces))


LOCAL: Peer = ("127.0.0.1", 5)


def client_of(app: App, peer: Peer, *fields: tuple[str, str]) -> Any:
    found = seen(app, peer, *fields)
    return found if isinstance(found, int) else found["client"]


# -- whom to believe


def test_the_first_from_the_right_that_is_no_proxy_of_ours_is_the_client() -> None:
    app = make(trusted=["10.0.0.0/8", "2001:db8::/32"])
    peer = ("10.0.0.1", 5)
    for value, client in (
        ("203.0.113.7", ["203.0.113.7", 0]),
        ("1.1.1.1, 203.0.113.7", ["203.0.113.7", 0]),
        ("1.1.1.1, 203.0.113.7, 10.0.0.2", ["203.0.113.7", 0]),
        ("garbage, 203.0.113.7,10.0.0.2 ", ["203.0.113.7", 0]),
        ("203.0.113.7, 2001:db8::1", ["203.0.113.7", 0]),
        ("10.0.0.3, 10.0.0.2", ["10.0.0.3", 0]),
        ("203.0.113.7:4711", ["203.0.113.7", 4711]),
        ("2001:dead::1", ["2001:dead::1", 0]),
        ("[2001:dead::1]:4711", ["2001:dead::1", 4711]),
        ("::ffff:203.0.113.7", ["203.0.113.7", 0]),
    ):
        assert client_of(app, peer, (FOR, value)) == client, value
    assert client_of(app, peer, (FOR, "1.1.1.1"), (FOR, "203.0.113.7")) == ["203.0.113.7", 0]
    assert client_of(app, peer) == ["10.0.0.1", 5]


@pytest.mark.parametrize("peer", [("203.0.113.7", 5), ("testclient", 5), None, ("10.0.0.1", 5)])
def test_what_others_send_is_ignored(peer: Peer) -> None:
    app = make(headers=ALL)
    fields = [(FOR, "8.8.8.8"), (PROTO, "nonsense"), (HOST, "evil.example"), (PREFIX, "/evil")]
    found = seen(app, peer, *fields)
    assert found == {"client": peer and list(peer), "url": "http://inner:8000/", "link": "/"}


def test_by_default_the_proxy_is_on_this_machine() -> None:
    for peer in (LOCAL, ("::1", 5), ("::ffff:127.0.0.1", 5)):
        assert client_of(make(), peer, (FOR, "203.0.113.7")) == ["203.0.113.7", 0]


def test_a_peer_on_a_unix_socket_is_believed_if_it_is_named() -> None:
    assert client_of(make(), None, (FOR, "203.0.113.7")) is None
    app = make(trusted=["unix", "10.0.0.0/8"])
    assert client_of(app, None, (FOR, "203.0.113.7, 10.0.0.2")) == ["203.0.113.7", 0]
    assert client_of(app, LOCAL, (FOR, "203.0.113.7")) == ["127.0.0.1", 5]


def test_hops_count_the_proxies_whoever_they_are() -> None:
    chain = (FOR, "1.1.1.1, 203.0.113.7, 198.51.100.1")
    for hops, client in ((1, "198.51.100.1"), (2, "203.0.113.7"), (3, "1.1.1.1"), (4, "1.1.1.1")):
        assert client_of(make(hops=hops), ("192.0.2.1", 5), chain) == [client, 0]


def test_a_field_that_is_not_named_is_what_the_client_wrote_and_is_ignored() -> None:
    found = seen(
        make(), LOCAL, (HOST, "evil.example"), (PREFIX, "/evil"), (PORT, "1"), ("Forwarded", "for=8.8.8.8")
    )
    assert found == {"client": ["127.0.0.1", 5], "url": "http://inner:8000/", "link": "/"}
    found = seen(make(headers=["Forwarded"]), LOCAL, (FOR, "8.8.8.8"), (PROTO, "https"))
    assert found == {"client": ["127.0.0.1", 5], "url": "http://inner:8000/", "link": "/"}


def test_all_of_them_make_the_url_that_the_client_sees(serve: Callable[[App], Any]) -> None:
    app, inner = make(headers=ALL, hops=1), App()

    @inner.get("/x")
    async def x(request: Request) -> list[Any]:
        return [request.url, inner.url_for("x"), request.headers["host"]]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        host = dict(scope["headers"])[b"host"].decode()
        answer = f"{scope['scheme']} {host} {scope['root_path']} {scope['client'][0]}"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer.encode()})

    app.mount("/inner", inner)
    app.mount("/asgi", asgi)
    client = serve(app)
    fields = {FOR: "203.0.113.7", PROTO: "https", HOST: "Example.org", PORT: "8443", PREFIX: "/api/"}
    found = client.get("/", headers=fields).json()
    assert found == {"client": ["203.0.113.7", 0], "url": "https://example.org:8443/api/", "link": "/api/"}
    found = client.get("/inner/x", headers=fields).json()
    assert found == ["https://example.org:8443/api/inner/x", "/api/inner/x", "example.org:8443"]
    found = client.get("/asgi/x", headers=fields).text
    assert found == "https example.org:8443 /api/asgi 203.0.113.7"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ([(HOST, "example.org")], "http://example.org/"),
        ([(HOST, "example.org:81")], "http://example.org:81/"),
        ([(HOST, "[2001:DB8::1]:80")], "http://[2001:db8::1]/"),
        ([(HOST, "example.org"), (PORT, "80")], "http://example.org/"),
        ([(HOST, "example.org"), (PORT, "443"), (PROTO, "HTTPS")], "https://example.org/"),
        ([(PORT, "8443")], "http://inner:8443/"),
        ([(PROTO, "wss")], "https://inner:8000/"),
        ([(PREFIX, "/")], "http://inner:8000/"),
        ([(FOR, "203.0.113.7, 127.0.0.1"), (HOST, "evil.example, outer, middle")], "http://outer/"),
        ([(FOR, "203.0.113.7, 127.0.0.1"), (HOST, "only")], "http://only/"),
        ([(FOR, "203.0.113.7"), (HOST, "evil.example, outer")], "http://outer/"),
    ],
)
def test_each_says_its_part(fields: list[tuple[str, str]], url: str) -> None:
    assert seen(make(headers=ALL), LOCAL, *fields)["url"] == url


# -- Forwarded (RFC 7239)


@pytest.mark.parametrize(
    ("value", "client", "url"),
    [
        ("for=203.0.113.7", ["203.0.113.7", 0], "http://inner:8000/"),
        ('For="203.0.113.7:4711";Proto=HTTPS;by=203.0.113.43', ["203.0.113.7", 4711], "https://inner:8000/"),
        ('for="[2001:dead::1]:4711";host="example.org:81"', ["2001:dead::1", 4711], "http://example.org:81/"),
        ("for=1.1.1.1;host=evil.example, for=203.0.113.7", ["203.0.113.7", 0], "http://inner:8000/"),
        (
            "for=1.1.1.1, for=203.0.113.7;proto=https;host=outer , for=127.0.0.1;host=middle",
            ["203.0.113.7", 0],
            "https://outer/",
        ),
        ("for=unknown;proto=https", ["127.0.0.1", 5], "https://inner:8000/"),
        ("for=_hidden, for=127.0.0.1", ["127.0.0.1", 0], "http://inner:8000/"),
        ('for="_gazonk:_p", for="127.0.0.1:_p"', ["127.0.0.1", 0], "http://inner:8000/"),
        ("proto=https", ["127.0.0.1", 5], "https://inner:8000/"),
        ('for="203.0.113.7\\:80"', ["203.0.113.7", 80], "http://inner:8000/"),
        (", ,for=203.0.113.7;;", ["203.0.113.7", 0], "http://inner:8000/"),
        (" ", ["127.0.0.1", 5], "http://inner:8000/"),
    ],
)
def test_forwarded_is_read_by_its_grammar(value: str, client: Any, url: str) -> None:
    found = seen(make(headers=["Forwarded"]), LOCAL, ("Forwarded", value))
    assert (found["client"], found["url"]) == (client, url)


def test_a_comma_or_semicolon_in_quotes_separates_nothing() -> None:
    assert parse_forwarded('for="a, for=b";by="c;d", for=e') == [
        {"for": "a, for=b", "by": "c;d"},
        {"for": "e"},
    ]


# -- what is malformed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (FOR, "nonsense"),
        (FOR, "203.0.113.7.8"),
        (FOR, "256.0.0.1"),
        (FOR, "203.0.113.7:x"),
        (FOR, "[::1"),
        (FOR, "::1%eth0"),
        (FOR, "203.0.113.7,"),
        (FOR, "\xb2.0.0.1"),
        (FOR, "<script>, 127.0.0.1"),
        (PROTO, "gopher"),
        (PROTO, "https, "),
        (HOST, "a b"),
        (HOST, "user@example.org"),
        (HOST, "example.org/path"),
        (HOST, "example.org:99999"),
        (PORT, "http"),
        (PORT, "-1"),
        (PORT, "65536"),
        (PORT, "\xb2"),
        (PREFIX, "api"),
        (PREFIX, "//evil.example"),
        (PREFIX, "/a/../b"),
        (PREFIX, "/a?b"),
        (PREFIX, "/\\evil"),
    ],
)
def test_a_malformed_field_of_a_proxy_is_400(name: str, value: str) -> None:
    assert seen(make(headers=ALL), LOCAL, (name, value)) == 400


@pytest.mark.parametrize(
    "value",
    ['for="203.0.113.7', "for", "for=", "=x", "for=1.1.1.1;for=2.2.2.2", "for =1.1.1.1", 'for="a"b', "for=é",
     'for="nonsense"', "proto=ftp", 'host="a b"', 'for="1.1.1.1, for=203.0.113.7'],
)  # fmt: skip
def test_a_malformed_forwarded_is_400(value: str) -> None:
    assert seen(make(headers=["Forwarded"]), LOCAL, ("Forwarded", value)) == 400


def test_the_client_reads_what_was_wrong() -> None:
    app = make(hops=1)
    answer = TestClient(app).get("/", headers={FOR: "nonsense"})
    assert answer.json()["detail"] == "A proxy's field is malformed: 'nonsense' is no address"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trusted": "10.0.0.0/8"}, r"write trusted=\['10.0.0.0/8'\]"),
        ({"trusted": ["10.0.0.1/8"]}, "'10.0.0.1/8' is no trusted network: .*host bits"),
        ({"trusted": ["proxy.local"]}, "'proxy.local' is no trusted network"),
        ({"headers": "X-Forwarded-For"}, r"write headers=\['X-Forwarded-For'\]"),
        ({"headers": ["X-Real-IP"]}, "the headers of proxies are forwarded, x-forwarded-for"),
        ({"headers": []}, "the headers of proxies are"),
        ({"headers": ["Forwarded", FOR]}, "never both"),
        ({"hops": 0}, "1 or more"),
        ({"hops": 1, "trusted": ["10.0.0.0/8"]}, "not both"),
    ],
)
def test_a_mistake_is_a_sentence(options: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ProxyHeadersMiddleware(**options)


def test_a_peer_without_an_address_is_in_no_network() -> None:
    assert ("testclient", 1) not in Networks(["0.0.0.0/0", "::/0"])


# -- on our server


def test_the_access_log_names_the_client_and_not_the_proxy(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "weebill.access")
    with LiveServer(make(), access_log=True) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n\r\n"
            )
            while connection.recv(4096):
                pass
    assert any(r.getMessage().startswith('203.0.113.7 "GET / ') for r in caplog.records)


# -- trusted hosts


def hosts(*names: str) -> App:
    app = App()
    app.middleware(TrustedHostMiddleware(names))
    app.get("/")(lambda: "hello")
    return app


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("example.org", 200),
        ("EXAMPLE.org:8443", 200),
        ("example.org.", 200),
        ("a.example.org", 400),
        ("a.wild.example", 200),
        ("a.b.wild.example:80", 200),
        ("wild.example", 400),
        ("evilwild.example", 400),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("[::2]", 400),
        ("evil.example", 400),
        ("example.org.evil.example", 400),
        ("evil.example/.wild.example", 400),
        ("evil.example#.wild.example", 400),
        ("evil.example:80@a.wild.example", 400),
        ("example.org:99999", 400),
        ("", 400),
    ],
)
def test_names_on_the_list_are_answered_to(host: str, status: int) -> None:
    app = hosts("Example.org", "*.wild.example", "[::1]")
    exchange = MemoryExchange("GET", "/", [(b"host", host.encode())])
    asyncio.run(exchange.serve(app))
    assert exchange.status == status


def test_a_star_is_every_name_that_is_well_formed() -> None:
    client = TestClient(hosts("*"))
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"host": "a b"}).status_code == 400


@pytest.mark.parametrize("wire", LIVE[:1])
def test_an_unknown_host_is_told_so(serve: Callable[[App], Any]) -> None:
    client = serve(hosts("example.org"))
    assert client.get("/", headers={"host": "example.org"}).text == "hello"
    answer = client.get("/", headers={"host": "evil.example"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "This host is not served here.")


def test_a_host_that_a_proxy_tells_of_is_checked_too() -> None:
    app = App()
    app.middleware(ProxyHeadersMiddleware(headers=[HOST], hops=1))
    app.middleware(TrustedHostMiddleware(["example.org"]))
    app.get("/")(lambda: "hello")
    client = TestClient(app)
    assert client.get("/", headers={HOST: "example.org"}).text == "hello"
    assert client.get("/", headers={HOST: "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "names",
    [[], "example.org", ["https://example.org"], ["example.org:80"], ["*example.org"], ["a.*.b"], ["::1"]],
)
def test_what_is_no_name_is_a_sentence(names: Any) -> None:
    with pytest.raises(ConfigurationError):
        TrustedHostMiddleware(names)
