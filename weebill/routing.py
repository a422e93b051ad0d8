"""Patterns with typed parameters, and the table that finds the route of a request.

A pattern is text with parameters in braces: "/user/{name}", "/v{version:int}/{rest:path}". A converter is
data: what it matches, how its text becomes a value, and how a value becomes text again. The same patterns
serve events (events.py), where the text is any name instead of a path.

The table (RouteTable) answers a static path with one look-up. For any other it tries patterns in the order in
which they were registered, but only those whose segments without a parameter are all in their places. An
index (Index) finds them with one look-up for each way of placing such segments, however many patterns share
it. Which ways are looked at depends on the number of segments in the path; segment 0 is the empty one before
the first slash, -1 the last:

    3 segments    "/user/{id:int}", "/bird/{name}"    key 1        "user" -> [...], "bird" -> [...]
    4 segments    "/user/{id:int}/edit"               keys 1, 3    ("user", "edit") -> [...]
                  "/{lang}/bird/{name}"               key 2        "bird" -> [...]
    3 and more    "/files/{path:path}"                key 1        "files" -> [...]
    4 and more    "/{repository:path}/-/settings"     keys -2, -1  ("-", "settings") -> [...]

What is found is matched by its regex; where each parameter is the whole of a segment and text, as most are,
the segments are there already.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote
from uuid import UUID

from msgspec import Struct

from .errors import DuplicateRoute, PatternError
from .exchange import ENCODED_SLASH

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

__all__ = ["CONVERTERS", "Converter", "Pattern", "RouteTable", "compile_host", "compile_pattern"]

T = TypeVar("T")


class Converter(NamedTuple):
    """How a parameter is matched, read and written.

    `to_text` raises ValueError or TypeError for a value that the pattern could not match.
    """

    regex: str
    to_value: Callable[[str], Any]
    to_text: Callable[[Any], str]


def _segment(value: object) -> str:
    text = str(value)
    if not text:
        raise ValueError("must not be empty")
    return quote(text, safe="!$&'()*+,;=:@")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("is beyond every float")
    return number


def _integer(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("must be an int")
    return str(value)


def _decimal(value: Any) -> str:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return format(number, "f").rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


CONVERTERS: dict[str, Converter] = {
    "str": Converter("[^/]+", str, _segment),
    "int": Converter("-?[0-9]+", int, _integer),
    "float": Converter(r"-?[0-9]+(?:\.[0-9]+)?", _finite, _decimal),
    "uuid": Converter(
        "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", UUID, lambda v: str(UUID(str(v)))
    ),
    "path": Converter(".*", str, lambda v: quote(str(v), safe="/!$&'()*+,;=:@")),
}

_LABEL = re.compile(r"[a-z0-9_-]+")  # what stands between two dots of a host's name


def _labels(value: object) -> str:
    text = str(value).lower()
    if not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError("is no part of a host's name")
    return text


def _label(value: object) -> str:
    if "." in (text := _labels(value)):
        raise ValueError("is more than one label of a host's name")
    return text


_OF_HOSTS: dict[str, Converter] = {
    "str": Converter("[^./]+", str, _label),
    "int": CONVERTERS["int"],
    "path": Converter("[^/]+", str, _labels),
}

_PARAMETER = re.compile(r"\{([^{}]*)\}")


class Pattern(Struct, frozen=True, eq=False):
    """A compiled pattern: `match` text against it, or `fill` it with values."""

    text: str
    regex: re.Pattern[str]
    shape: str  # the regex without the names of its parameters: two of the same shape match the same texts
    converters: Mapping[str, Converter]
    pieces: tuple[str, ...]  # literal, parameter name, literal, ..., literal
    to_values: tuple[tuple[str, Callable[[str], Any]], ...]  # of the parameters that are no text
    segments: tuple[tuple[str, int], ...]  # of its parameters; none unless all are whole ones, of text

    @property
    def is_static(self) -> bool:
        """Whether it has no parameter."""
        return not self.converters

    def match(self, text: str) -> dict[str, Any] | None:
        """The parameters' values if `text` matches as a whole, else None."""
        found = self.regex.fullmatch(text)
        if found is None:
            return None
        values: dict[str, Any] = found.groupdict()
        if self.to_values:
            try:
                for name, to_value in self.to_values:
                    values[name] = to_value(values[name])
            except ValueError:  # more digits than int() takes
                return None
        return values

    def match_segments(self, path: str, segments: list[str]) -> dict[str, Any] | None:
        """The same for a path that is cut into segments, of which an index has compared the literal ones.
        PERF: most parameters are a segment as it is, and are taken without the regex."""
        numbers = self.segments
        if not numbers or segments[0]:
            return self.match(path)
        values: dict[str, Any] = {}
        for name, number in numbers:
            value = values[name] = segments[number]
            if not value:
                return None
        return values

    def fill(self, values: Mapping[str, object]) -> str:
        """The text for these values, percent-encoded. Raises ValueError that names a missing, unknown or
        unfit value."""
        if missing := [name for name in self.converters if name not in values]:
            raise ValueError(f"{self.text!r} needs a value for {', '.join(missing)}")
        if unknown := [name for name in values if name not in self.converters]:
            raise ValueError(f"{self.text!r} has no parameter {', '.join(unknown)}")
        out: list[str] = []
        for position, piece in enumerate(self.pieces):
            if position % 2 == 0:
                out.append(quote(piece, safe="/!$&'()*+,;=:@"))
                continue
            try:
                out.append(self.converters[piece].to_text(values[piece]))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{piece}={values[piece]!r} does not fit {self.text!r}: {error}") from None
        return "".join(out)


