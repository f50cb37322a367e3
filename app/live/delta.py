"""What differs between the catalogue and a snapshot, ready to be searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gnn.attachments import Attachments
from gnn.live import LivePictures, rows_without
from gnn.query import QueryEngine
from graph_store.arrays import Float32Array, Int64Array
from graph_store.catalog_changes import Changes
from graph_store.csr import Csr
from graph_store.record_table import fragment_of
from graph_store.records import LEAST_WEIGHT, MOST_WEIGHT, ImageRecord

_AT_ONCE = 512
"""Pictures attached in one go: their features and states fit into memory, whatever the delta's size."""


@dataclass(frozen=True, eq=False)
class DeltaImage:
    """One picture beside the snapshot; `fragment` is what a hit shows of it, as JSON; `carried`: the numbers
    of those of its tags that the snapshot knows; `unchanged`: the snapshot's row of the same picture, where
    it looks and is tagged as it was and only its attributes or its caption differ.
    """

    record: ImageRecord
    revision: int
    fragment: bytes
    carried: Int64Array
    unchanged: int | None


@dataclass(frozen=True, eq=False)
class Delta:
    """The pictures that were added or changed after the revision `since` of a snapshot, and its rows that do
    not hold any more; up to `revision`. Nothing in it changes: `after` makes the next one.

    images[i] is that of pictures.rows[i], by rising revision. `replaced` of them stand for one of the
    snapshot. `meant` remembers what tags stand for.
    """

    since: int
    revision: int
    images: tuple[DeltaImage, ...]
    pictures: LivePictures
    replaced: int = 0
    meant: dict[str, list[tuple[int, float]]] = field(default_factory=dict, repr=False)

    @classmethod
    def empty(cls, engine: QueryEngine, since: int) -> Delta:
        """No difference."""
        nothing: Int64Array = np.zeros(0, dtype=np.int64)
        vectors = engine.image_vectors(nothing)
        pictures = LivePictures(
            (), nothing, vectors, Csr.empty(0), Csr.empty(0), _nothing, _nothing, nothing, nothing
        )
        return cls(since, since, (), pictures)

    @property
    def is_empty(self) -> bool:
        """Whether the snapshot alone says it all."""
        return not self.images and not len(self.pictures.removed)

    @property
    def deleted(self) -> int:
        """How many pictures of the snapshot are gone without another in their place."""
        return len(self.pictures.removed) - self.replaced

    def after(self, engine: QueryEngine, changes: Changes, features: Float32Array) -> Delta:
        """With further changes. engine: the snapshot's own; features: of the whole catalogue, by feature row,
        possibly a memory map. A picture without a row there is not searchable.
        """
        kept = [place for place, image in enumerate(self.images) if image.record.id not in changes.by_id]
        new = [
            DeltaImage(
                change.record,
                change.revision,
                fragment_of(change.record),
                _carried(engine, change.record),
                _unchanged(engine, change.record, features),
            )
            for change in changes.by_id.values()
            if change.record is not None
            and change.record.split == "train"
            and change.record.row < len(features)
        ]
        rows = (engine.row_of(image_id) for image_id in changes.by_id)
        removed = {row for row in rows if row is not None}.union(self.pictures.removed.tolist())
        images = (*(self.images[place] for place in kept), *new)
        unheard = np.array(sorted(removed - {image.unchanged for image in images}), dtype=np.int64)
        # As a question is: only to what may still be heard.
        attachments = replace(engine.attachments, kept=rows_without(unheard, len(engine.image_ids)))
        anew = self._attached_otherwise(attachments, kept, unheard, features)
        pictures = self._joined(engine, attachments, kept, anew, new, features)
        return Delta(
            since=self.since,
            revision=changes.revision,
            images=images,
            pictures=LivePictures(
                ids=tuple(image.record.id for image in images),
                rows=_rows(images, self.since, len(engine.image_ids)),
                embeddings=pictures[0],
                similar=pictures[1],
                tags=pictures[2],
                features=_features_of(images, features),
                carried=lambda place: images[place].carried,
                removed=np.array(sorted(removed), dtype=np.int64),
                unheard=unheard,
            ),
            replaced=sum(engine.row_of(image.record.id) is not None for image in images),
            meant=self.meant,
        )

    def _attached_otherwise(
        self, attachments: Attachments, kept: list[int], unheard: Int64Array, features: Float32Array
    ) -> list[int]:
        """Those of the kept places whose pictures get other neighbours with these rows unheard: the
        neighbours follow from the catalogue alone, not from the order in which it was written.
        """
        before = self.pictures.unheard
        gone, back = np.setdiff1d(unheard, before), np.setdiff1d(before, unheard)
        places = np.array([place for place in kept if self.images[place].unchanged is None], dtype=np.int64)
        similar = self.pictures.similar.take(places)
        anew = np.zeros(len(places), dtype=np.bool_)
        anew[similar.edge_rows()[np.isin(similar.indices, gone)]] = True
        for start in range(0, len(places) if len(back) else 0, _AT_ONCE):
            part = np.arange(start, min(start + _AT_ONCE, len(places)))
            rows = [self.images[place].record.row for place in places[part]]
            looks = np.array(features[rows], dtype=np.float32)
            anew[part] |= attachments.may_join(looks, similar.take(part), back)
        found: list[int] = places[anew].tolist()
        return found

    def _joined(
        self,
        engine: QueryEngine,
        attachments: Attachments,
        kept: list[int],
        anew: list[int],
        new: Sequence[DeltaImage],
        features: Float32Array,
    ) -> tuple[Float32Array, Csr, Csr]:
        """Embeddings, `similar` edges and tag edges of the kept pictures, of which those in the places `anew`
        are attached again, then of the new ones.
        """
        before = self.pictures
        same = sorted(set(kept).difference(anew))
        attached = [*(self.images[place] for place in anew), *new]
        embeddings = [before.embeddings[same]]
        similar, tags = [_taken(before.similar, same)], [_taken(before.tags, same)]
        for start in range(0, len(attached), _AT_ONCE):
            part = attached[start : start + _AT_ONCE]
            vectors, joined, told = self._attached(engine, attachments, part, features)
            embeddings.append(vectors)
            similar.append(joined)
            tags.append(told)
        vectors, joined, told = np.concatenate(embeddings), _stacked(similar), _stacked(tags)
        if not anew:
            return vectors, joined, told
        places = [*same, *anew, *range(len(self.images), len(self.images) + len(new))]
        order = np.argsort(places)
        return vectors[order], joined.take(order), told.take(order)

    def _attached(
        self,
        engine: QueryEngine,
        attachments: Attachments,
        images: Sequence[DeltaImage],
        features: Float32Array,
    ) -> tuple[Float32Array, Csr, Csr]:
        """The same of new ones. What is unchanged has those of the snapshot, so it scores as it did."""
        rows = np.array([image.unchanged for image in images if image.unchanged is not None], dtype=np.int64)
        changed = [image for image in images if image.unchanged is None]
        told = self._tag_edges(engine, changed)
        vectors, similar = attachments.pictures(
            np.array(features[[image.record.row for image in changed]], dtype=np.float32), told
        )
        place = np.argsort(np.argsort([image.unchanged is None for image in images], kind="stable"))
        return (
            np.concatenate([engine.image_vectors(rows), vectors])[place],
            _stacked([engine.graph.similar.take(rows), similar]).take(place),
            _stacked([engine.graph.tags_of_image.take(rows), told]).take(place),
        )

    def _tag_edges(self, engine: QueryEngine, images: Sequence[DeltaImage]) -> Csr:
        """For each picture the tags of the snapshot that its own are or, where they are new, mean."""
        degrees: list[int] = []
        numbers: list[int] = []
        weights: list[float] = []
        for image in images:
            edges: dict[int, float] = {}
            for tag in image.record.tags:
                weight = _stored_weight(tag.weight)
                meant = self.meant.get(tag.name)
                if meant is None:
                    meant = self.meant[tag.name] = engine.tags_meant(tag.name)
                for number, share in meant:
                    edges[number] = edges.get(number, 0.0) + weight * share
            degrees.append(len(edges))
            numbers.extend(edges)
            weights.extend(edges.values())
        return Csr.from_rows(degrees, numbers, weights)


