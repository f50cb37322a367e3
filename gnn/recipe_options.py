"""Changes to a preset's recipe: from the command line, and back from the file of a trained model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from gnn.presets import Preset, preset_named
from graph_store.errors import UnknownName, WrongUsage


@dataclass(frozen=True)
class RecipeOption:
    """``place``: the part of the recipe, "" for the preset itself, and the field in it. ``choices``: the
    words it takes, where it takes words; otherwise numbers from ``least``.
    """

    place: tuple[str, str]
    least: float = 0.0
    choices: tuple[str, ...] = ()


OPTIONS = {
    "neighbours": RecipeOption(("graph", "neighbours"), 1),
    "threshold": RecipeOption(("graph", "threshold"), -1),
    "related": RecipeOption(("graph", "related")),
    "agreement": RecipeOption(("", "agreement")),
    "alpha": RecipeOption(("rise", "alpha")),
    "normaliser": RecipeOption(("rise", "normaliser"), choices=("edges", "degree")),
    "ranking": RecipeOption(("rise", "ranking")),
    "attention": RecipeOption(("rise", "attention")),
}
"""By the name that `imsage train --option NAME=VALUE` takes."""


def with_options(preset: Preset, changes: Mapping[str, str]) -> Preset:
    """The preset with some options set. Raises UnknownName for one that there is not, WrongUsage for one that
    this preset does not have and for a value that it cannot take.
    """
    for name, text in changes.items():
        if name not in OPTIONS:
            raise UnknownName(f"There is no option {name!r}", hint=f"Known: {', '.join(OPTIONS)}.")
        option = OPTIONS[name]
        part, field = option.place
        owner: Any = getattr(preset, part) if part else preset
        if owner is None:
            raise WrongUsage(
                f"Preset {preset.name!r} has no option {name!r}",
                hint=f"It has: {', '.join(options_of(preset))}.",
            )
        changed: Any = replace(owner, **{field: _value(name, option, text, getattr(owner, field))})
        whole: dict[str, Any] = {part: changed}
        preset = replace(preset, **whole) if part else changed
    return preset


def variant_of(preset: Preset) -> str:
    """What a trained preset is called beside others: its name, and what its recipe has otherwise than the
    preset of that name, `default+agreement=2`.
    """
    usual = preset_named(preset.name)
    changed = [
        f"{name}={_setting(preset, option)}"
        for name, option in OPTIONS.items()
        if _setting(preset, option) != _setting(usual, option)
    ]
    return "+".join([preset.name, *changed])


def training_of(variant: str) -> str:
    """The command that trains it."""
    name, *changed = re.split(r"\+(?=[a-z]+=)", variant)  # a number may have a plus in it
    return " ".join([f"imsage train --preset {name}", *(f"--option {each}" for each in changed)])


def _setting(preset: Preset, option: RecipeOption) -> Any:
    part, field = option.place
    owner: Any = getattr(preset, part) if part else preset
    return None if owner is None else getattr(owner, field)


def options_of(preset: Preset) -> tuple[str, ...]:
    """The names of the options that the preset has."""
    return tuple(
        name
        for name, option in OPTIONS.items()
        if not option.place[0] or getattr(preset, option.place[0]) is not None
    )


def with_recipe(preset: Preset, recorded: Mapping[str, Any]) -> Preset:
    """The preset as a model's file records it; what the file does not name stays as the preset has it."""
    changes: dict[str, Any] = {}
    for field in fields(preset):
        now: Any = getattr(preset, field.name)
        then = recorded.get(field.name, now)
        if is_dataclass(now) and isinstance(then, Mapping):
            known = {each.name for each in fields(now)}
            part: Any = now
            then = replace(part, **{key: value for key, value in then.items() if key in known})
        changes[field.name] = then
    return replace(preset, **changes)


def _value(name: str, option: RecipeOption, text: str, now: Any) -> Any:
    if option.choices:
        if text not in option.choices:
            raise WrongUsage(f"{name} cannot be {text!r}", hint=f"It is one of: {', '.join(option.choices)}.")
        return text
    try:
        value = type(now)(text)
    except ValueError:
        value = float("nan")
    if not option.least <= value < float("inf"):
        kind = "whole number" if isinstance(now, int) else "number"
        raise WrongUsage(f"{name} cannot be {text!r}", hint=f"It is a {kind} of at least {option.least:g}.")
    return value