def compile_pattern(text: str, default: str = "str", known: Mapping[str, Converter] = CONVERTERS) -> Pattern:
    """Compile `text`. `default` is the converter of a parameter that names none, of those in `known`. Of
    several parameters between two slashes each but the last ends at the first occurrence of the text behind
    it.

    Raises PatternError with the fault: an unknown converter, a parameter twice, without a proper name or
    right behind another, a brace that is not closed.
    """
    pieces = _PARAMETER.split(text)
    converters: dict[str, Converter] = {}
    names: list[str] = []
    regex: list[str] = []
    shape: list[str] = []
    for position, piece in enumerate(pieces):
        if position % 2 == 0:
            if "{" in piece or "}" in piece:
                raise PatternError(f"the pattern {text!r} has a brace without its partner")
            names.append(piece)
            regex.append(re.escape(piece))
            shape.append(re.escape(piece))
            continue
        name, colon, kind = piece.partition(":")
        kind = kind if colon else default
        if not name.isidentifier():
            raise PatternError(f"the pattern {text!r} has the parameter name {name!r}; write it like user_id")
        if converters and not pieces[position - 1]:
            raise PatternError(f"the pattern {text!r} needs some text between {names[-2]!r} and {name!r}")
        if name in converters:
            raise PatternError(f"the pattern {text!r} has the parameter {name!r} twice")
        if kind not in known:
            there_are = ", ".join(known)
            raise PatternError(
                f"the pattern {text!r} has the unknown converter {kind!r}; there are {there_are}"
            )
        converters[name] = known[kind]
        names.append(name)
        inner, outer = _group(known[kind].regex, pieces[position + 1], position + 2 < len(pieces))
        regex.append(outer.format(f"(?P<{name}>{inner})"))
        shape.append(outer.format(f"({inner})"))
    to_values = tuple((name, to.to_value) for name, to in converters.items() if to.to_value is not str)
    compiled = re.compile("".join(regex), re.DOTALL)
    segments = _whole_segments(names, converters)
    return Pattern(text, compiled, "".join(shape), converters, tuple(names), to_values, segments)


def _whole_segments(
    pieces: Sequence[str], converters: Mapping[str, Converter]
) -> tuple[tuple[str, int], ...]:
    """Each parameter with the number of its segment, if they are all text between two slashes, else none."""
    numbers: list[tuple[str, int]] = []
    slashes = pieces[0].count("/")
    for before, name, behind in zip(pieces[::2], pieces[1::2], pieces[2::2], strict=False):
        if converters[name] is not CONVERTERS["str"] or before[-1:] != "/" or behind[:1] not in ("", "/"):
            return ()
        numbers.append((name, slashes))
        slashes += behind.count("/")
    return tuple(numbers) if pieces[0].startswith("/") else ()


