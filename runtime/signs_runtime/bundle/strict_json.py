"""Reads JSON from outside strictly: bounded in size, without duplicate keys, and typed by dataclasses."""

import json
import math
import reprlib
import types
import unicodedata
from dataclasses import Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from signs_runtime.errors import BundleFormatError

MAX_JSON_BYTES = 8 * 2**20  # a manifest with 100,000 labels takes 3 MiB
_MAX_ITEMS = 100_000  # of a list or object
_MAX_TEXT = 65_536  # characters; the longest text is the command that made the bundle
_MAX_DIGITS = 19  # of an integer: 2**63 has as many

SINCE = "schema"  # in a field's metadata: the first schema with the field; older JSON lacks it and means its default

T = TypeVar("T")


def parse_json(text: bytes | str, where: str) -> Any:  # Any: JSON
    """Parse strict JSON: no duplicate keys, no NaN, no more than MAX_JSON_BYTES. Raises BundleFormatError."""
    if len(text) > MAX_JSON_BYTES:
        raise BundleFormatError(f"{where} is larger than {MAX_JSON_BYTES:,} bytes.")

    def refuse_long(digits: str) -> int:
        if len(digits.lstrip("-")) > _MAX_DIGITS:
            raise ValueError(f"a number of {len(digits):,} digits")
        return int(digits)

    def refuse_constant(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    def refuse_infinity(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError(f"{digits:.40} is too large")
        return number

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if len(pairs) != len(unique):
            raise ValueError(f"a key occurs twice in {brief([key for key, _ in pairs])}")
        return unique

    try:
        return json.loads(
            text,
            parse_int=refuse_long,
            parse_constant=refuse_constant,
            parse_float=refuse_infinity,
            object_pairs_hook=refuse_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise BundleFormatError(f"{where} is not valid JSON ({error}).") from error


def as_json(value: Any) -> Any:  # Any: a dataclass of plain values, and JSON
    """The JSON that `from_json` reads: dataclasses as objects, without newer fields that have their default."""
    if is_dataclass(value):
        own = {each.name: each for each in fields(value)}
        given = {name: getattr(value, name) for name in own}
        return {name: as_json(item) for name, item in given.items() if not _is_spared(own[name], item)}
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    return {key: as_json(item) for key, item in value.items()} if isinstance(value, dict) else value


def _is_spared(field: "Field[Any]", value: object) -> bool:
    return SINCE in field.metadata and value == field.default


def from_json(kind: type[T], value: Any, where: str) -> T:  # Any: JSON
    """Build a `kind` (a dataclass of dataclasses, tuples, dicts and plain values) from JSON, strictly.

    Raises BundleFormatError, which names the place in the JSON.
    """
    return _from_json(kind, value, where)  # type: ignore[no-any-return]  # it follows the type hints at run time


def _from_json(kind: Any, value: Any, where: str) -> Any:  # Any: a type hint, JSON, and what the hint says
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = {field.name for field in fields(kind)}
        later = {field.name for field in fields(kind) if SINCE in field.metadata}
        if not isinstance(value, dict) or not names - later <= value.keys() <= names:
            given = sorted(value) if isinstance(value, dict) else value
            raise BundleFormatError(f"{where} must hold {sorted(names)}, not {brief(given)}.")
        return kind(**{name: _from_json(hints[name], value[name], f"{where}: {name}") for name in value})  # type: ignore[operator]  # a class, not an instance
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, list | dict | str) and len(value) > (_MAX_TEXT if isinstance(value, str) else _MAX_ITEMS):
        raise BundleFormatError(f"{where} holds {len(value):,} items or characters, more than allowed.")
    if origin is tuple and isinstance(value, list):
        return tuple(_from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {
            _from_json(str, key, f"a key of {where}"): _from_json(arguments[1], item, f"{where}: {key:.80}")
            for key, item in value.items()
        }
    if origin is Literal and value in arguments:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _from_json(arguments[0], value, where)
    if kind is float and type(value) in (int, float) and math.isfinite(value) and value >= 0:
        return float(value)
    if kind is int and type(value) is int and 0 <= value < 2**63:
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str) and is_text(value):
        return value
    raise BundleFormatError(f"{where} must be {getattr(kind, '__name__', kind)}, not {brief(value)}.")


def brief(value: object) -> str:
    """A short form of any value for a message: one line, whatever the value's size and depth."""
    return reprlib.repr(value)


def is_text(text: str) -> bool:
    """Whether this is one line of text that a terminal can show: no control characters, no broken encoding."""
    return text.isprintable() or not any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text
    )
