"""Everything that Weebill raises, in one tree.

WeebillError
├── ConfigurationError            you misused us: raised at registration or at start
│   ├── PatternError              a path or event pattern that means nothing
│   ├── SignatureError            a handler whose parameters cannot be filled
│   ├── ReturnValueError          a handler returned what no answer can be made of
│   ├── DuplicateRoute            the same method and pattern twice
│   └── StartError                the server could not start (port taken, program not found)
├── HTTPException                 an answer that is not the handler's value
│   ├── BodyTooLarge              413, the limit `max_body`
│   ├── TooManyParts              413, the limit `max_form_parts`
│   ├── PartHeaderTooLarge        413, the limit `max_part_header`
│   ├── FieldTooLarge             413, the limit `max_form_field`
│   ├── FormTooLarge              413, the limit `max_form_text`
│   ├── MalformedForm             400, what is no form, with its place
│   ├── MissingField              400, a field or file that a form does not have; a KeyError too
│   ├── UploadRefused             400 or 409, a file that cannot be saved under its name
│   ├── ValidationError           422, values of a request that do not fit their types
│   ├── QueueFull                 503, the limit `thread_queue`
│   └── HandlerTimeout            503, the limits `timeout=` of a route and `handler_timeout`
├── ProtocolError                 the peer is wrong: answered by the server itself, then closed
│   ├── TargetTooLong             414, the limit `max_request_line`
│   ├── FieldsTooLarge            431, the limits `max_fields_size`, `max_fields` and `max_trailers`
│   ├── RequestTimeout            408, the deadlines `header_timeout` and `body_rate`
│   └── TooManyConnections        503, the limit `max_connections_per_client`
├── ListenerError                 events; they come from weebill.events
│   ├── RouteError                an event pattern that means nothing; a PatternError too
│   ├── ContextAlreadyExists, ContextNotFound
│   ├── EventAlreadyExists, EventNotFound, EventAlreadyDone
│   ├── PathParamsError, EventDataError        what a handler asks for is not in the event
│   └── DuplicateListener, ListenerNotFound    one running listener for each thread
├── ResponseError                 an answer that must not go onto the wire
└── ClientDisconnected            the peer has gone
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "BodyTooLarge",
    "ClientDisconnected",
    "ConfigurationError",
    "DuplicateRoute",
    "Fault",
    "FieldTooLarge",
    "FieldsTooLarge",
    "FormTooLarge",
    "HTTPException",
    "HandlerTimeout",
    "MalformedForm",
    "MissingField",
    "PartHeaderTooLarge",
    "PatternError",
    "ProtocolError",
    "QueueFull",
    "RequestTimeout",
    "ResponseError",
    "ReturnValueError",
    "SignatureError",
    "StartError",
    "TargetTooLong",
    "TooManyConnections",
    "TooManyParts",
    "UploadRefused",
    "ValidationError",
    "WeebillError",
    "reason_phrase",
]


# Phrases that RFC 9110 has changed; the standard library has them from Python 3.13 on.
_NEW_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def reason_phrase(status: int) -> str:
    """The standard phrase of a status code, or "" for a code that has none (RFC 9110 section 15).

    >>> from weebill.errors import reason_phrase
    >>> reason_phrase(404)
    'Not Found'
    """
    if status in _NEW_PHRASES:
        return _NEW_PHRASES[status]
    from http import HTTPStatus  # an application without the server is made without it

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class WeebillError(Exception):
    """The root of the tree.

    >>> from weebill.errors import WeebillError
    >>> try:
    ...     abort(404)
    ... except WeebillError as error:
    ...     print(error)
    404 Not Found
    """


class ConfigurationError(WeebillError):
    """The program is wrong. The message names the handler, the route and what to do.

    >>> App().add_route("hello", print)
    Traceback (most recent call last):
    weebill.errors.ConfigurationError: the path 'hello' of print must begin with a slash
    """


class PatternError(ConfigurationError, ValueError):
    """A pattern that cannot be compiled, shown with the place of the fault.

    >>> App().add_route("/user/{id:number}", print)
    Traceback (most recent call last):
    weebill.errors.PatternError: the pattern '/user/{id:number}' has the unknown converter 'number'; ...
    """


class SignatureError(ConfigurationError, TypeError):
    """A handler with a parameter that nothing can fill, or of the wrong kind.

    >>> @App().get("/user/{id}")
    ... def user(idd):
    ...     return idd
    Traceback (most recent call last):
    weebill.errors.SignatureError: nothing fills the parameter 'idd' of user (...) for GET /user/{id}: ...
    """


class ReturnValueError(ConfigurationError, TypeError):
    """A handler returned a value that no answer can be made of.

    >>> app = App()
    >>> @app.get("/")
    ... def index():
    ...     return 42
    >>> TestClient(app).get("/")
    Traceback (most recent call last):
    weebill.errors.ReturnValueError: index (...) returned int: return str, bytes, dict, list, ...
    """


class DuplicateRoute(ConfigurationError):
    """A method and pattern that are registered already.

    >>> app = App()
    >>> app.add_route("/", lambda: "one")
    >>> app.add_route("/", lambda: "two")
    Traceback (most recent call last):
    weebill.errors.DuplicateRoute: GET / is registered twice: <lambda> (...) and <lambda> (...)
    """


class StartError(ConfigurationError):
    """The server could not start. The message is one sentence for the person at the terminal.

    >>> from weebill.testing import LiveServer
    >>> with LiveServer(App()) as first, LiveServer(App(), port=first.port):
    ...     pass
    Traceback (most recent call last):
    weebill.errors.StartError: ...
    """


class HTTPException(WeebillError):
    """Raise it to answer with a status other than the handler's own.

    `status_code` is 400 to 599, `detail` one sentence for the client (the standard phrase by default),
    `headers` are added to the answer, `members` to the problem document (RFC 9457 section 3.2), for programs
    to read. Raises ValueError for any other status.

    >>> app = App()
    >>> @app.get("/")
    ... async def home() -> None:
    ...     raise HTTPException(409, "That name is taken.", members={"name": "ada"})
    >>> TestClient(app).get("/").json()
    {'title': 'Conflict', 'status': 409, 'detail': 'That name is taken.', 'name': 'ada'}
    """

    members: Mapping[str, Any] = {}

    def __init__(
        self,
        status_code: int,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(status_code, int) or not 400 <= status_code <= 599:
            raise ValueError(f"HTTPException takes a status from 400 to 599, not {status_code!r}")
        self.status_code = status_code
        self.detail = reason_phrase(status_code) if detail is None else detail
        self.headers = dict(headers or {})
        if members is not None:
            self.members = members
        super().__init__(status_code, self.detail)

    def __str__(self) -> str:
        return f"{self.status_code} {self.detail}"


class BodyTooLarge(HTTPException):
    """The request's content is longer than its route allows (RFC 9110 section 15.5.14).

    >>> app = App()
    >>> app.add_route("/", lambda: "thanks", methods=["POST"], max_body="1KiB")
    >>> TestClient(app).post("/", content=b"a" * 1025).status_code
    413
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The content is longer than the {limit} bytes that are allowed here.")