def compile_host(text: str) -> Pattern:
    """Compile the pattern of a host's name: "api.example.com", "{tenant}.example.com". A parameter is what
    stands between two dots, `{name:path}` one such part or several. Matches names in lower case.

    Raises PatternError for what cannot be in a name; a port, for one, is not told apart.

    >>> from weebill.routing import compile_host
    >>> compile_host("{tenant}.Example.com").match("acme.example.com")
    {'tenant': 'acme'}
    """
    pieces = _PARAMETER.split(text)
    if bad := re.search(r"[^a-zA-Z0-9._-]", "".join(pieces[::2])):
        hint = {"*": "a wildcard is a parameter: {name}", ":": "the port does not count"}.get(bad[0])
        hint = hint or ("write the name as in DNS, xn--..." if not bad[0].isascii() else "a name has none")
        raise PatternError(f"the host {text!r} has {bad[0]!r}; {hint}")
    lower = "".join(
        f"{{{piece}}}" if position % 2 else piece.lower() for position, piece in enumerate(pieces)
    )
    return compile_pattern(lower, known=_OF_HOSTS)


def _group(regex: str, behind: str, has_more: bool) -> tuple[str, str]:
    """What a parameter with the literal text `behind` it takes, and the group around that. One that could be
    followed by another in the same stretch of text ends at the first occurrence of that literal, for good: if
    each could give back what it took, a text could be made for which that takes for ever."""
    stretch, ends = {"[^/]+": ("[^/]", "/"), ".*": (".", ""), "[^./]+": ("[^./]", "./")}.get(regex, ("", ""))
    if not stretch or not has_more or any(end in behind for end in ends):
        return regex, "{}"
    return f"(?:(?!{re.escape(behind)}){stretch}){regex[-1]}", "(?>{})"


# A pattern in its turn, and its routes by method.
Entry = tuple[int, Pattern, dict[str, T]]
# Those segments of a path that stand in certain places; and the patterns that have such segments there.
Places = tuple[Callable[[list[str]], "Hashable"], dict["Hashable", list[Entry[T]]]]

_WITHIN = frozenset(converter.regex for name, converter in CONVERTERS.items() if name != "path")


class Index(Generic[T]):
    """Finds the patterns that a path can match, see the top of this file.

    A path with many slashes costs no more than its length, and at most one look-up for each pattern.
    """

    def __init__(self) -> None:
        self._size = 0
        self._places: dict[tuple[tuple[int, ...], int, bool], Places[T]] = {}
        # By number of segments. The last item is for all that are longer than any pattern, so it holds only
        # places of patterns with a parameter that spans segments; and as the list grows, so do its copies.
        self._by_length: list[list[Places[T]]] = [[]]

    def add(self, pattern: Pattern, by_method: dict[str, T]) -> None:
        segments, numbers, is_open = _literal_segments(pattern)
        places = self._places.get((numbers, len(segments), is_open))
        if places is None:
            places = (itemgetter(*numbers) if numbers else bool, {})  # bool: True, for every path
            self._places[numbers, len(segments), is_open] = places
            while len(self._by_length) < len(segments) + 2:
                self._by_length.append(list(self._by_length[-1]))
            for of_length in self._by_length[len(segments) : None if is_open else len(segments) + 1]:
                of_length.append(places)
        key, entries = places
        entries.setdefault(key(segments), []).append((self._size, pattern, by_method))
        self._size += 1

    def candidates(self, segments: list[str]) -> list[Entry[T]]:
        """The patterns that a path of these segments can match, in the order in which they were added."""
        lengths, count = self._by_length, len(segments)
        found: list[Entry[T]] | None = None
        for key, entries in lengths[count if count < len(lengths) else -1]:
            if (more := entries.get(key(segments))) is not None:
                found = more if found is None else sorted(found + more, key=_turn)
        return found or []


