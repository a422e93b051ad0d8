"""Values from outside: JSON read strictly, values converted to types, every fault with its place.

    json_reader(Item)   bytes ── msgspec, one pass ──> Item
    text_reader(int)    "17"  ── msgspec.convert ────> 17
                          └─ it does not fit: find_faults() looks at the value again, field by field

msgspec stops at the first fault. Only when there is one is the content read once more, as plain values, and
compared with the type part by part; that has a bound (`MAX_LOOKED_AT`), so that a bad request costs little
more than a good one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from itertools import accumulate
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from .errors import MAX_FAULTS, Fault, HTTPException, ValidationError

__all__ = [
    "Field",
    "completed",
    "decode_json",
    "fields_of",
    "find_faults",
    "is_list",
    "is_optional",
    "is_pydantic",
    "json_reader",
    "members",
    "pydantic_maker",
    "shown",
    "stripped",
    "text_reader",
    "tidying",
    "unreadable",
]

MAX_DEPTH = 64  # of arrays and objects within each other
MAX_LOOKED_AT = 10_000  # values that are looked at for faults
MAX_SHOWN = 40  # characters of a value in a message

LISTS = (list, set, frozenset, tuple, Collection)

# -- JSON

_decode = msgspec.json.Decoder().decode


def decode_json(content: bytes) -> Any:
    """Read JSON strictly (RFC 8259): UTF-8, no NaN, 64 levels at most. Of equal names the last counts.

    Raises HTTPException 400 that says in which line and column the fault is.

    >>> from weebill.validation import decode_json
    >>> decode_json(b'{"bird": "weebill"}')
    {'bird': 'weebill'}
    >>> decode_json(b'{"bird": NaN}')
    Traceback (most recent call last):
    weebill.errors.HTTPException: 400 The content is not JSON: invalid character at line 1, column 10.
    """
    check_depth(content)
    try:
        return _decode(content)
    except msgspec.ValidationError as error:  # of a number that no int or float can hold
        raise HTTPException(400, f"The content is not JSON that can be read: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(400, _malformed(content, error)) from None


_OUTSIDE_OF_NAMES = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def check_depth(content: bytes) -> None:
    """Raise HTTPException 400 for JSON that is nested too deeply, before anything recursive sees it."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return
    # PERF: brackets in strings do not count, and no loop of ours looks at each byte. Without what is escaped,
    # only brackets and quotes are kept; two quotes side by side change nothing about what is inside a string.
    plain = content.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OUTSIDE_OF_NAMES)
    brackets = b"".join(plain.replace(b'""', b"").split(b'"')[::2])
    if max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b")), default=0) > MAX_DEPTH:
        raise HTTPException(400, f"The content is nested more than {MAX_DEPTH} levels deep.")


_AT_BYTE = re.compile(r"(?:JSON is malformed: )?(.*) \(byte (\d+)\)")


def _malformed(content: bytes, error: Exception) -> str:
    if not content.strip():
        return "The content is empty, and no JSON."
    found = _AT_BYTE.fullmatch(str(error))
    what, position = "it ends too early", len(content)
    if isinstance(error, UnicodeDecodeError):
        what, position = "it is not UTF-8", _first_bad_byte(content)
    elif found:
        what, position = found[1], int(found[2]) - found[1].startswith("trailing")
    line = content.count(b"\n", 0, position) + 1
    before = content[content.rfind(b"\n", 0, position) + 1 : position]
    return (
        f"The content is not JSON: {what} at line {line}, column {len(before.decode(errors='replace')) + 1}."
    )


def _first_bad_byte(content: bytes) -> int:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(content)


