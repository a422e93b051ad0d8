"""Where the arguments of a typed handler come from: path, query, header, cookie, form, file, content.

    @app.post("/birds/{id}")
    async def rename(id: int, bird: Bird, dry: bool = False, user_agent: Annotated[str, Header()] = ""):
                     path     content     query              a field, by its marker

`RequestSources.of(function)` are the sources (see binding.py) for the parameters of one function; each
resolver that they give is made once and raises ValidationError for a value that does not fit.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from .annotations import (
    Field,
    fields_of,
    is_content,
    is_list,
    is_optional,
    is_pydantic,
    is_scalar,
    is_upload,
    items,
    members,
    metadata,
    metadata_within,
    name_of,
    stripped,
    tidying,
    unreadable,
)
from .binding import Parameter, Resolver, Source, request_source
from .errors import Fault, HTTPException, SignatureError, ValidationError
from .faults import find_faults
from .functions import describe
from .parameters import FILE, FORM, HEADER, QUERY, Marker, Place
from .requests import Request
from .routing import CONVERTERS, Converter
from .validation import completed, json_reader, pydantic_maker, text_reader

__all__ = ["FromContent", "FromPath", "RequestSources"]

_MISSING: Any = inspect.Parameter.empty

_CONVERTED = {"str": str, "int": int, "float": float, "uuid": UUID, "path": str}


LARGE = 1 << 18  # bytes of JSON that keep the loop busy for a millisecond, and for more if they are wrong


class FromContent:
    """The resolver of a parameter that is the JSON content."""

    __slots__ = ("_parameter", "_read")

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        self._read = json_reader(parameter.annotation)

    def is_large(self, request: Request) -> bool:
        """Whether it is to be read in a thread."""
        return request.exchange.body.size > LARGE

    def __call__(self, request: Request) -> Any:
        content = request.body
        if not content:
            return _absent("body", self._parameter)
        _check_media_type(request)
        return self._read(content)


class FromPath:
    """The resolver of a parameter that the pattern has made a value of."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, request: Request) -> Any:
        return request.params[self.name]


class RequestSources:
    """The sources for the functions of one route, and what they ask of its request.

    `converters` are those of the pattern, `methods` the route's, `is_streamed` whether its handler reads the
    content itself.
    """

    def __init__(
        self, converters: Mapping[str, Converter], methods: Iterable[str] = (), is_streamed: bool = False
    ) -> None:
        self._converters = converters
        self._methods = tuple(methods)
        self._is_streamed = is_streamed
        self._content = ""  # who asks for the content
        self._form = ""

    @property
    def wants_form(self) -> bool:
        """Whether somebody asks for a part of a form."""
        return bool(self._form)

    def of(self, function: Callable[..., Any], purpose: str) -> Sequence[Source[Request]]:
        """The sources for the parameters of `function`. They raise SignatureError for what cannot be."""
        try:
            signature = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # binding.py tells of it
            signature = {}.values()
        if star := next((p.name for p in signature if p.kind is p.VAR_POSITIONAL), ""):
            raise SignatureError(
                f"{describe(function)} takes *{star} {purpose}, which nothing fills; name its parameters, "
                "or put functools.wraps on the decorator that made it"
            )
        return _Sources(self, function, purpose).all

    def ask(self, kind: str, who: str) -> None:
        """Note that `who` asks for the "content" or for the "form". Raises SignatureError."""
        has_none = self._methods and not set(self._methods) - {"GET", "HEAD"}
        if has_none:
            raise SignatureError(
                f"{who} is the {kind} of the request, but {' and '.join(self._methods)} has none "
                "(RFC 9110 section 9.3.1); mark it with Query() in Annotated[...], or take POST"
            )
        if kind == "content":
            if self._is_streamed:
                raise SignatureError(f"{who} is the content, which stream=True leaves to `request.stream()`")
            self._content = self._content or who
        else:
            self._form = self._form or who
        if self._content and self._form:
            raise SignatureError(
                f"{self._content} is JSON content, and {self._form} a form: it is one or other"
            )


