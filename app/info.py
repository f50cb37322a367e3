"""What is in a data directory, said in a few lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from rich.table import Table

from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import versions

_COMPLETE = 0.95


@dataclass(frozen=True)
class Summary:
    """Counts of the catalogue, the trained presets, and the snapshot that is served (None: none yet)."""

    data: str
    images: int
    held_out: int
    untagged: int
    tags: int
    skipped: int
    encoder: str | None
    presets: tuple[str, ...]
    snapshot: dict[str, Any] | None
    snapshot_problem: str
    snapshots_kept: tuple[str, ...]
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    def table(self) -> Table:
        """Two columns: what, and how much."""
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        snapshot = self.snapshot or {}
        parameters = ", ".join(f"{name} {value}" for name, value in snapshot.get("counts", {}).items())
        index = snapshot.get("parameters", {}).get("index")
        for name, value in (
            ("data directory", f"{self.data} ({self.bytes / 1e6:,.1f} MB)"),
            (
                "images",
                f"{self.images:,} of which {self.held_out:,} held out and {self.untagged:,} without tags",
            ),
            ("tags", f"{self.tags:,}{_forgotten(snapshot)}"),
            ("skipped items", f"{self.skipped:,}"),
            ("encoder", self.encoder or "none yet"),
            ("trained presets", ", ".join(self.presets) or "none yet"),
            ("served snapshot", snapshot.get("version") or self.snapshot_problem),
            ("  model", _model(snapshot)),
            ("  holds", parameters),
            ("  search index", f"{index['kind']}: {index['reason']}" if index else ""),
            ("kept snapshots", ", ".join(self.snapshots_kept) or "none"),
        ):
            if value:
                table.add_row(name, str(value))
        return table


def _model(snapshot: Mapping[str, Any]) -> str:
    """The model of a manifest in a few words; nothing where there is no snapshot."""
    model = snapshot.get("model")
    if not model:
        return ""
    best = model.get("metrics", {}).get("best")
    told = f", best validation metric {best:.4f}" if best else ""
    return f"{model['preset']}: {model['layers']} layers, {model['dim']} numbers a picture{told}"


def _forgotten(snapshot: Mapping[str, Any]) -> str:
    """How many tags pictures lack, as the model has found in training, where it is worth a word."""
    complete = snapshot.get("model", {}).get("metrics", {}).get("completeness", 1.0)
    return f"; pictures have about {complete:.0%} of those they should" if complete < _COMPLETE else ""


def describe(data_dir: DataDir) -> Summary:
    """Reads the catalogue and the manifest, not the large files. Raises NothingToServe."""
    with Catalog.open(data_dir.catalog_path) as catalog:
        encoder = catalog.meta("image_encoder")
        untagged = sum(not record.tags for record in catalog.records())
        images, held_out = catalog.count(), catalog.count("test")
        tags, skipped = len(catalog.tag_counts()), _skipped_by(_last_run(catalog))
    manifest: dict[str, Any] | None = None
    problem = ""
    try:
        manifest = Snapshot.open(data_dir, verify=False).manifest
    except ImsageError as error:
        problem = str(error)
    return Summary(
        data=str(data_dir.root),
        images=images,
        held_out=held_out,
        untagged=untagged,
        tags=tags,
        skipped=skipped,
        encoder=encoder["name"] if encoder else None,
        presets=tuple(sorted(path.parent.name for path in data_dir.models_dir.glob("*/model.safetensors"))),
        snapshot=manifest and {key: value for key, value in manifest.items() if key != "files"},
        snapshot_problem=problem,
        snapshots_kept=tuple(versions(data_dir)),
        bytes=_size_of(data_dir.root),
    )


def _size_of(folder: Path) -> int:
    """Bytes of all files in a folder. What a job removes meanwhile, as an old snapshot, does not count."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                stat = Path(place, name).stat()
                size += stat.st_size if S_ISREG(stat.st_mode) else 0
    return size


def list_skips(data_dir: DataDir) -> Iterator[str]:
    """One line for each thing that the last ingestion has seen and not stored, or stored without one of its
    tags: where, what and why.
    """
    with Catalog.open(data_dir.catalog_path) as catalog:
        for skip in catalog.skips(str(_last_run(catalog)["run"])):
            place = skip.source if skip.line is None else f"{skip.source}:{skip.line}"
            yield f"{place}\t{skip.item}\t{skip.reason}"


def _last_run(catalog: Catalog) -> Mapping[str, Any]:
    """What the last ingestion has recorded of itself; `run` is the name under which its skips are stored."""
    runs = catalog.meta("ingest_runs") or [{"run": ""}]
    last: Mapping[str, Any] = runs[-1]
    return last


def _skipped_by(run: Mapping[str, Any]) -> int:
    """How many items a run has skipped. What is stored under its name has notes on stored pictures too."""
    seen, stored, unchanged = (int(run.get(name, 0)) for name in ("seen", "stored", "unchanged"))
    return seen - stored - unchanged
