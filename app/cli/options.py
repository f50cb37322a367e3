"""The options that several commands share, so that each is named and explained in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.settings import Settings
    from graph_store.data_dir import DataDir

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        file_okay=False,
        help="The data directory. Without it: IMSAGE_DATA, the settings file, or imsage-data.",
    ),
]
Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", exists=True, help="A folder of pictures, or a tags.jsonl, CSV or COCO file."
    ),
]
Format = Annotated[
    str,
    typer.Option("--format", metavar="NAME", help="auto, jsonl, csv, coco or folder."),
]
Encoder = Annotated[
    str,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="efficientnet_lite0, efficientnet_lite0_int8, open_clip:MODEL/PRETRAINED, open_clip:MODEL@path, "
        "or precomputed:LABEL for features of your own; the label says which model made them.",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="DIR", exists=True, file_okay=False, help="COCO only: where its pictures lie."
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(
        "--features",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Your own features (NAME.npy) for --encoder precomputed. Beside it, NAME.ids.txt or .json, or "
        "ids.txt or .json, says which image each row is of.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first item that cannot be used instead of skipping it.")
]
KeepOriginals = Annotated[
    bool, typer.Option("--keep-originals", help="Copy the original files into the data directory as well.")
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Remove from the catalogue what is gone from the folder of SOURCE."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:N; else what the setting device says.",
    ),
]
_ENGINES = ("local", "ray")  # those of the two registries, which take seconds to load


def _known_engine(name: str) -> str:
    if name not in _ENGINES:
        raise typer.BadParameter(f"{name} is not an engine; use {' or '.join(_ENGINES)}")
    return name


Engine = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", callback=_known_engine, help="Where it runs: local or ray."),
]
Preset = Annotated[
    str, typer.Option("--preset", metavar="NAME", help="The model to train: default, or one of the others.")
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Change the preset's recipe, such as related=0. May be given several times. The model stands "
        "beside that of the preset, as PRESET+related=0.",
    ),
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", min=1, help="At most so many passes. Without it: the preset's own.")
]
MOST_SEED = 2**32 - 1
"""The most that numpy's old generators take; the API has the same limit."""
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=MOST_SEED, help="The same seed gives the same result.")
]


def recipe_changes(given: list[str] | None) -> dict[str, str]:
    """NAME=VALUE by name. Raises typer.BadParameter for what is not of that form."""
    changes = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint="--option")
        changes[name.strip()] = value.strip()
    return changes


def settings_for(given: Path | None) -> Settings:
    """The settings of a command, with the data directory that `--data` names."""
    from app.logs import logs_of_a_command
    from app.settings import load_settings

    logs_of_a_command()
    return load_settings(data=given)


def data_dir(given: Path | None) -> DataDir:
    """The data directory that `--data` names; without it, what the settings say."""
    return settings_for(given).data_dir
