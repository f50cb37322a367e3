"""A snapshot's engine with the pictures that came later, and without those that went.

New and changed pictures are attached inductively: they get the edges and the embedding that the trained model
gives to a node that only receives. They are few beside the snapshot, so they are compared one by one; removed
ones are excluded inside the snapshot's own search. Nothing of the snapshot changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import numpy as np

from gnn.model.edge_weights import similar_messages
from gnn.query import QueryEngine
from gnn.query_types import AttachedEdges, Hits, Query, QueryVectors
from gnn.stored_images import Edges, StoredImages
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr


@dataclass(frozen=True, eq=False)
class LivePictures:
    """Pictures beside a snapshot of n images.

    rows: [m] int64, rising, all ≥ n and sparse: a picture keeps its row until it changes again. embeddings:
    [m, dim]; similar: m rows over the snapshot's images, weights = cosines; tags: m rows over its tags;
    features(i): [feature_dim] of the i-th; carried(i): the snapshot's tags that it has by name, where `tags`
    also holds those that its new ones may mean. removed: rows of the snapshot that are not to be found any
    more, rising; unheard: those of them that are no neighbours any more either, since nothing beside looks
    and is tagged as they are.
    """

    ids: tuple[str, ...]
    rows: Int64Array
    embeddings: Float32Array
    similar: Csr
    tags: Csr
    features: Callable[[int], Float32Array]
    carried: Callable[[int], Int64Array]
    removed: Int64Array
    unheard: Int64Array

    @cached_property
    def place_of_id(self) -> dict[str, int]:
        """Where a picture is in these lists, by id."""
        return {image_id: place for place, image_id in enumerate(self.ids)}

    def places(self, rows: Int64Array) -> Int64Array:
        """Where pictures are in these lists, by row; all of them must be here."""
        return np.searchsorted(self.rows, rows)

    def place(self, row: int) -> int:
        """The same for one."""
        return int(np.searchsorted(self.rows, row))


def rows_without(rows: Int64Array, num_base: int) -> Int64Array | None:
    """The other rows of a snapshot of that many images, rising; None for all."""
    if not len(rows):
        return None
    kept = np.ones(num_base, dtype=np.bool_)
    kept[rows] = False
    others: Int64Array = np.flatnonzero(kept).astype(np.int64, copy=False)
    others.flags.writeable = False
    return others


class _AllImages:
    """What is stored of the snapshot's images and of those beside it."""

    def __init__(self, base: StoredImages, num_base: int, pictures: LivePictures) -> None:
        self._base = base
        self._num_base = num_base
        self._pictures = pictures

    def features(self, row: int) -> Float32Array:
        if row < self._num_base:
            return self._base.features(row)
        return self._pictures.features(self._pictures.place(row))

    def tags(self, row: int) -> Edges:
        if row < self._num_base:
            return self._base.tags(row)
        return self._pictures.tags.row(self._pictures.place(row))

    def similar(self, row: int) -> Edges:
        if row < self._num_base:
            return self._base.similar(row)
        return self._pictures.similar.row(self._pictures.place(row))


