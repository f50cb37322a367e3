"""What killed writers leave behind, removed or brought to its end at the next start."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from app.ingest.store import ENCODER_KEY
from app.jobs.places import jobs_path, slot_path
from app.jobs.slot import take_slot
from app.keys import one_writer
from gnn.encoders.base import EncoderSpec
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.durable import refusing_unwritable
from graph_store.errors import CorruptFile, DataDirBusy, ImsageError, NothingToServe
from graph_store.features import FeatureFile
from graph_store.swap import finish_interrupted

_PURPOSE = "tidy up"
_AT_ONCE = 256
_ROOMS = (".*.tmp/", "states.tmp/")
"""Folders of arrays that trainings keep aside, the last as earlier versions named it."""


def tidy_up(data_dir: DataDir, always: bool = False) -> bool:
    """Finish a swap that was cut short, and remove unfinished snapshots, temporary files, pictures that no
    image has, and feature rows that none refers to. Returns whether it is done.

    Unless `always`, it looks for them only when a writer was cut short since the last time, so a start costs
    nothing after an orderly end. While another process writes nothing is done: the next start sees to it.
    Raises Unwritable, and CorruptFile when the catalogue cannot be read.
    """
    if not always and not data_dir.untidy:
        return True
    try:
        with data_dir.lock(_PURPOSE):
            finish_interrupted(data_dir)
            _remove_temporary(data_dir)
            if data_dir.catalog_path.exists():
                _remove_unreferenced(data_dir)
            with data_dir.writing(_PURPOSE):
                data_dir.mark_tidy(_PURPOSE)
    except DataDirBusy:
        return False
    return True


def tidy_up_or_say(data_dir: DataDir) -> None:
    """The same for a server, which serves also from a directory that cannot be written, for whatever reason
    the system has.
    """
    try:
        tidy_up(data_dir)
    except (ImsageError, OSError) as error:
        structlog.get_logger().error("not_tidied_up", reason=str(error))


def _remove_temporary(data_dir: DataDir) -> None:
    """Files that are written aside and renamed: whoever writes them holds one of these locks."""
    slot = take_slot(slot_path(data_dir))
    try:
        with refusing_unwritable(data_dir.root), data_dir.writing(_PURPOSE), one_writer(data_dir):
            jobs = f".{jobs_path(data_dir).name}."
            for path in [*data_dir.root.glob(".*.tmp*"), *_below(data_dir)]:
                if path.is_file() and (slot is not None or not path.name.startswith(jobs)):
                    path.unlink(missing_ok=True)
            for name in _ROOMS:
                # The arrays of a training that was killed; one that runs would hold the lock.
                for room in [*data_dir.models_dir.rglob(name)]:
                    shutil.rmtree(room, ignore_errors=True)
    finally:
        if slot is not None:
            os.close(slot)


def _below(data_dir: DataDir) -> Iterator[Path]:
    for folder in (data_dir.features_dir, data_dir.models_dir, data_dir.blobs_dir):
        yield from folder.rglob(".*.tmp")


def _remove_unreferenced(data_dir: DataDir) -> None:
    try:
        catalog = Catalog.open(data_dir.catalog_path)
    except NothingToServe:
        return  # it was killed while the catalogue was made; the next ingestion makes it
    with catalog:
        known = {place.sha256 for place in catalog.places()}
        doubtful = [path for path in _blobs(data_dir) if _sha256_of(path) not in known]
        for start in range(0, len(doubtful), _AT_ONCE):
            # A server may write meanwhile, batch by batch: one of these may have got its image just now.
            with data_dir.writing(_PURPOSE), refusing_unwritable(data_dir.blobs_dir):
                for path in doubtful[start : start + _AT_ONCE]:
                    if not catalog.keeps_blob(_sha256_of(path)):
                        path.unlink(missing_ok=True)
        encoder = catalog.meta(ENCODER_KEY)
        if encoder is not None and catalog.next_row() > 0:
            spec = EncoderSpec.from_dict(encoder)
            with data_dir.writing(_PURPOSE):
                num_rows = catalog.next_row()
                # Where the file was lost, an ingestion that begins makes it anew, but only after this.
                with suppress(NothingToServe, CorruptFile):
                    FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim).cut(num_rows)


def _blobs(data_dir: DataDir) -> Iterator[Path]:
    """What is named as a blob is, where blobs lie: file managers and file servers leave files and folders of
    their own beside them (.DS_Store, @eaDir), which are not ours to look into or to remove.
    """
    for folder in (data_dir.blobs_dir / "thumbnails", data_dir.blobs_dir / "originals"):
        for shelf in folder.glob("[0-9a-f][0-9a-f]"):
            if shelf.is_dir():
                yield from (
                    Path(entry.path)
                    for entry in os.scandir(shelf)
                    if re.fullmatch("[0-9a-f]{64}", _sha256_of(Path(entry.name))) and entry.is_file()
                )


def _sha256_of(path: Path) -> str:
    """Blobs are named after it; see :mod:`app.ingest.blobs`."""
    return path.name.partition(".")[0]