class TooManyParts(HTTPException):
    """A form has more fields and files than `max_form_parts` (RFC 9110 section 15.5.14).

    >>> from weebill.errors import TooManyParts
    >>> print(TooManyParts(1000))
    413 The form has more than 1000 fields and files.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The form has more than {limit} fields and files.")


class PartHeaderTooLarge(HTTPException):
    """The header of a part is longer than `max_part_header` (RFC 9110 section 15.5.14).

    >>> from weebill.errors import PartHeaderTooLarge
    >>> print(PartHeaderTooLarge(8192, 1))
    413 The header of part 1 of the form is longer than 8192 bytes.
    """

    def __init__(self, limit: int, number: int) -> None:
        super().__init__(413, f"The header of part {number} of the form is longer than {limit} bytes.")


class FieldTooLarge(HTTPException):
    """A text field is longer than `max_form_field` (RFC 9110 section 15.5.14).

    >>> from weebill.errors import FieldTooLarge
    >>> print(FieldTooLarge(1048576, "text"))
    413 The field 'text' of the form is longer than 1048576 bytes.
    """

    def __init__(self, limit: int, name: str) -> None:
        super().__init__(413, f"The field {name!r} of the form is longer than {limit} bytes.")


class FormTooLarge(HTTPException):
    """The text of a form, its names and headers included, is longer than `max_form_text` (RFC 9110 section
    15.5.14).

    >>> from weebill.errors import FormTooLarge
    >>> print(FormTooLarge(4194304))
    413 The fields of the form are longer than 4194304 bytes together.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The fields of the form are longer than {limit} bytes together.")


