"""The batch job that makes a new snapshot and swaps it in."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from gnn.catalogue_embedding import Embedded, How, embed_catalogue
from gnn.completeness import refuse_losses
from gnn.embedding import mapped_in
from gnn.encoders.base import check_same_encoder
from gnn.engines.engine import Engine, LocalEngine
from gnn.graph_data import GraphData, load_graph_data
from gnn.graph_index import (
    NEIGHBOURS,
    Earlier,
    GraphIndex,
    SavedIndex,
    chosen_index,
    index_file,
    milvus_collection,
    prototypes_of,
    refuse_codes_in_milvus,
    search_index,
)
from gnn.last_trained import trained_directory
from gnn.reuse import FORMULA, Reusable, reusable
from gnn.snapshot_parts import (
    FEATURES,
    INDEX_CHOICE,
    arrays_in,
    manifest_of,
    seal_states,
    write_features,
    write_rest,
)
from gnn.trained_model import TrainedModel, load_trained_model, model_checksum
from graph_store.catalog import Catalog
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError
from graph_store.index_choice import IndexChoice, IndexPolicy
from graph_store.milvus_server import MilvusServer
from graph_store.progress import Progress, SilentProgress
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot, SnapshotWriter, keep_whole
from graph_store.snapshot_files import OtherSchema, UnreadableFile, versions
from graph_store.snapshot_marks import has_mark, leave_mark
from graph_store.snapshot_store import SnapshotStore, StoreUnreachable
from graph_store.swap import finish_interrupted

KEEP_SNAPSHOTS = 3
REVISION = "catalogue_revision"
MARK = "catalogue_mark"
"""What the reindex left in the catalogue that it read (:mod:`graph_store.snapshot_marks`)."""

_BY_COUNT = IndexPolicy(memory=0)
_BY_DEFAULT = IndexPolicy()


def reindex(
    data_dir: DataDir,
    preset: str | None = None,
    *,
    full: bool = False,
    keep: int = KEEP_SNAPSHOTS,
    progress: Progress | None = None,
    milvus: MilvusServer | None = None,
    engine: Engine | None = None,
    store: SnapshotStore | None = None,
    policy: IndexPolicy = _BY_DEFAULT,
    device: str = "auto",
) -> Snapshot:
    """Embed the whole catalogue with a trained model into a new snapshot, and make it current.

    preset: whose model; None is the last one trained. When neither catalogue nor model nor the kind of index
    has changed since the current snapshot it is returned as it is, and when the catalogue has, only what the
    changes reach is computed again, unless `full`. The newest `keep` snapshots stay. With `milvus` the
    vectors are searched there: a collection for each snapshot, and an alias for the newest; else `policy`
    says in which index. `engine` computes the layers; None is this process. `device` is where names of tags
    are encoded. The snapshot is published to `store` last; StoreUnreachable then means that it is current
    here and not there, and the next reindex publishes it. Raises NothingToServe when no model is trained,
    EncoderMismatch when the features are of another encoder, IndexUnreachable, EngineFailed, and
    IncompleteReindex, which names images, when one would be lost; then nothing has changed.
    """
    progress = progress or SilentProgress()
    if store is not None:
        _ = store.files  # whether it can be used at all is told before the work
    with data_dir.lock("reindex"), ThreadPoolExecutor(1) as checking:
        finish_interrupted(data_dir)
        served = None if milvus is None else _served_collection(data_dir)
        directory = trained_directory(data_dir, preset)
        trained = load_trained_model(directory)
        refuse_codes_in_milvus(trained, milvus)
        # Hashing lets other threads run, so a large snapshot is checked while the catalogue is read.
        checked = None if full else checking.submit(_current, data_dir)
        data = load_graph_data(data_dir, device)
        check_same_encoder(trained.encoder, data.encoder)
        made_from: dict[str, Any] = {
            "model_sha256": model_checksum(directory),
            "formula": FORMULA,
            "data": data.fingerprint(),
            REVISION: data.revision,
        }
        if trained.preset.agreement:
            made_from["carried"] = True  # snapshots of before had no tags but the believed ones
        if milvus is not None:
            made_from["milvus"] = milvus.prefix
        choice = chosen_index(trained, len(data.ids), policy, milvus)
        current = None if checked is None else checked.result()
        kind = "" if current is None else _kind_of(current, trained, len(data.ids), milvus)
        if (
            current is not None
            and _made_from(current) == made_from
            and choice.allows(kind)
            and _has_features(current)
            and _is_searchable(current, milvus)
            and _is_followed(data_dir, current)
        ):
            # A kill may have come right after the swap.
            _clear_up(data_dir, current, keep, milvus, None)
            _publish_to(store, current, keep, progress)
            return current
        with SnapshotWriter(data_dir) as writer, ThreadPoolExecutor(1) as beside:
            features = beside.submit(write_features, writer, data)
            kept = None if current is None else reusable(current, trained, data, made_from)
            if kept is not None and choice.allows(kind):
                choice = choice.settled(kind)  # the kind that is there can grow
            with writer.scratch() as scratch:
                how = How(
                    engine=engine or LocalEngine(),
                    new_array=arrays_in(writer),
                    new_scratch=mapped_in(scratch),
                    scratch=scratch,
                    neighbours=writer.path(NEIGHBOURS),
                    kept=kept,
                )
                embedded = embed_catalogue(trained, data, data.tags_of_image, progress, how)
            states = beside.submit(seal_states, writer, embedded)
            sound = None if current is None else beside.submit(_has_features, current)
            index = _search_index(trained, embedded, choice, milvus, kept, progress)
            choice = choice.settled(index.kind)
            write_rest(writer, directory, data, embedded, index, index_file(choice.kind), progress)
            features.result()
            states.result()
            written = RecordTable.open(writer.path("records")).ids
            refuse_losses(data_dir, data, written, embedded.states.embeddings, index.size)
            marked = {**made_from, MARK: _leave_mark(data_dir)}
            snapshot = writer.commit(manifest_of(trained, data, embedded, choice, marked))
            before = current if sound is not None and sound.result() else None
        _clear_up(data_dir, snapshot, keep, milvus, before, served)
        _publish_to(store, snapshot, keep, progress)
        return snapshot


def catalogue_revision(snapshot: Snapshot) -> int:
    """The revision of the catalogue that the snapshot holds; what changed later is not in it. 0 for one that
    was made before there were revisions.
    """
    return int(snapshot.manifest["parameters"].get("made_from", {}).get(REVISION, 0))


def revision_taken_in(catalog: Catalog, snapshot: Snapshot) -> int:
    """The revision up to which the snapshot holds what this catalogue does. 0 where the catalogue was put
    back to a copy of before the snapshot: all that it remembers is news then.
    """
    revision = catalogue_revision(snapshot)
    mark = snapshot.manifest["parameters"].get("made_from", {}).get(MARK)
    # One that was made before there were marks is told by its revision, until the catalogue has passed that.
    is_of_it = revision <= catalog.revision() and (mark is None or has_mark(catalog, mark))
    return revision if is_of_it else 0


def _made_from(snapshot: Snapshot) -> dict[str, Any]:
    """What has to be the same for a snapshot to stay current."""
    recorded = snapshot.manifest["parameters"].get("made_from", {})
    return {name: value for name, value in recorded.items() if name != MARK}


def _is_followed(data_dir: DataDir, snapshot: Snapshot) -> bool:
    """Whether the catalogue can tell what comes after the snapshot."""
    with Catalog.open(data_dir.catalog_path, again=True) as catalog:
        return revision_taken_in(catalog, snapshot) == catalogue_revision(snapshot)


def _is_searchable(snapshot: Snapshot, milvus: MilvusServer | None) -> bool:
    """Whether its collection is there, where it is searched in Milvus. Raises IndexUnreachable."""
    collection = milvus_collection(snapshot)
    return milvus is None or collection is None or milvus.has(collection)


def _leave_mark(data_dir: DataDir) -> str:
    with Catalog.open(data_dir.catalog_path, again=True) as catalog:
        return leave_mark(catalog)


def _served_collection(data_dir: DataDir) -> str | None:
    """The collection in Milvus that services search in until they have moved to the next snapshot."""
    with suppress(ImsageError):
        return milvus_collection(Snapshot.open(data_dir, verify=False))
    return None


def _clear_up(
    data_dir: DataDir,
    current: Snapshot,
    keep: int,
    milvus: MilvusServer | None,
    before: Snapshot | None,
    served: str | None = None,
) -> None:
    """Keep the newest whole snapshots only. None of them needs to be told of the changes that all of them
    hold. Done again when a reindex finds nothing new, so it does not matter where the last one was killed.
    before: the one that was current, where this reindex has read all of it already; served: a collection that
    is searched in until services have moved over, and goes with the next reindex.
    """
    keep_whole(data_dir, keep, known=() if before is None else (before.version,))
    kept = []
    for version in versions(data_dir):
        with suppress(OtherSchema, UnreadableFile):
            kept.append(Snapshot.open(data_dir, version, verify=False))
    _publish(current, kept, milvus, served)
    with Catalog.open(data_dir.catalog_path, again=True) as catalog:
        catalog.forget_changes(min(map(catalogue_revision, kept)))


def _publish(
    current: Snapshot, kept: Sequence[Snapshot], milvus: MilvusServer | None, served: str | None
) -> None:
    """Let the alias name the current snapshot's collection, and drop those that no kept snapshot is searched
    in: of pruned ones, and of reindexes that were interrupted.
    """
    collection = milvus_collection(current)
    if milvus is not None and collection is not None:
        milvus.publish(collection)
        names = [served, *(milvus_collection(snapshot) for snapshot in kept)]
        milvus.drop_all_but({name for name in names if name is not None})


def _publish_to(store: SnapshotStore | None, snapshot: Snapshot, keep: int, progress: Progress) -> None:
    if store is None:
        return
    try:
        store.publish(snapshot, keep, progress)
    except StoreUnreachable as error:
        raise StoreUnreachable(
            f"The snapshot {snapshot.version} is current here, and is not published: {error.message}",
            hint=f"{error.hint} The next reindex publishes it.",
        ) from None


def build_index(
    trained: TrainedModel,
    data: GraphData,
    tags_of_image: Csr | None = None,
    progress: Progress | None = None,
    how: How | None = None,
    choice: IndexChoice | None = None,
) -> GraphIndex:
    """The same index without a snapshot; `tags_of_image` may replace the catalogue's edges. how: where its
    arrays lie, None for memory; choice: what is searched, None for the index that goes with the size.
    """
    tags = data.tags_of_image if tags_of_image is None else tags_of_image
    embedded = embed_catalogue(trained, data, tags, progress or SilentProgress(), how or How())
    choice = choice or chosen_index(trained, len(data.ids), _BY_COUNT)
    return GraphIndex(
        trained=trained,
        ids=data.ids,
        tag_names=data.tag_names,
        graph=embedded.graph,
        carried=embedded.carried,
        features=data.features,
        states=embedded.states,
        neighbours=embedded.neighbours,
        index=search_index(trained, embedded.states, choice),
        tag_text=data.tag_text,
        prototypes=prototypes_of(data.features, embedded.graph.images_of_tag),
    )


def _current(data_dir: DataDir) -> Snapshot | None:
    """The current snapshot, when there is one and all that can be kept of it is whole."""
    try:
        snapshot = Snapshot.open(data_dir, verify=False)
        snapshot.check(*(name for name in snapshot.manifest["files"] if name != FEATURES))
        snapshot.array(FEATURES.removesuffix(".npy"))  # at least an array it must be
    except ImsageError:
        return None
    return snapshot


def _has_features(snapshot: Snapshot) -> bool:
    """Whether its features are whole too, its largest file, which nothing new is made from."""
    try:
        snapshot.check(FEATURES)
    except ImsageError:
        return False
    return True


def _kind_of(current: Snapshot, trained: TrainedModel, num: int, milvus: MilvusServer | None) -> str:
    """The kind of index of a snapshot of `num` images; one that does not say it was made by count alone."""
    recorded = current.manifest["parameters"].get(INDEX_CHOICE)
    return str(recorded["kind"]) if recorded else chosen_index(trained, num, _BY_COUNT, milvus).kind


def _search_index(
    trained: TrainedModel,
    embedded: Embedded,
    choice: IndexChoice,
    milvus: MilvusServer | None,
    kept: Reusable | None,
    progress: Progress,
) -> SavedIndex:
    num = len(embedded.states.embeddings)
    with progress.phase("index", num) as advance:
        file = None if kept is None else kept.file(index_file(choice.kind))
        earlier = None
        if kept is not None and file is not None:
            row_of = kept.before.image_of.copy()
            row_of[embedded.anew] = -1
            earlier = Earlier(file, row_of, kept.only_added)
        index = search_index(trained, embedded.states, choice, milvus, earlier)
        advance(num)
    return index