class _Sources:
    """The sources for one function."""

    def __init__(self, asked: RequestSources, function: Callable[..., Any], purpose: str) -> None:
        self._asked = asked
        self._converters = asked._converters
        self._who = f"{describe(function)} {purpose}".rstrip()
        self._content = ""
        self.all: tuple[Source[Request], ...] = (
            self._marked,
            request_source,
            self._from_path,
            self._upload,
            self._from_content,
            self._query,
            self._refuse,
        )

    def _of(self, parameter: Parameter) -> str:
        return f"the parameter {parameter.name!r} of {self._who}"

    # -- one source after the other

    def _marked(self, parameter: Parameter) -> Resolver[Request] | None:
        found = [m for m in (parameter.default, *metadata(parameter.annotation)) if isinstance(m, Marker)]
        if not found:
            if any(isinstance(m, Marker) for m in metadata_within(parameter.annotation)):
                raise SignatureError(
                    f"{self._of(parameter)} is marked inside of its type; write "
                    "Annotated[... | None, Query()], around the whole"
                )
            return None
        marker = found[0]
        if parameter.name in self._converters:
            raise SignatureError(
                f"{self._of(parameter)} is marked as a part of the {marker.place.label}, but the path has a "
                f"{{{parameter.name}}} too; give one of them another name"
            )
        default = marker.default if isinstance(parameter.default, Marker) else parameter.default
        if default is ...:
            default = _MISSING
        annotation = parameter.annotation
        if annotation is _MISSING and marker.place is not FILE:
            annotation = str
        return self._from_place(marker.place, marker.name, Parameter(parameter.name, annotation, default))

    def _from_place(self, place: Place, name: str | None, parameter: Parameter) -> Resolver[Request]:
        if place in (FORM, FILE):
            self._asked.ask("form", self._of(parameter))
        hyphens = place is HEADER
        key = name or (parameter.name.replace("_", "-") if hyphens else parameter.name)
        is_file = any(is_upload(kind) for kind in items(parameter.annotation))
        if is_file or (place is FILE and parameter.annotation is _MISSING):
            return _direct(FILE, key, parameter)
        if place is FILE:
            raise SignatureError(f"{self._of(parameter)} is a file; annotate it with UploadFile")
        if is_scalar(parameter.annotation):
            return self._checked(parameter, lambda: _text(place, key, parameter))
        fields = fields_of(stripped(parameter.annotation))
        if fields is None or not all(is_scalar(f.annotation) for f in fields) or name is not None:
            raise SignatureError(
                f"{self._of(parameter)} cannot be {name_of(parameter.annotation)} of the {place.label}: "
                "that holds plain values, lists of them, and classes with such fields (without a name)"
            )
        return self._checked(parameter, lambda: _group(place, parameter))

    def _from_path(self, parameter: Parameter) -> Resolver[Request] | None:
        if parameter.name not in self._converters:
            return None
        gives = _gives(self._converters[parameter.name])
        if parameter.annotation in (_MISSING, Any, object, gives):
            return FromPath(parameter.name)
        if not is_scalar(parameter.annotation) or is_list(parameter.annotation):
            raise SignatureError(
                f"{self._of(parameter)} cannot be {name_of(parameter.annotation)}, for it is text of the path"
            )
        return _path(parameter)

    def _upload(self, parameter: Parameter) -> Resolver[Request] | None:
        if not any(is_upload(kind) for kind in items(parameter.annotation)):
            return None
        return self._from_place(FILE, None, parameter)

    def _from_content(self, parameter: Parameter) -> Resolver[Request] | None:
        if not is_content(parameter.annotation):
            return None
        self._asked.ask("content", self._of(parameter))
        if self._content:
            raise SignatureError(
                f"{self._of(parameter)} is the content, as {self._content!r} is; put both into one class"
            )
        self._content = parameter.name
        return self._checked(parameter, lambda: FromContent(parameter))

    def _query(self, parameter: Parameter) -> Resolver[Request] | None:
        if not is_scalar(parameter.annotation):
            return None
        return self._checked(parameter, lambda: _text(QUERY, parameter.name, parameter))

    def _refuse(self, parameter: Parameter) -> None:
        """The end of the row: nothing fills it."""
        if parameter.has_default:
            return
        annotation = parameter.annotation
        hint = "annotate it (`: str` is the query), or name it in the path"
        if annotation is bytes:
            hint = "the content as bytes is `request.body`"
        elif annotation is not _MISSING:
            problem = unreadable(annotation) or f"{name_of(annotation)} is no part of a request"
            hint = f"{problem}; Depends(...) fills anything"
        raise SignatureError(f"nothing fills {self._of(parameter)}: {hint}")

    def _checked(self, parameter: Parameter, make: Callable[[], Resolver[Request]]) -> Resolver[Request]:
        """What `make` makes. It raises TypeError for a type that cannot be read."""
        try:
            return make()
        except Exception as error:  # pydantic has many of its own
            problem = str(error).partition("\n")[0]
            raise SignatureError(f"{self._of(parameter)} cannot be read: {problem}") from None


def _gives(converter: Converter) -> type:
    return next((_CONVERTED[name] for name, known in CONVERTERS.items() if known is converter), object)


# -- the resolvers


def _absent(place: str, parameter: Parameter) -> Any:
    """What stands for a value that is not there."""
    if parameter.has_default:
        return parameter.default
    if is_optional(parameter.annotation):
        return None
    raise ValidationError([Fault(place, "missing")])


def _direct(place: Place, key: str, parameter: Parameter) -> Resolver[Request]:
    """The values as they are."""
    where, many = f"{place.label}.{key}", is_list(parameter.annotation)

    def resolve(request: Request) -> Any:
        found = place.values(request).getlist(key)
        if not found:
            return _absent(where, parameter)
        return found if many else found[0]

    return resolve