class MalformedForm(HTTPException):
    """Content that is no form, or not a whole one (RFC 7578, RFC 2046 section 5.1.1).

    >>> app = App()
    >>> @app.post("/")
    ... def take(request: Request):
    ...     return request.form["name"]
    >>> TestClient(app).post("/", data={"name": "Ada"}).status_code
    200
    >>> headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    >>> TestClient(app).post("/", content=b"name=%FF", headers=headers).json()["detail"]
    "Field 1 of the form is malformed, at byte 0: b'\\\\xff' is not UTF-8."
    """

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


class MissingField(HTTPException, KeyError):
    """A handler asks for a field, a file or a parameter of the query that the client has not sent. `in` and
    `get` ask without it.

    >>> app = App()
    >>> @app.post("/")
    ... def take(request: Request):
    ...     return request.form["name"]
    >>> headers = {"accept": "application/json"}
    >>> TestClient(app).post("/", data={"nam": "Ada"}, headers=headers).json()["detail"]
    "The form has no field 'name'."
    """

    def __init__(self, place: str, kind: str, name: str) -> None:
        super().__init__(400, f"The {place} has no {kind} {name!r}.")


class UploadRefused(HTTPException, ValueError):
    """A file cannot be saved under that name: 400 for a name that could do harm, 409 where there is one.

    >>> import io
    >>> from weebill.errors import UploadRefused
    >>> try:
    ...     UploadFile(io.BytesIO(b"...")).save(".", "../secret")
    ... except UploadRefused as error:
    ...     print(error)
    400 The file cannot be saved: its name '../secret' is a path.
    """


class Fault(NamedTuple):
    """What is wrong with one value of a request, and its place: "query.limit", "body.items[2].price".

    >>> from weebill.errors import Fault
    >>> print(Fault("query.limit", "missing"))
    query.limit: missing
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


MAX_FAULTS = 100


class ValidationError(HTTPException):
    """Values of a request do not fit their types (RFC 9110 section 15.5.21).

    `errors` are pairs of a place and a message; the first hundred are kept, each once. A handler may raise
    it too, for what no type can say.

    >>> error = ValidationError([("query.limit", "expected int"), ("body.name", "missing")])
    >>> error.errors[1].place
    'body.name'
    >>> print(error)
    422 query.limit: expected int (and 1 more)
    """

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        self.errors = tuple(dict.fromkeys(Fault(*error) for error in errors))[:MAX_FAULTS]
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        detail = f"{self.errors[0]}{more}" if self.errors else None
        super().__init__(422, detail, members={"errors": [fault._asdict() for fault in self.errors]})


class QueueFull(HTTPException):
    """All worker threads are busy and the queue before them is full (RFC 9110 section 15.6.4).

    >>> from weebill.errors import QueueFull
    >>> print(QueueFull(1000))
    503 1000 requests wait for a worker thread already.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(503, f"{limit} requests wait for a worker thread already.", {"retry-after": "1"})


