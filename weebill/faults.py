"""Everything that is wrong with a value, each fault with its place: "body.items[2].price".

msgspec stops at the first fault. When there is one, the value is compared with its type part by part; that
has a bound (`MAX_LOOKED_AT`), so that a bad request costs little more than a good one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from itertools import islice
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from .annotations import Field, fields_of, is_record, members, name_of, stripped, tidying
from .errors import MAX_FAULTS, Fault

__all__ = ["fault_of", "find_faults", "pydantic_faults", "shown"]

MAX_LOOKED_AT = 10_000  # values that are looked at for faults
MAX_SHOWN = 40  # characters of a value in a message

# Names of what is shown to nobody, not even to who has sent it: an answer is kept in logs and on screens.
_SECRET = re.compile(r"passw|passphrase|passcode|secret|token|api[_-]?key|credential|authoriz", re.IGNORECASE)

LISTS = (list, set, frozenset, tuple, Collection)


def find_faults(
    value: Any, annotation: Any, place: str, strict: bool = True, is_secret: bool = False
) -> list[Fault]:
    """Everything that keeps `value`, made of plain values, from being an `annotation`.

    `strict` False reads texts as numbers and the like; `is_secret` shows no value, and none is shown whose
    place sounds like a secret. At most 100 are found.
    """
    search = _Search(strict, is_secret)
    search.look(value, annotation, place)
    return search.faults


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
        if not is_record(kind):  # it is a mapping
            item_kind = args[1] if len(args) == 2 else Any
            for key, item in islice(value.items(), self.left + 1):
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
            known = {field.key for field in fields} | {config.tag_field}
            for key in islice((key for key in value if key not in known), MAX_FAULTS):
                self._add(f"{place}.{_cut(key)}", "unknown")

    def _convert(self, value: Any, annotation: Any, place: str) -> None:
        try:
            if not self.strict and (tidy := tidying(annotation)) is not None and isinstance(value, str):
                value = tidy(value)
            msgspec.convert(value, annotation, strict=self.strict, str_keys=True)
        except msgspec.ValidationError as error:
            is_secret = self.is_secret or _SECRET.search(place)
            self.faults.append(fault_of(error, annotation, place, *([] if is_secret else [value])))

    def _add(self, place: str, message: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(place, message))


def _is_made_of(value: Any, kind: Any) -> bool:
    """Whether the parts of `value` are the parts of a `kind`."""
    origin = get_origin(kind) or kind
    if isinstance(value, list):
        return isinstance(origin, type) and issubclass(origin, LISTS) and not _is_mapping(origin)
    return isinstance(value, dict) and (_is_mapping(origin) or is_record(kind))


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


def fault_of(error: msgspec.ValidationError, annotation: Any, place: str, *value: Any) -> Fault:
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
            found.append(_LIKE.get(name_of(kind), name_of(kind)))
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


def pydantic_faults(error: Any, place: str, is_secret: bool = False) -> list[Fault]:
    """The faults that pydantic has found."""
    if error.error_count() > MAX_LOOKED_AT:  # it can only tell of all of them
        return [Fault(place, f"{error.error_count()} values do not fit")]
    found = []
    for each in error.errors(include_url=False, include_context=False)[:MAX_FAULTS]:
        parts = [f"[{part}]" if isinstance(part, int) else f".{_cut(part)}" for part in each["loc"]]
        where = place + "".join(parts)
        text = each["msg"][:1].lower() + each["msg"][1:]
        if each["type"] == "missing":
            text = "missing"
        elif not is_secret and not _SECRET.search(where):
            text = f"{text}, got {shown(each['input'])}"
        found.append(Fault(where, text))
    return found
