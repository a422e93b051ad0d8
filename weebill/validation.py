"""Values from outside: JSON read strictly, values converted to types, every fault with its place.

json_reader(Item)   bytes ── msgspec, one pass ──> Item
text_reader(int)    "17"  ── msgspec.convert ────> 17
                      └─ it does not fit: find_faults() looks at the value again, field by field
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import msgspec

from .annotations import is_pydantic, tidying, types_within, unreadable
from .errors import HTTPException, ValidationError
from .faults import fault_of, find_faults, pydantic_faults

__all__ = ["completed", "decode_json", "json_reader", "pydantic_maker", "text_reader"]

MAX_DEPTH = 64  # of arrays and objects within each other

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
            first = fault_of(error, annotation, place)
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
            raise ValidationError(pydantic_faults(error, place)) from None

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
            raise ValidationError(pydantic_faults(error, place, is_secret)) from None

    return make


def completed(annotation: Any, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`read`, and what it makes has all its fields: msgspec leaves the defaults of a dataclass to the class,
    where neither `vars()` nor an encoder finds them."""
    if not any(type(info).__name__ == "DataclassType" for info in types_within(annotation)):
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