class _FeaturesOf:
    """Features by place, read when they are asked for: a query by features is rare, and they are large."""

    def __init__(self, rows: Sequence[int], features: Float32Array) -> None:
        self._rows = rows
        self._features = features

    def __call__(self, place: int) -> Float32Array:
        return np.array(self._features[self._rows[place]], dtype=np.float32)


def _features_of(images: Sequence[DeltaImage], features: Float32Array) -> _FeaturesOf:
    return _FeaturesOf([image.record.row for image in images], features)


def _carried(engine: QueryEngine, record: ImageRecord) -> Int64Array:
    numbers = (engine.tag_number(tag.name) for tag in record.tags)
    return np.array([number for number in numbers if number is not None], dtype=np.int64)


def _unchanged(engine: QueryEngine, record: ImageRecord, features: Float32Array) -> int | None:
    row = engine.row_of(record.id)
    if row is None:
        return None
    numbers, weights = engine.carried.of_image.row(row)
    had = dict(zip(numbers.tolist(), weights.tolist(), strict=True))
    has = {engine.tag_number(tag.name): _stored_weight(tag.weight) for tag in record.tags}
    is_same = has == had and np.array_equal(features[record.row], engine.image_features(row))
    return row if is_same else None


def _stored_weight(weight: float) -> float:
    """As in ImageTable.has."""
    return float(np.float32(min(max(weight, LEAST_WEIGHT), MOST_WEIGHT)))


def _nothing(place: int) -> Any:
    raise IndexError(f"there is no picture {place}")


def _rows(images: Sequence[DeltaImage], since: int, num_base: int) -> Int64Array:
    """A row follows from the revision alone, so it is the same in every worker and after every start."""
    return np.array([num_base + image.revision - since - 1 for image in images], dtype=np.int64)


def _taken(edges: Csr, rows: Sequence[int]) -> Csr:
    """Those rows of a relation."""
    if len(rows) == edges.num_rows:
        return edges
    parts = [edges.row(row) for row in rows]
    return Csr.from_rows(
        [len(indices) for indices, _ in parts],
        np.concatenate([np.zeros(0, np.int64), *(indices for indices, _ in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(weights for _, weights in parts)]),
    )


def _stacked(relations: Sequence[Csr]) -> Csr:
    """The rows of several relations, one after the other."""
    return Csr.from_rows(
        np.concatenate([relation.degrees() for relation in relations]),
        np.concatenate([relation.indices for relation in relations]),
        np.concatenate([relation.weights for relation in relations]),
    )
