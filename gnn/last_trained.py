"""Which of the trained models is the last: `models/LAST` names its preset, so no file's time is asked."""

from __future__ import annotations

from pathlib import Path

from gnn.presets import preset_named
from gnn.recipe_options import training_of
from gnn.trained_model import MODEL
from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.errors import CorruptFile, NothingToServe


def last_path(data_dir: DataDir) -> Path:
    """The small file that names the preset."""
    return data_dir.models_dir / "LAST"


def note_last(data_dir: DataDir, preset: str) -> None:
    """Write down that the preset has just been trained. Raises Unwritable."""
    write_bytes(last_path(data_dir), f"{preset}\n".encode())


def last_trained(data_dir: DataDir) -> str | None:
    """What the file says; None where there is none. Raises CorruptFile when it was cut short."""
    path = last_path(data_dir)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if not text.endswith("\n"):
        raise CorruptFile(f"{path} does not name a preset", path=path, hint="Train again.")
    return text.removesuffix("\n")


def trained_directory(data_dir: DataDir, preset: str | None) -> Path:
    """Where the preset's model is; None is the last one trained. Raises NothingToServe, CorruptFile, and
    UnknownName when there is no model of that name and no such preset to train.
    """
    if preset is not None:
        if preset not in _trained(data_dir):
            preset_named(preset.partition("+")[0])
        return _of(
            data_dir,
            preset,
            f"Preset {preset!r} has not been trained on {data_dir.root}",
            f"Run {training_of(preset)} first.",
        )
    found = list(data_dir.models_dir.glob(f"*/{MODEL}"))
    if not found:
        raise NothingToServe(f"{data_dir.root} has no trained model", hint="Run imsage train first.")
    last = last_trained(data_dir)
    if last is not None:
        return _of(
            data_dir,
            last,
            f"{last_path(data_dir)} names preset {last[:60]!r}, of which there is no model",
            "Train again, or name a preset with --preset.",
        )
    # Models of an imsage that did not note it: their times are all there is to go by.
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.parent.name)).parent


def _of(data_dir: DataDir, preset: str, problem: str, hint: str) -> Path:
    trained = _trained(data_dir)
    if preset not in trained:
        raise NothingToServe(problem, hint=hint)
    return trained[preset]


def _trained(data_dir: DataDir) -> dict[str, Path]:
    """The folders of all models, by preset."""
    return {path.parent.name: path.parent for path in data_dir.models_dir.glob(f"*/{MODEL}")}