_turn = itemgetter(0)


def _literal_segments(pattern: Pattern) -> tuple[list[str], tuple[int, ...], bool]:
    """The segments of a pattern, which of them are literal text, and whether a path may have more than these.

    Those behind a parameter that spans segments are counted from the end, and those between two such stand
    nowhere for sure. What comes before the first slash, nothing as a rule, is left to the regex.
    """
    segments = [""]
    with_parameter: set[int] = set()
    spanning: list[int] = []
    for position, piece in enumerate(pattern.pieces):
        if position % 2 == 0:
            first, *more = piece.split("/")
            segments[-1] += first
            segments += more
            continue
        with_parameter.add(len(segments) - 1)
        if pattern.converters[piece].regex not in _WITHIN:
            spanning.append(len(segments) - 1)
    count = len(segments)
    before, behind = (spanning[0], spanning[-1]) if spanning else (count, count)
    literal = [n for n in range(1, count) if n not in with_parameter]
    numbers = (*(n for n in literal if n < before), *(n - count for n in literal if n > behind))
    return segments, numbers, bool(spanning)


class RouteTable(Generic[T]):
    """The table from method and path to a route of any kind.

    HEAD is answered by the route of GET where it has none of its own.
    """

    def __init__(self) -> None:
        self._static: dict[str, dict[str, T]] = {}
        self._shapes: dict[str, list[tuple[Pattern, dict[str, T]]]] = {}
        self._dynamic: Index[T] = Index()

    def add(self, pattern: Pattern, methods: Iterable[str], route: T) -> None:
        """Register. Raises DuplicateRoute if a method has a pattern that matches the same already."""
        alike = [by_method for _, by_method in self._shapes.get(pattern.shape, ())]
        new: dict[str, T] = {}
        for method in methods:
            for by_method in (*alike, self._static.get(pattern.text, new), new):
                if (other := by_method.get(method)) is not None:
                    raise DuplicateRoute(f"{method} {pattern.text} is registered twice: {other} and {route}")
            new[method] = route
        self._entry(pattern).update(new)

    def _entry(self, pattern: Pattern) -> dict[str, T]:
        if pattern.is_static:
            return self._static.setdefault(pattern.text, {})
        alike = self._shapes.setdefault(pattern.shape, [])
        for known, by_method in alike:
            if tuple(known.converters) == tuple(pattern.converters):
                return by_method
        # The same shape with other names is an entry of its own: values are handed over by name.
        alike.append((pattern, {}))
        self._dynamic.add(*alike[-1])
        return alike[-1][1]

    def match(self, method: str, path: str) -> tuple[T, dict[str, Any]] | None:
        """The route of a decoded path (see exchange.decode_path) and the values of its parameters."""
        by_method = self._static.get(path)
        if by_method is not None:
            route = by_method.get(method)
            if route is None and method == "HEAD":
                route = by_method.get("GET")
            if route is not None:
                return route, {}
        segments = path.split("/")
        for _, pattern, by_method in self._dynamic.candidates(segments):
            route = by_method.get(method)
            if route is not None and (params := pattern.match_segments(path, segments)) is not None:
                if ENCODED_SLASH in path:
                    params = {name: _with_slashes(value) for name, value in params.items()}
                return route, params
        return self.match("GET", path) if method == "HEAD" else None

    def at(self, path: str) -> list[tuple[dict[str, T], dict[str, Any]]]:
        """All that is registered for this path, whatever the method: routes by method, and the values of
        their parameters."""
        found: list[tuple[dict[str, T], dict[str, Any]]] = []
        if path in self._static:
            found.append((self._static[path], {}))
        segments = path.split("/")
        for _, pattern, by_method in self._dynamic.candidates(segments):
            if (params := pattern.match_segments(path, segments)) is not None:
                found.append((by_method, {name: _with_slashes(value) for name, value in params.items()}))
        return found


def _with_slashes(value: Any) -> Any:
    return value.replace(ENCODED_SLASH, "/") if isinstance(value, str) else value
