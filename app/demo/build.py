"""Builds the demo step by step; a step that an earlier run has finished is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import RenderableType

from app.demo.drawings import CREDIT, CREDIT_OF_WORDS
from app.demo.source import STAMP, write_source
from app.ingest.pipeline import ingest
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.errors import BadInput, ImsageError
from graph_store.progress import Progress
from graph_store.snapshot import Snapshot

CREDITS_KEY = "credits"
"""Under this key the catalogue holds the line that whoever shows its pictures must show too."""

Say = Callable[[RenderableType], None]


@dataclass(frozen=True)
class _Done:
    """What earlier runs have finished: the source that was trained on, the snapshot that was measured."""

    trained_on: str = ""
    evaluated: str = ""

    @classmethod
    def read(cls, path: Path) -> _Done:
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls()  # not there, or not ours: everything is done again

    def write(self, path: Path) -> None:
        write_bytes(path, json.dumps(asdict(self)).encode())


def build_demo(data_dir: DataDir, progress: Progress, say: Say) -> Snapshot:
    """From the packaged drawings to a measured snapshot; `say` gets each line and table to show.

    Raises BadInput where the directory holds a catalogue that is not the demo's.
    """
    marks, drawn = data_dir.root / "demo.json", data_dir.root / "demo-source"
    if not (marks.exists() or drawn.exists()):
        _refuse_another_catalogue(data_dir)
    data_dir.create()
    done = _Done.read(marks)

    source = write_source(drawn, progress)
    report = ingest(source, data_dir, progress=progress)
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.set_meta(CREDITS_KEY, f"{CREDIT}. {CREDIT_OF_WORDS}.")
        held_out = catalog.count("test")
        say(f"Catalogue: {catalog.count():,} drawings, {held_out:,} of them held out to measure")
    for skip in report.skipped:
        say(f"  skipped {skip.item}: {skip.reason}")
    report.refuse_if_useless()

    # Also of what rendered the drawings: the same listing may stand beside other pictures.
    source_hash = sha256_of_file(source) + sha256_of_file(source.with_name(STAMP))
    snapshot = _current(data_dir) if done.trained_on == source_hash else None
    if snapshot is None:
        snapshot = _train_and_index(data_dir, progress, say)
        done = replace(done, trained_on=source_hash)
        done.write(marks)
    if done.evaluated != snapshot.version:
        _measure(data_dir, snapshot, progress, say)
        replace(done, evaluated=snapshot.version).write(marks)
    else:
        say(f"Built and measured before; the figures are in {data_dir.root / 'measured.json'}")
    return snapshot


def _refuse_another_catalogue(data_dir: DataDir) -> None:
    if not data_dir.catalog_path.exists():
        return
    with Catalog.open(data_dir.catalog_path) as catalog:
        if count := catalog.count():
            raise BadInput(
                f"{data_dir.root} holds a catalogue of {count:,} images, and the demo's drawings would be "
                "mixed into it",
                hint="Give the demo another directory with --data.",
            )


def _current(data_dir: DataDir) -> Snapshot | None:
    """The snapshot that an earlier run made, if it is whole and of a model that this version still reads."""
    from gnn.query import QueryEngine

    try:
        snapshot = Snapshot.open(data_dir)
        QueryEngine.open(snapshot)
    except ImsageError:
        return None
    return snapshot


def _train_and_index(data_dir: DataDir, progress: Progress, say: Say) -> Snapshot:
    # Torch and FAISS take seconds to import, so only a run that needs them does it.
    from gnn.reindex import reindex
    from gnn.training import train

    trained = train(data_dir, resume=True, progress=progress)
    say(f"Model: preset {trained.preset}, {trained.epochs} epochs in {trained.seconds:.0f} s")
    snapshot = reindex(data_dir, progress=progress)
    say(f"Snapshot: {snapshot.version}")
    return snapshot


def _measure(data_dir: DataDir, snapshot: Snapshot, progress: Progress, say: Say) -> None:
    from app.demo.measure import measure_demo

    with progress.phase("Measuring", 1) as advance:
        measured = measure_demo(data_dir, snapshot)
        advance(1)
    write_bytes(data_dir.root / "measured.json", json.dumps(measured.to_json(), indent=2).encode())
    say(measured.table())
    say(f"`imsage evaluate --data {data_dir.root}` measures beside every baseline, in some minutes")
