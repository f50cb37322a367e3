"""Compares everything in a data directory with what it should be: stored files, pictures and models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

from app.ingest.blobs import is_whole_thumbnail, original_path, thumbnail_path
from app.ingest.store import ENCODER_KEY
from app.jobs.places import jobs_path
from app.jobs.store import JobStore
from app.keys import keys_path, read_keys
from gnn.encoders.base import EncoderSpec
from graph_store import verify as store
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, ImsageError
from graph_store.progress import Progress


def verify_data_dir(data_dir: DataDir, progress: Progress) -> list[str]:
    """Everything that is wrong, one line each; empty when all is well. It changes nothing and takes no lock.

    One run names all problems. Raises NothingToServe when there is no catalogue at all.
    """
    with progress.phase("Catalogue, features, snapshots", 1) as advance:
        found = store.verify_data_dir(data_dir, _features_in_use(data_dir))
        problems = [f"{problem.path}: {problem.reason}" for problem in found]
        advance(1)
    with progress.phase("Models", 1) as advance:
        problems += _models(data_dir)
        advance(1)
    problems += _other_files(data_dir)
    with progress.phase("Pictures", 1) as advance:
        problems += _pictures(data_dir)
        advance(1)
    return problems


def _features_in_use(data_dir: DataDir) -> str | None:
    """The slug of the feature file that the catalogue refers to; None where it does not say."""
    try:
        with Catalog.open(data_dir.catalog_path) as catalog:
            encoder = catalog.meta(ENCODER_KEY)
    except CorruptFile:
        return None
    return None if encoder is None else EncoderSpec.from_dict(encoder).slug


def _models(data_dir: DataDir) -> Iterator[str]:
    # PyTorch takes seconds to load, and there may be no model.
    from gnn.checkpoint import load_checkpoint
    from gnn.last_trained import last_path, trained_directory
    from gnn.trained_model import CONFIG, MODEL, shown_config

    for path in sorted(data_dir.models_dir.glob("*/*.safetensors")):
        try:
            meta = load_checkpoint(path).meta
        except (CorruptFile, OSError) as error:
            yield f"{path}: {error}"
            continue
        config = path.with_name(CONFIG)
        if path.name == MODEL and (not config.is_file() or config.read_bytes() != shown_config(meta)):
            yield f"{config}: it does not say what {MODEL} beside it says; train again"
    if last_path(data_dir).exists() or any(data_dir.models_dir.glob(f"*/{MODEL}")):
        try:
            trained_directory(data_dir, None)
        except ImsageError as error:
            yield str(error)


def _other_files(data_dir: DataDir) -> Iterator[str]:
    try:
        read_keys(keys_path(data_dir))
    except ImsageError as error:
        yield str(error)
    try:
        with closing(JobStore(jobs_path(data_dir))) as jobs:
            jobs.check()
    except ImsageError as error:
        yield str(error)


def _pictures(data_dir: DataDir) -> Iterator[str]:
    try:
        with Catalog.open(data_dir.catalog_path) as catalog:
            ids = {record.sha256: record.id for record in catalog.records() if record.sha256 is not None}
    except CorruptFile:
        return  # the catalogue itself is among the problems already
    lacking: list[str] = []
    for sha256, image_id in ids.items():
        try:
            thumbnail, original = thumbnail_path(data_dir, sha256), original_path(data_dir, sha256)
        except CorruptFile as error:
            yield f"{error}, {image_id!r}"
            continue
        if not is_whole_thumbnail(thumbnail):
            lacking.append(sha256)
        with suppress(FileNotFoundError):  # a service may remove it while it is read
            if original.is_file() and sha256_of_file(original) != sha256:
                yield f"{original}: the original of {image_id!r} was altered"
    for sha256 in _kept(data_dir, lacking):
        thumbnail = thumbnail_path(data_dir, sha256)
        what = "not whole" if thumbnail.exists() else "missing"
        yield f"{thumbnail}: the thumbnail of {ids[sha256]!r} is {what}; ingest its source again"


def _kept(data_dir: DataDir, digests: Sequence[str]) -> Iterator[str]:
    """Those of which the catalogue still has a picture: a service beside may have removed others, and their
    files, since all were listed.
    """
    if not digests:
        return
    try:
        with Catalog.open(data_dir.catalog_path, again=True) as catalog:
            kept = [sha256 for sha256 in digests if catalog.keeps_blob(sha256)]
    except CorruptFile:
        kept = list(digests)
    yield from kept