def _text(place: Place, key: str, parameter: Parameter) -> Resolver[Request]:
    """A value made of a text, or of each text of that name."""
    read = text_reader(parameter.annotation)
    if problem := unreadable(parameter.annotation):
        raise TypeError(problem)
    if is_list(parameter.annotation):
        return _direct(place, key, parameter) if read is None else _many(place, key, parameter, read)
    where, is_secret = f"{place.label}.{key}", place.is_secret(key)
    blank_is_absent = str not in members(parameter.annotation)
    blank_is_absent &= parameter.has_default or is_optional(parameter.annotation)

    def resolve(request: Request) -> Any:
        values: Any = place.values(request)
        if key not in values:
            return _absent(where, parameter)
        text = values[key]
        if read is None:
            return text
        if not text and blank_is_absent:  # as a browser sends an input that nobody has filled in
            return _absent(where, parameter)
        try:
            value = read(text)
        except msgspec.ValidationError as error:
            found = find_faults(text, parameter.annotation, where, False, is_secret)
            raise ValidationError(found or [Fault(where, str(error))]) from None
        return value

    return resolve


def _many(place: Place, key: str, parameter: Parameter, read: Callable[[Any], Any]) -> Resolver[Request]:
    where, is_secret = f"{place.label}.{key}", place.is_secret(key)

    def resolve(request: Request) -> Any:
        texts = place.values(request).getlist(key)
        if not texts:
            return _absent(where, parameter)
        try:
            return read(texts)
        except msgspec.ValidationError as error:
            found = find_faults(texts, parameter.annotation, where, False, is_secret)
            raise ValidationError(found or [Fault(where, str(error))]) from None

    return resolve


def _path(parameter: Parameter) -> Resolver[Request]:
    """A parameter of the path as another type than its converter gives."""
    read, name, where = text_reader(parameter.annotation), parameter.name, f"path.{parameter.name}"

    def resolve(request: Request) -> Any:
        text = str(request.params[name])
        try:
            return text if read is None else read(text)
        except msgspec.ValidationError as error:
            found = find_faults(text, parameter.annotation, where, False)
            raise ValidationError(found or [Fault(where, str(error))]) from None

    return resolve


def _check_media_type(request: Request) -> None:
    """Other sites may send forms and text in a visitor's name, but not JSON (RFC 9110 section 8.3, CORS)."""
    for name, value in request.exchange.fields:  # PERF: most say just this; no Headers are made for it
        if value == b"application/json" and name.lower() == b"content-type":
            return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        given = f"not {kind[:80]!r}" if kind else "with a Content-Type that says so"
        # RFC 9110 section 15.5.16: Accept says what would have been right
        raise HTTPException(
            415, f"The content must be application/json, {given}.", {"accept": "application/json"}
        )


def _group(place: Place, parameter: Parameter) -> Resolver[Request]:
    """A whole class, each of its fields from one name."""
    kind = stripped(parameter.annotation)
    plan = [
        (f, f.key.replace("_", "-") if place is HEADER else f.key, is_list(f.annotation), _cleaning(f))
        for f in fields_of(kind) or ()
    ]
    is_secret = place.secret != frozenset()
    make = _maker(kind, place.label, is_secret)
    config = getattr(kind, "__struct_config__", None)
    takes_all = place in (QUERY, FORM) and config is not None and config.forbid_unknown_fields

    def resolve(request: Request) -> Any:
        values = place.values(request)
        found: dict[str, Any] = dict.fromkeys(values) if takes_all else {}
        faults: list[Fault] = []
        for field, name, many, clean in plan:
            texts = values.getlist(name)
            try:
                texts = [text for text in map(clean, texts) if text is not None]
            except msgspec.ValidationError as error:
                where, value = f"{place.label}.{name}", texts if many else texts[0]
                of_field = find_faults(value, field.annotation, where, False, is_secret)
                faults += of_field or [Fault(where, str(error))]
            found.pop(field.key, None)
            if texts:
                found[field.key] = texts if many else texts[0]
        try:
            value = make(found)
        except ValidationError as error:
            faults += error.errors
        if faults:
            raise ValidationError(faults)
        return value

    return resolve


def _cleaning(field: Field) -> Callable[[str], str | None]:
    """What is done to the text of a field before it is converted; None where it counts as not there."""
    tidy = tidying(field.annotation) or str
    if str in items(field.annotation) or (field.required and not is_optional(field.annotation)):
        return tidy
    return lambda text: tidy(text) if text else None


def _maker(kind: Any, place: str, is_secret: bool) -> Callable[[dict[str, Any]], Any]:
    """A function that makes a `kind` of texts. Raises TypeError for one that cannot be made of them."""
    if is_pydantic(kind):
        return pydantic_maker(kind, place, is_secret)
    if problem := unreadable(kind):
        raise TypeError(problem)

    def make(found: dict[str, Any]) -> Any:
        try:
            return msgspec.convert(found, kind, strict=False)
        except msgspec.ValidationError as error:
            faults = find_faults(found, kind, place, False, is_secret)
            raise ValidationError(faults or [Fault(place, str(error))]) from None

    return completed(kind, make)
