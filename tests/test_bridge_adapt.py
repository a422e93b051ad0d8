"""What `adapt` takes a program for, and what it says of one that it cannot take."""

import functools
import http.server

import flask
import pytest
import starlette.applications

from weebill.bridges import adapt
from weebill.bridges.asgi import ASGIApplication
from weebill.bridges.http_server import HandlerClassApplication
from weebill.bridges.wsgi import WSGIApplication
from weebill.errors import ConfigurationError
from weebill.exchange import BUFFERED


class Native:
    async def __startup__(self): ...

    async def __shutdown__(self): ...

    def __intake__(self, exchange):
        return BUFFERED

    async def __exchange__(self, exchange): ...


class Handler(http.server.BaseHTTPRequestHandler):
    pass


class ASGIObject:
    async def __call__(self, scope, receive, send): ...


class WSGIObject:
    def __call__(self, environ, start_response): ...


class WSGIClass:
    def __init__(self, environ, start_response): ...

    def __iter__(self): ...


async def asgi_function(scope, receive, send): ...


async def asgi_with_more(settings, scope, receive, send): ...


def awaitable_function(scope, receive, send):
    return asgi_function(scope, receive, send)


def wsgi_function(environ, start_response): ...


def wsgi_with_option(environ, start_response, exc_info=None): ...


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (asgi_function, ASGIApplication),
        (functools.partial(asgi_with_more, {}), ASGIApplication),
        (awaitable_function, ASGIApplication),
        (ASGIObject(), ASGIApplication),
        (ASGIObject().__call__, ASGIApplication),
        (starlette.applications.Starlette(), ASGIApplication),
        (wsgi_function, WSGIApplication),
        (wsgi_with_option, WSGIApplication),
        (WSGIObject(), WSGIApplication),
        (WSGIClass, WSGIApplication),
        (flask.Flask("x"), WSGIApplication),
        (Handler, HandlerClassApplication),
        (http.server.SimpleHTTPRequestHandler, HandlerClassApplication),
        (functools.partial(http.server.SimpleHTTPRequestHandler, directory="/"), HandlerClassApplication),
    ],
)
def test_a_program_is_known_by_its_shape(program, kind):
    assert type(adapt(program)) is kind


def test_a_weebill_application_is_served_as_it_is():
    native = Native()
    assert adapt(native) is native
    assert adapt(native, "weebill") is native


@pytest.mark.parametrize("factory", [lambda: asgi_function, ASGIObject, starlette.applications.Starlette])
@pytest.mark.parametrize("interface", ["auto", "asgi"])
def test_a_factory_is_called(factory, interface):
    assert type(adapt(factory, interface)) is ASGIApplication


def test_the_root_path_is_handed_on():
    assert adapt(asgi_function, root_path="/api/").root_path == "/api"
    assert adapt(wsgi_function, root_path="/api").root_path == "/api"


def test_an_interface_may_be_forced():
    def anything(*args):
        return None

    assert type(adapt(anything, "asgi")) is ASGIApplication
    assert type(adapt(anything, "wsgi")) is WSGIApplication


class ASGI2:
    def __init__(self, scope): ...

    async def __call__(self, receive, send): ...


async def two(receive, send): ...


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (ASGI2, "takes one parameter, as ASGI 2 applications did"),
        (lambda scope: None, "guarantee_single_callable"),
        (two, r"test_bridge_adapt.two is async and takes 2 parameters; an ASGI application takes three"),
        (lambda *args: None, "force one by --interface"),
        (lambda a, b, c, d: None, "takes 4 parameters"),
        (flask.Flask, "is a class that takes 1 to .* parameters; name an instance of it"),
        (pytest, "is a module; name a Weebill, ASGI or WSGI application"),
        ("app", "'app' is of the type str"),
        (None, "None is of the type NoneType"),
        (lambda: lambda: None, "which takes no parameters either"),
    ],
)
def test_what_is_no_program_is_refused_in_one_sentence(program, sentence):
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        adapt(program)
    assert "\n" not in str(caught.value)


def test_a_forced_interface_that_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="which is no weebill program"):
        adapt(asgi_function, "weebill")
    with pytest.raises(ConfigurationError, match=r"which is no http\.server program"):
        adapt(WSGIClass, "http.server")
    with pytest.raises(ConfigurationError, match="which is no asgi program"):
        adapt(3, "asgi")
    with pytest.raises(ConfigurationError, match="there is no interface 'fcgi'; there are auto, weebill"):
        adapt(asgi_function, "fcgi")