class HandlerTimeout(HTTPException):
    """A handler took longer than it may (RFC 9110 section 15.6.4).

    >>> import asyncio
    >>> from weebill.errors import HandlerTimeout
    >>> app = App()
    >>> @app.get("/", timeout="10ms")
    ... async def slow():
    ...     await asyncio.sleep(60)
    >>> @app.errorhandler(HandlerTimeout)
    ... def late(error):
    ...     return f"Not within {error.seconds} s."
    >>> TestClient(app).get("/").text
    'Not within 0.01 s.'
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(503, f"There was no answer within {seconds:g} seconds.")
        self.seconds = seconds


class ProtocolError(WeebillError):
    """The peer broke a rule of HTTP. The server answers `status_code` and closes the connection.

    >>> TestClient(App()).get("/", headers={"host": "no host"}).status_code
    400
    """

    def __init__(self, status_code: int, detail: str) -> None:
        self.status_code = status_code
        self.detail = detail
        super().__init__(status_code, detail)

    def __str__(self) -> str:
        return f"{self.status_code} {self.detail}"


class TargetTooLong(ProtocolError):
    """The request line is longer than `max_request_line` (RFC 9112 section 3).

    >>> from weebill.settings import Settings
    >>> client = TestClient(App(), settings=Settings(max_request_line=1000))
    >>> client.get("/" + "a" * 1000).text
    'The request line is longer than 1000 bytes.\\n'
    """

    def __init__(self, limit: int) -> None:
        super().__init__(414, f"The request line is longer than {limit} bytes.")


class FieldsTooLarge(ProtocolError):
    """The fields are more or longer than `max_fields` and `max_fields_size`, or the trailers longer than
    `max_trailers` (RFC 6585 section 5).

    >>> from weebill.settings import Settings
    >>> client = TestClient(App(), settings=Settings(max_fields=10))
    >>> client.get("/", headers={f"x-{number}": "" for number in range(10)}).text
    'There are more than 10 fields.\\n'
    """

    def __init__(self, detail: str) -> None:
        super().__init__(431, detail)


class RequestTimeout(ProtocolError):
    """The request came too slowly (RFC 9110 section 15.5.9).

    >>> from weebill.errors import RequestTimeout
    >>> print(RequestTimeout("No complete head in 10 seconds."))
    408 No complete head in 10 seconds.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(408, detail)


class TooManyConnections(ProtocolError):
    """One client has as many connections as `max_connections_per_client` allows.

    >>> import socket
    >>> from weebill.testing import LiveServer
    >>> with LiveServer(App(), max_connections_per_client=1) as server:
    ...     address = server.host, server.port
    ...     with socket.create_connection(address), socket.create_connection(address) as second:
    ...         second.recv(12)
    b'HTTP/1.1 503'
    """

    def __init__(self, limit: int) -> None:
        super().__init__(503, f"There are {limit} connections from your address already.")


class ResponseError(WeebillError):
    """A field or a length that would break the framing of the answer; it is never sent.

    >>> app = App()
    >>> app.add_route("/", lambda: ("hello", 200, {"content-length": "4"}))
    >>> TestClient(app).get("/")
    Traceback (most recent call last):
    weebill.errors.ResponseError: Content-Length says 4, but the content has 5 bytes
    """


class ClientDisconnected(WeebillError):
    """The peer has gone while its request was read or its answer written.

    >>> from threading import Event
    >>> from weebill.errors import ClientDisconnected
    >>> app, told, gone = App(), [], Event()
    >>> @app.post("/", stream=True)
    ... async def take(request):
    ...     try:
    ...         async for piece in request.stream():
    ...             pass
    ...     except ClientDisconnected:
    ...         told.append("the upload broke off")
    >>> def half():
    ...     yield b"half"
    ...     gone.wait()
    >>> with TestClient(app).stream("POST", "/", content=half()) as answer:
    ...     pass
    >>> gone.set()
    >>> told
    ['the upload broke off']
    """
