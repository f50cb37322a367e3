"""What all request bodies have in common: nothing is guessed and nothing unknown is let through."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Strict(BaseModel):
    """Base of all request bodies: no unknown fields, no guessing of types, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class WithoutNulls(Strict):
    """A body whose optional fields are left out when they are not wanted."""

    @model_validator(mode="after")
    def _no_nulls(self) -> Self:
        for name in sorted(self.model_fields_set):
            if getattr(self, name) is None:
                raise ValueError(f'"{name}" must not be null; leave it out')
        return self


def one_key(value: Any, names: tuple[str, ...]) -> Any:
    """Raises ValueError unless `value`, where it is an object, has exactly one of these keys."""
    given = [name for name in names if name in value] if isinstance(value, dict) else []
    if len(given) != 1 and isinstance(value, dict):
        listed = ", ".join(f'"{name}"' for name in names)
        raise ValueError(f"give exactly one of {listed}; there are {len(given)}")
    if given and value[given[0]] is None:
        raise ValueError(f'"{given[0]}" must not be null')
    return value


def one_of(*names: str) -> dict[str, Any]:
    """The same in JSON schema."""
    return {"oneOf": [{"required": [name]} for name in names]}
