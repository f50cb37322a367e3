"""JSON into the dataclasses of an answer, by their type hints."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read(kind: type[T], value: Any) -> T:
    """`value`, a parsed JSON object, as the dataclass `kind`; unknown fields are left out.

    Raises ValueError when a field that has no default is missing or a value is not of its kind.
    """
    made: T = _read(kind, value, kind.__name__)
    return made


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _read_object(kind, value, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        return _read(next(one for one in inner if one is not NoneType), value, where)
    if origin is tuple:
        return tuple(_read(inner[0], one, f"{where}[]") for one in _checked(list, value, where))
    if origin is Mapping:
        return {
            name: _read(inner[1], one, f"{where}.{name}")
            for name, one in _checked(dict, value, where).items()
        }
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _checked(kind, value, where)


def _read_object(kind: Any, value: Any, where: str) -> Any:
    given = _checked(dict, value, where)
    known = _hints(kind)
    try:
        return kind(
            **{name: _read(known[name], given[name], f"{where}.{name}") for name in known if name in given}
        )
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _checked(kind: type[T], value: Any, where: str) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{where}: {value!r} is no {kind.__name__}")
    return value


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