def json_reader(annotation: Any, place: str = "body") -> Callable[[bytes], Any]:
    """A function that reads JSON content as `annotation`. Raises TypeError for a type that JSON cannot be.

    The function raises HTTPException 400 for malformed JSON, ValidationError with every fault for values
    that do not fit.

    >>> from weebill.validation import json_reader
    >>> json_reader(dict[str, int])(b'{"a": 1}')
    {'a': 1}
    >>> json_reader(dict[str, int])(b'{"a": "x", "b": null}')
    Traceback (most recent call last):
    weebill.errors.ValidationError: 422 body.a: expected int, got "x" (and 1 more)
    """
    if is_pydantic(annotation):
        return _pydantic_reader(annotation, place)
    if problem := unreadable(annotation):
        raise TypeError(problem)
    decode = msgspec.json.Decoder(annotation).decode

    def read(content: bytes) -> Any:
        check_depth(content)
        try:
            return decode(content)
        except msgspec.ValidationError as error:
            first = _fault(error, annotation, place)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPException(400, _malformed(content, error)) from None
        try:
            value = _decode(content)
        except msgspec.ValidationError:  # a number that no int or float can hold
            raise ValidationError([first]) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # malformed behind the first fault
            raise HTTPException(400, _malformed(content, error)) from None
        raise ValidationError(find_faults(value, annotation, place) or [first])

    return completed(annotation, read)


def _pydantic_reader(annotation: Any, place: str) -> Callable[[bytes], Any]:
    from pydantic import TypeAdapter  # it is there, for the program has a model of it
    from pydantic import ValidationError as Unfit

    adapter = TypeAdapter(annotation)

    def read(content: bytes) -> Any:
        decode_json(content)  # pydantic would read NaN, and as deep as it goes
        try:
            return adapter.validate_json(content)
        except Unfit as error:
            raise ValidationError(_pydantic_faults(error, place)) from None

    return read


def pydantic_maker(model: Any, place: str, is_secret: bool) -> Callable[[dict[str, Any]], Any]:
    """A function that makes a pydantic model of texts by name. It raises ValidationError."""
    from pydantic import TypeAdapter
    from pydantic import ValidationError as Unfit

    adapter = TypeAdapter(model)

    def make(found: dict[str, Any]) -> Any:
        try:
            return adapter.validate_python(found)
        except Unfit as error:
            raise ValidationError(_pydantic_faults(error, place, is_secret)) from None

    return make


def _pydantic_faults(error: Any, place: str, is_secret: bool = False) -> list[Fault]:
    """The faults that pydantic has found."""
    if error.error_count() > MAX_LOOKED_AT:  # it can only tell of all of them
        return [Fault(place, f"{error.error_count()} values do not fit")]
    found = []
    for each in error.errors(include_url=False, include_context=False)[:MAX_FAULTS]:
        parts = (f"[{part}]" if isinstance(part, int) else f".{_cut(part)}" for part in each["loc"])
        text = each["msg"][:1].lower() + each["msg"][1:]
        if each["type"] == "missing":
            text = "missing"
        elif not is_secret:
            text = f"{text}, got {shown(each['input'])}"
        found.append(Fault(place + "".join(parts), text))
    return found


def _types_within(annotation: Any) -> Iterator[Any]:
    """What msgspec knows of a type, and of all types that it holds. Raises what their annotations raise."""
    from msgspec import inspect

    todo: list[Any] = [inspect.type_info(annotation)]
    seen: set[int] = set()
    while todo:
        info = todo.pop()
        if isinstance(info, msgspec.Struct) and id(info) not in seen:
            seen.add(id(info))
            yield info
            for name in info.__struct_fields__:
                value = getattr(info, name)
                todo += value if isinstance(value, tuple) else (value,)


def unreadable(annotation: Any) -> str:
    """Why msgspec cannot make values of this type, "" if it can."""
    try:
        unknown = [info.cls for info in _types_within(annotation) if type(info).__name__ == "CustomType"]
    except Exception as error:
        return str(error).partition(" - type")[0]
    return f"{_name(unknown[0])} is no type that is known here" if unknown else ""


