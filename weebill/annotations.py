"""What an annotation means: a plain value, an object with fields, a list of either, a file.

Nothing here looks at a value; parameters.py decides by it where a parameter comes from, faults.py how a value
is taken apart.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
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
from uuid import UUID

import msgspec

from .habits import foreign_marker

__all__ = [
    "Field",
    "fields_of",
    "is_content",
    "is_list",
    "is_optional",
    "is_pydantic",
    "is_record",
    "is_scalar",
    "is_upload",
    "items",
    "members",
    "metadata",
    "metadata_within",
    "name_of",
    "stripped",
    "tidying",
    "types_within",
    "unreadable",
]

_SCALARS = (str, int, float, bool, Enum, date, datetime, time, timedelta, UUID, Decimal)


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


def metadata(annotation: Any) -> tuple[Any, ...]:
    """What `Annotated[...]` says of the whole, seen through `type X = Annotated[...]`."""
    found: tuple[Any, ...] = ()
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *said = get_args(annotation)
            found += tuple(said)
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return found


def metadata_within(annotation: Any) -> Iterator[Any]:
    """What `Annotated[...]` says of a part: of a member of a union, of the items of a list."""
    todo, seen = list(get_args(stripped(annotation))), set[int]()
    while todo:
        part = todo.pop()
        if id(part) not in seen:  # a type may hold itself
            seen.add(id(part))
            yield from metadata(part)
            todo += get_args(stripped(part))


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


def is_record(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        return not origin.__struct_config__.array_like
    return dataclasses.is_dataclass(origin) or is_typeddict(origin) or hasattr(origin, "model_fields")


class Field(NamedTuple):
    """A field of a class that is made of an object: `key` is its name in there."""

    name: str
    key: str
    annotation: Any
    required: bool


def fields_of(kind: Any) -> list[Field] | None:
    """The fields of a Struct, a dataclass, a TypedDict or a pydantic model; None for anything else."""
    if not is_record(kind):
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


def name_of(annotation: Any) -> str:
    """The type, for a person."""
    kind = stripped(annotation)
    return str(kind) if get_args(kind) else getattr(kind, "__name__", None) or str(kind)


# -- what it is made of


def items(annotation: Any) -> list[Any]:
    """The types of a parameter, of a list those of its items, without None."""
    found = []
    for kind in members(annotation):
        inner = (
            [i for arg in get_args(kind) if arg is not ... for i in members(arg)] if is_list(kind) else [kind]
        )
        found += [i for i in inner if i is not NoneType]
    return found


def is_scalar(annotation: Any) -> bool:
    """Whether it is made of a text, or of a list of texts."""
    if annotation is inspect.Parameter.empty:
        return False
    kinds = items(annotation)
    return bool(kinds) and all(
        get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, _SCALARS))
        for kind in kinds
    )


def is_content(annotation: Any) -> bool:
    """Whether it is made of an object, or of a list that holds more than plain values."""
    if annotation is inspect.Parameter.empty:
        return False
    if is_pydantic(annotation):
        return True
    kinds = [kind for kind in members(annotation) if kind is not NoneType]
    return bool(kinds) and all(_is_object(kind) or (is_list(kind) and not is_scalar(kind)) for kind in kinds)


def _is_object(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and (
        issubclass(origin, (msgspec.Struct, Mapping))
        or fields_of(kind) is not None
        or hasattr(origin, "__attrs_attrs__")
    )


def is_upload(kind: Any) -> bool:
    """Whether it is weebill's UploadFile. By its name: a program without uploads never imports it."""
    return isinstance(kind, type) and any(
        c.__name__ == "UploadFile" and c.__module__.startswith("weebill.") for c in kind.__mro__
    )


def types_within(annotation: Any) -> Iterator[Any]:
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
        infos = list(types_within(annotation))
        if not is_pydantic(annotation):
            msgspec.json.Decoder(annotation)  # which looks at constraints, too
    except Exception as error:
        return str(error).partition(" - type")[0]
    for info in infos:
        if type(info).__name__ == "CustomType":
            return f"{name_of(info.cls)} is no type that is known here"
        if hasattr(info, "fields"):
            hints = get_type_hints(get_origin(info.cls) or info.cls, include_extras=True)
            for field in info.fields:  # msgspec passes over what it does not know
                if foreign := foreign_marker(hints[field.name], field.default):
                    return f"its field {field.name!r} has {foreign}"
    return ""


# -- text

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