class LiveEngine(QueryEngine):
    """Answers over the snapshot and the pictures beside it as over one index.

    Rows below n are the snapshot's, the others those of `pictures`.
    """

    def __init__(self, base: QueryEngine, pictures: LivePictures) -> None:
        """Shares everything with `base`, which goes on as it was."""
        vars(self).update(vars(base))
        self._base_images = len(base.image_ids)
        self._pictures = pictures
        self._removed = frozenset(pictures.removed.tolist())
        self._unheard = frozenset(pictures.unheard.tolist())
        self._kept = rows_without(pictures.removed, self._base_images)
        self._images = _AllImages(base._images, self._base_images, pictures)
        # Mostly the same, and as long as the catalogue.
        same = len(pictures.unheard) == len(pictures.removed)
        heard = self._kept if same else rows_without(pictures.unheard, self._base_images)
        self.attachments = replace(base.attachments, images=self._images, kept=heard)
        self._resolver = base._resolver.over(self._images)
        self.image_ids = _Ids(base.image_ids, pictures)
        self.num_images = self._base_images - len(pictures.removed) + len(pictures.ids)

    def row_of(self, image_id: str) -> int | None:
        """The row of an image, None when it is not found by searches."""
        place = self._pictures.place_of_id.get(image_id)
        if place is not None:
            return int(self._pictures.rows[place])
        row = super().row_of(image_id)
        return None if row in self._removed else row

    def is_live(self, row: int) -> bool:
        """Whether a row is of a picture beside the snapshot."""
        return row >= self._base_images

    def tags_of(self, row: int) -> Int64Array:
        """The tags of an image that the snapshot knows."""
        return (
            self._pictures.carried(self._pictures.place(row)) if self.is_live(row) else super().tags_of(row)
        )

    def image_vectors(self, rows: Int64Array) -> Float32Array:
        """[len(rows), dim]: the vectors of images."""
        vectors = np.empty((len(rows), self._embeddings.shape[1]), dtype=np.float32)
        live = rows >= self._base_images
        vectors[~live] = super().image_vectors(rows[~live])
        vectors[live] = self._pictures.embeddings[self._pictures.places(rows[live])]
        return vectors

    def similar_of(self, row: int) -> tuple[Int64Array, Float32Array]:
        """The images that an image is joined to, without those that are gone, with their cosines."""
        others, cosines = self._images.similar(row)
        kept = [place for place, other in enumerate(others.tolist()) if other not in self._unheard]
        return others[kept], cosines[kept]

    def embed(self, query: Query) -> QueryVectors:
        """The query's vectors."""
        row = query.indexed_row
        plain = query.attach == "auto" and not query.tags and not query.text
        if row is None or not plain:
            return self.embed_many([query])[0]
        if not self.is_live(row):
            return self._without_unheard(super().embed(query))
        place = self._pictures.place(row)
        own = self._pictures.embeddings[place : place + 1]
        named = self._images.tags(row)
        return self._known(own, bool(len(named[0])), lambda: named, lambda: self._edges_of(row))

    def embed_many(self, queries: Sequence[Query]) -> list[QueryVectors]:
        """The same for several at once."""
        return [self._without_unheard(vectors) for vectors in super().embed_many(queries)]

    def search(
        self,
        vectors: QueryVectors,
        visual_weight: float,
        k: int,
        allowed: Int64Array | None = None,
        exclude: Sequence[int] = (),
    ) -> Hits:
        """The k best of the `allowed` images (all where None), without the rows `exclude`."""
        of_base, places = self._kept, np.arange(len(self._pictures.ids))
        if allowed is not None:
            cut = int(np.searchsorted(allowed, self._base_images))
            of_base, places = allowed[:cut], self._pictures.places(allowed[cut:])
        found = super().search(vectors, visual_weight, k, of_base, exclude)
        visual, conceptual = vectors.parts(visual_weight) @ self._pictures.embeddings[places].T
        return Hits.best_first(
            np.concatenate([found.rows, self._pictures.rows[places]]),
            np.concatenate([found.visual, visual]),
            np.concatenate([found.conceptual, conceptual]),
            k,
            exclude,
        )

    def _edges_of(self, row: int) -> AttachedEdges:
        others, cosines = self.similar_of(row)
        heard = similar_messages(Csr.from_rows([len(others)], others, cosines), self._trained.preset.weights)
        tags, weights = self._images.tags(row)
        return AttachedEdges(
            tuple(zip(heard.indices.tolist(), heard.weights.tolist(), strict=True)),
            tuple(
                (tag, weight, self.tag_names[tag])
                for tag, weight in zip(tags.tolist(), weights.tolist(), strict=True)
            ),
        )

    def _without_unheard(self, vectors: QueryVectors) -> QueryVectors:
        """The same vectors; of the edges only those to pictures that are still there are told."""
        if not self._unheard:
            return vectors

        def list_edges() -> AttachedEdges:
            edges = vectors.list_edges()
            kept = tuple(edge for edge in edges.images if edge[0] not in self._unheard)
            return AttachedEdges(kept, edges.tags)

        return replace(vectors, list_edges=list_edges)


class _Ids(Sequence[str]):
    """Ids by row, the snapshot's and those beside it, without a copy of the snapshot's."""

    def __init__(self, base: Sequence[str], pictures: LivePictures) -> None:
        self._base = base
        self._pictures = pictures
        self._size = int(pictures.rows[-1]) + 1 if len(pictures.rows) else len(base)

    def __len__(self) -> int:
        """One more than the greatest row."""
        return self._size

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        """The id of one row. Raises IndexError for one that has none."""
        if isinstance(row, slice):
            raise TypeError("ids are looked up one by one")
        if row < len(self._base):
            return self._base[row]
        place = int(np.searchsorted(self._pictures.rows, row))
        if place == len(self._pictures.rows) or self._pictures.rows[place] != row:
            raise IndexError(f"there is no image in row {row}")
        return self._pictures.ids[place]

    def __iter__(self) -> Iterator[str]:
        """The snapshot's, then those beside it; not by row."""
        yield from self._base
        yield from self._pictures.ids