def completed(annotation: Any, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`read`, and what it makes has all its fields: msgspec leaves the defaults of a dataclass to the class,
    where neither `vars()` nor an encoder finds them."""
    if not any(type(info).__name__ == "DataclassType" for info in _types_within(annotation)):
        return read

    def complete(text: Any) -> Any:
        value = read(text)
        todo = [value]
        while todo:
            part = todo.pop()
            if isinstance(part, list | tuple | set | frozenset):
                todo += part
            elif isinstance(part, dict):
                todo += part.values()
            elif isinstance(part, msgspec.Struct):
                todo += (getattr(part, name) for name in part.__struct_fields__)
            elif dataclasses.is_dataclass(part) and (own := getattr(part, "__dict__", None)) is not None:
                for f in dataclasses.fields(part):
                    if f.default is not dataclasses.MISSING:
                        own.setdefault(f.name, f.default)
                todo += own.values()
        return value

    return complete


# -- text


def text_reader(annotation: Any) -> Callable[[Any], Any] | None:
    """A function that makes a value of the text, or of the list of texts, that a query, a field or a form
    carries; None where the text is the value. The function raises msgspec.ValidationError.

    >>> from weebill.validation import text_reader
    >>> text_reader(list[int])(["1", "2"])
    [1, 2]
    """
    if annotation is str:
        return None
    tidy = tidying(annotation)

    def read(text: Any) -> Any:
        if tidy is not None:
            text = [tidy(t) for t in text] if isinstance(text, list) else tidy(text)
        return msgspec.convert(text, annotation, strict=False)

    return read


_WORDS = {"on": "true", "yes": "true", "off": "false", "no": "false"}  # a checkbox sends "on"
_WITHOUT_SECONDS = re.compile(r"(?:.{10}[Tt ])?[0-9]{2}:[0-9]{2}")  # as <input type="time"> sends it
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf)", re.IGNORECASE)


def tidying(annotation: Any) -> Callable[[str], str] | None:
    """What is done to a text before it is converted; None where nothing is."""
    kinds = members(annotation)
    kinds += [kind for outer in kinds for arg in get_args(outer) for kind in members(arg)]
    names = {kind.__name__ for kind in kinds if isinstance(kind, type)}
    if "bool" in names:
        return lambda text: _WORDS.get(text.lower(), text)
    if names & {"time", "datetime"}:
        return lambda text: f"{text}:00" if _WITHOUT_SECONDS.fullmatch(text) else text
    if names & {"float", "Decimal"}:
        return _finite
    return None


def _finite(text: str) -> str:
    if _NOT_FINITE.match(text):
        raise msgspec.ValidationError("Expected a finite number")
    return text


# -- faults


def find_faults(
    value: Any, annotation: Any, place: str, strict: bool = True, is_secret: bool = False
) -> list[Fault]:
    """Everything that keeps `value`, made of plain values, from being an `annotation`.

    `strict` False reads texts as numbers and the like; `is_secret` shows no value. At most 100 are found.
    """
    search = _Search(strict, is_secret)
    search.look(value, annotation, place)
    return search.faults


class Field(NamedTuple):
    """A field of a class that is made of an object: `key` is its name in there."""

    name: str
    key: str
    annotation: Any
    required: bool


class _Search:
    """One walk over a value and its type, side by side."""

    def __init__(self, strict: bool, is_secret: bool) -> None:
        self.strict = strict
        self.is_secret = is_secret
        self.faults: list[Fault] = []
        self.left = MAX_LOOKED_AT
        self.fields: dict[Any, list[Field]] = {}

    def look(self, value: Any, annotation: Any, place: str) -> None:
        """Find the faults of `value`: those of its parts, and if they have none its own."""
        self.left -= 1
        if self.left < 0 or len(self.faults) >= MAX_FAULTS:
            return
        before = len(self.faults)
        kind = stripped(annotation)
        kinds = [kind for kind in members(kind) if _is_made_of(value, kind)]
        if len(kinds) > 1 and isinstance(value, dict):
            kinds = [kind for kind in kinds if _has_tag(kind, value)]
        parts = list(self._parts(value, kinds[0], place)) if len(kinds) == 1 else None
        for part in parts or ():
            self.look(*part)
        if len(self.faults) == before and (parts is None or _has_rules(annotation, kinds[0])):
            self._convert(value, annotation, place)

    def _parts(self, value: Any, kind: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
        args = get_args(kind)
        if isinstance(value, list):
            kinds: Any
            if hasattr(kind, "_fields"):  # a NamedTuple
                kinds = get_type_hints(kind, include_extras=True).values()
            elif get_origin(kind) is tuple and args[-1:] != (...,):
                if len(args) != len(value):
                    self._add(place, f"expected {len(args)} values, got {len(value)}")
                kinds = args
            else:
                kinds = [args[0] if args else Any] * min(len(value), self.left + 1)
            for number, (item, inner) in enumerate(zip(value, kinds, strict=False)):
                yield item, inner, f"{place}[{number}]"
            return
        if not _is_record(kind):  # it is a mapping
            item_kind = args[1] if len(args) == 2 else Any
            for key, item in value.items():
                yield item, item_kind, f"{place}.{_cut(key)}"
            return
        fields = self.fields[kind] = self.fields.get(kind) or fields_of(kind) or []
        for field in fields:
            if field.key in value:
                yield value[field.key], field.annotation, f"{place}.{field.key}"
            elif field.required:
                self._add(f"{place}.{field.key}", "missing")
        config = getattr(kind, "__struct_config__", None)
        if config is not None and config.forbid_unknown_fields:
            for key in value.keys() - {field.key for field in fields} - {config.tag_field}:
                self._add(f"{place}.{_cut(key)}", "unknown")

    def _convert(self, value: Any, annotation: Any, place: str) -> None:
        try:
            if not self.strict and (tidy := tidying(annotation)) is not None and isinstance(value, str):
                value = tidy(value)
            msgspec.convert(value, annotation, strict=self.strict, str_keys=True)
        except msgspec.ValidationError as error:
            self.faults.append(_fault(error, annotation, place, *([] if self.is_secret else [value])))

    def _add(self, place: str, message: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(place, message))


def _is_made_of(value: Any, kind: Any) -> bool:
    """Whether the parts of `value` are the parts of a `kind`."""
    origin = get_origin(kind) or kind
    if isinstance(value, list):
        return isinstance(origin, type) and issubclass(origin, LISTS) and not _is_mapping(origin)
    return isinstance(value, dict) and (_is_mapping(origin) or _is_record(kind))


def _is_mapping(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Mapping) and not is_typeddict(kind)


def _has_tag(kind: Any, value: dict[str, Any]) -> bool:
    config = getattr(get_origin(kind) or kind, "__struct_config__", None)
    return config is None or config.tag is None or value.get(config.tag_field) == config.tag


def _has_rules(annotation: Any, kind: Any) -> bool:
    """Whether the whole may be at fault where its parts are not."""
    return (
        get_origin(annotation) is Annotated
        or (len(get_args(kind)) == 2 and stripped(get_args(kind)[0]) is not str)  # the keys of a mapping
        or hasattr(kind, "__post_init__")
        or hasattr(kind, "_fields")
        or getattr(getattr(kind, "__struct_config__", None), "tag", None) is not None
    )


_NUMBER = re.compile(r"(\d)\.0\b")
_AT = re.compile(r"(.*) - at `(key` in `)?\$(.*)`", re.DOTALL)


def _fault(error: msgspec.ValidationError, annotation: Any, place: str, *value: Any) -> Fault:
    """What msgspec says, in our words. `value` is the one at fault, where it is known and no secret."""
    said, key, path = found.groups() if (found := _AT.fullmatch(str(error))) else (str(error), None, "")
    if said.startswith("Expected "):
        text = _NUMBER.sub(r"\1", f"expected {said[9:]}".partition(", got `")[0].replace("`", ""))
    elif said.startswith("Invalid ") and not path and not key:
        text = f"expected {_expected(annotation)}"
    elif said.startswith(("Invalid ", "Integer ", "Number ")):
        text = (said[:1].lower() + said[1:]).partition(" '")[0]  # the value may be of any length
    elif said.startswith("Object missing required field `"):
        return Fault(f"{place}{path}.{said[31:-1]}", "missing")
    else:  # of a __post_init__
        return Fault(place + path, said)
    if key:
        text = f"a key: {text}"
    elif value and not path:
        text = f"{text}, got {shown(value[0])}"
    return Fault(place + path, text)


_LIKE = {
    "UUID": "UUID",
    "date": "date like 2026-01-31",
    "time": "time like 12:30:00",
    "datetime": "datetime like 2026-01-31T12:30:00Z",
    "timedelta": "duration like PT90S",
    "Decimal": "decimal number",
    "bytes": "base64",
}


def _expected(annotation: Any) -> str:
    """What a value should have been, for a person."""
    found: list[str] = []
    for kind in members(annotation):
        if get_origin(kind) is Literal:
            found += [shown(value) for value in get_args(kind)]
        elif isinstance(kind, type) and issubclass(kind, Enum):
            found += [shown(member.value) for member in kind]
        elif kind is not NoneType:
            found.append(_LIKE.get(_name(kind), _name(kind)))
    return f"one of {', '.join(found[:20])}" if len(found) > 1 else "".join(found)


def shown(value: Any) -> str:
    """A value for a message: as JSON, cut after 40 characters."""
    if isinstance(value, str):
        text = msgspec.json.encode(value[:MAX_SHOWN].encode(errors="replace").decode()).decode()
        return f'{text[:-1]}..."' if len(value) > MAX_SHOWN else text
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, int) and value.bit_length() > 100:  # str() takes its time, and has a limit
        return "a number of many digits"
    return msgspec.json.encode(value).decode() if value is None or isinstance(value, bool) else str(value)


def _cut(key: object) -> str:
    text = str(key)
    return f"{text[:MAX_SHOWN]}..." if len(text) > MAX_SHOWN else text


# -- types


def stripped(annotation: Any) -> Any:
    """The type without what `Annotated`, NewType and `type X = ...` put around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def members(annotation: Any) -> list[Any]:
    """The types of a union, or the one type, each stripped."""
    kind = stripped(annotation)
    if get_origin(kind) in (Union, UnionType):
        return [inner for member in get_args(kind) for inner in members(member)]
    return [kind]


def is_optional(annotation: Any) -> bool:
    """Whether None is a value of it."""
    return NoneType in members(annotation)


def is_list(annotation: Any) -> bool:
    """Whether it is made of a list of values."""
    origins = [get_origin(kind) or kind for kind in members(annotation)]
    return any(isinstance(o, type) and issubclass(o, (list, set, frozenset, tuple)) for o in origins)


def is_pydantic(annotation: Any) -> bool:
    """Whether it is a pydantic model, or holds one; pydantic is not imported for that."""
    return any(
        hasattr(kind, "__pydantic_validator__") or any(map(is_pydantic, get_args(kind)))
        for kind in members(annotation)
    )


def _is_record(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        return not origin.__struct_config__.array_like
    return dataclasses.is_dataclass(origin) or is_typeddict(origin) or hasattr(origin, "model_fields")


def fields_of(kind: Any) -> list[Field] | None:
    """The fields of a Struct, a dataclass, a TypedDict or a pydantic model; None for anything else."""
    if not _is_record(kind):
        return None
    origin = get_origin(kind) or kind
    if issubclass(origin, msgspec.Struct):
        found = msgspec.structs.fields(kind)
        return [Field(f.name, f.encode_name, f.type, f.required) for f in found]
    if hasattr(origin, "model_fields"):
        aliases = {name: f.validation_alias or f.alias for name, f in origin.model_fields.items()}
        keys = {name: alias if isinstance(alias, str) else name for name, alias in aliases.items()}
        return [Field(n, keys[n], f.annotation, f.is_required()) for n, f in origin.model_fields.items()]
    hints = get_type_hints(origin, include_extras=True)
    if is_typeddict(origin):
        needed = origin.__required_keys__
        return [Field(name, name, _plain(hint), name in needed) for name, hint in hints.items()]
    missing = dataclasses.MISSING
    return [
        Field(f.name, f.name, hints[f.name], f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(origin)
        if f.init
    ]


def _plain(hint: Any) -> Any:
    """A hint of a TypedDict without Required and NotRequired."""
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
