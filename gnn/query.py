"""Questions in, ranked images out: the one way in which everything else asks the model.

A question becomes nodes attached to the graph (:mod:`gnn.attach`), those become a visual and a conceptual
vector, and the slider v blends the two:

    score(x) = w_v · visual·x + w_c · conceptual·x,    w_v : w_c = b·v : (1 - v),    w_v + w_c = 1

v = 1 is purely visual and v = 0 purely conceptual (which, with preset `default`, takes looks in as far as
they tell about meaning). b is the balance that validation found for the middle of the slider, where looks may
speak as far as they hardly cost relevance. Preset `paper` has b = 1, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gnn.asked_tags import AskedTags
from gnn.attach import inputs_of
from gnn.attachments import Attachments
from gnn.carried_tags import CarriedTags
from gnn.encoders.base import TextEncoder
from gnn.graph_index import GraphIndex, open_index
from gnn.model.edge_weights import similar_messages, tag_messages
from gnn.model.huge_pages import onto_huge_pages
from gnn.picture_alone import picture_alone_of
from gnn.query_edges import (
    all_refused,
    cancelled,
    listed_edges,
    most_similar,
    refusals,
    shares,
)
from gnn.query_nodes import Resolved
from gnn.query_types import Attach, AttachedEdges, Hits, Query, QueryTag, QueryVectors
from gnn.readout import readout_of
from gnn.resolve import Resolver
from gnn.stored_images import IndexedImages, StoredImages
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.faiss_index import FaissIndex
from graph_store.graph import Graph
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.milvus_server import MilvusServer
from graph_store.snapshot import Snapshot

__all__ = ["Attach", "AttachedEdges", "Hits", "Query", "QueryEngine", "QueryTag", "QueryVectors"]

_CANCELS = 1e-3


class QueryEngine:
    """Answers over one immutable graph index. Safe to share between threads.

    Raises EmptyQuery when a query asks for nothing or its parts cancel, BadInput when it cannot be attached
    as asked.
    """

    def __init__(self, index: GraphIndex, text_encoder: TextEncoder | None = None) -> None:
        onto_huge_pages(index.trained.model)
        self._index = index
        self._trained = index.trained
        self._readout = readout_of(
            index.trained,
            index.states.tag_states[-1],
            index.states.tag_embeddings,
            index.graph.tags_of_image,
        )
        self._resolver = Resolver(index, text_encoder)
        self._images: StoredImages = IndexedImages(index)
        # Plain views: each look-up in a memory map's own class costs more than the row.
        self._embeddings = np.asarray(index.states.embeddings)
        self._tag_embeddings = np.asarray(index.states.tag_embeddings)
        image_states = [np.asarray(states) for states in index.states.image_states]
        tag_states = [np.asarray(states) for states in index.states.tag_states]
        self.attachments = Attachments(
            index.trained, index.neighbours, self._images, image_states, tag_states
        )
        self.alone = picture_alone_of(index.trained, image_states, self._readout)
        if isinstance(index.index, FaissIndex):
            # The same vectors, and those that a search has just read.
            self._embeddings = index.index.vectors
        self._rows = {image_id: row for row, image_id in enumerate(index.ids)}
        self.image_ids: Sequence[str] = tuple(index.ids)
        self.tag_names: tuple[str, ...] = index.tag_names
        self.graph: Graph = index.graph
        self.carried: CarriedTags = index.carried
        self.num_images = index.graph.num_images
        self.is_local = index.index.is_local
        self.is_exact = index.index.kind in ("flat", "milvus-flat")
        self.tag_counts: tuple[int, ...] = tuple(index.carried.of_tag.degrees().tolist())

    @classmethod
    def open(
        cls,
        snapshot: Snapshot,
        text_encoder: TextEncoder | None = None,
        milvus: MilvusServer | None = None,
    ) -> QueryEngine:
        """The engine of a snapshot, memory-mapped. Without a text encoder only known tags are understood;
        `milvus` is needed where the snapshot is searched there.
        """
        return cls(open_index(snapshot, milvus), text_encoder)

    def row_of(self, image_id: str) -> int | None:
        """The index row of an image, None when it is not indexed."""
        return self._rows.get(image_id)

    def image_vectors(self, rows: Int64Array) -> Float32Array:
        """[len(rows), dim]: the index vectors of images."""
        vectors: Float32Array = self._embeddings[rows]
        return vectors

    def image_features(self, row: int) -> Float32Array:
        """[feature_dim]: the encoder's features of an indexed image."""
        return self._images.features(row)

    def tags_of(self, row: int) -> Int64Array:
        """[n]: the numbers of the tags that an image carries."""
        return self.carried.of_image.row(row)[0]

    def embed(self, query: Query) -> QueryVectors:
        """The query's vectors."""
        row = query.indexed_row
        if row is not None and query.attach == "auto" and not query.tags and not query.text:
            return self._indexed(row)
        return self.embed_many([query])[0]

    def embed_many(self, queries: Sequence[Query]) -> list[QueryVectors]:
        """The same for several at once; each result is what `embed` gives for it alone."""
        if len(queries) == 1 and self.alone is not None:
            picture = self._resolver.picture_alone(queries[0])
            if picture is not None:
                return [self.alone.vectors(picture, self.attachments.nearest)]
        asked = [self._resolver.resolve(query) for query in queries]
        if not asked:
            return []
        nodes = [node for each in asked for node in each.nodes]
        pictures = np.stack([node.features for node in nodes])
        tags = self.attachments.tag_edges(nodes)
        inputs = inputs_of(self._trained.model, pictures)
        similar = self.attachments.similar_edges(self._trained.neighbour_vectors(inputs, pictures), nodes)
        states = self.attachments.states(inputs, similar, tags)
        embeddings = self._readout.embeddings(states, AskedTags.of(asked, similar))
        visual = self._readout.visual(embeddings)
        conceptual = self._readout.conceptual(
            embeddings, lambda: self._mean_tag_vectors(tags), tags.degrees() > 0
        )
        vectors = []
        start = 0
        for each in asked:
            places = np.arange(start, start + len(each.nodes))
            vectors.append(self._vectors(each, places, visual, conceptual, similar))
            start += len(each.nodes)
        return vectors

    def search(
        self,
        vectors: QueryVectors,
        visual_weight: float,
        k: int,
        allowed: Int64Array | None = None,
        exclude: Sequence[int] = (),
    ) -> Hits:
        """The k best of the `allowed` images (all where None), without the rows `exclude`; fewer when there
        are fewer.
        """
        parts = vectors.parts(visual_weight)
        blended = parts[0] + parts[1]
        wanted = max(min(k + len(exclude), self.num_images), 1)
        index = self._index.index
        if isinstance(index, FaissIndex | IvfPqIndex):
            found = index.nearest(blended, wanted, allowed, near=vectors.near)
        else:
            found = index.search(blended[None, :], wanted, allowed).rows[0]
            found = found[found >= 0]
        visual, conceptual = parts @ self._embeddings[found].T
        return Hits.best_first(found, visual, conceptual, k, exclude)

    def predict_tags(self, features: Float32Array, limit: int) -> list[list[tuple[str, float]]]:
        """For new pictures [n, feature_dim] (or one, [feature_dim]): tags with calibrated probabilities, the
        likeliest first.
        """
        return [self._likeliest(each, limit) for each in self.tag_scores(np.atleast_2d(features))]

    def predict_tags_of(self, row: int, limit: int, *, missing: bool = False) -> list[tuple[str, float]]:
        """The same for an indexed image, which does not speak for itself: neither is it its own neighbour nor
        do its tags count that the model has learnt from. missing: only tags that it does not carry.
        """
        scores = self.tag_scores_of(np.array([row]))[0]
        carried = self.tags_of(row) if missing else np.zeros(0, dtype=np.int64)
        return self._likeliest(scores, limit, carried)

    def _likeliest(
        self, scores: Float32Array, limit: int, without: Int64Array | None = None
    ) -> list[tuple[str, float]]:
        """Tags with their chances, best first. scores: [num_tags], which decide the order: where calibration
        cannot tell tags apart, they still can.
        """
        order = np.argsort(-scores, kind="stable")
        if without is not None:
            order = order[~np.isin(order, without)]
        best = order[:limit]
        chances = self.chances(scores[best])
        return [(self.tag_names[tag], float(chance)) for tag, chance in zip(best, chances, strict=True)]

    def chances(self, scores: Float32Array) -> Float32Array:
        """Calibrated probabilities for `tag_scores` and `tag_scores_of`, in their shape."""
        return self._trained.calibration(scores)

    def similar_of(self, row: int) -> tuple[Int64Array, Float32Array]:
        """The images that an indexed image is joined to, with their cosines."""
        return self._images.similar(row)

    def tag_scores(self, features: Float32Array) -> Float32Array:
        """[n, num_tags] for new pictures attached by `similar` edges only; not calibrated."""
        inputs = inputs_of(self._trained.model, features)
        found = self.attachments.neighbour_edges(self._trained.neighbour_vectors(inputs, features))
        similar = similar_messages(found, self._trained.preset.weights)
        states = self.attachments.states(inputs, similar, Csr.empty(len(features)))
        return self._readout.tag_scores(states, similar)

    def tag_scores_of(self, rows: Int64Array) -> Float32Array:
        """[len(rows), num_tags] for indexed images, attached by their stored `similar` edges; not
        calibrated.
        """
        found = [self.similar_of(row) for row in rows.tolist()]
        similar = Csr.from_rows(
            [len(others) for others, _ in found],
            np.concatenate([others for others, _ in found]),
            np.concatenate([cosines for _, cosines in found]),
        )
        features = np.stack([self._images.features(row) for row in rows.tolist()])
        weighed = similar_messages(similar, self._trained.preset.weights)
        states = self.attachments.states(
            inputs_of(self._trained.model, features), weighed, Csr.empty(len(rows))
        )
        return self._readout.tag_scores(states, weighed, indexed=True)

    def tag_affinity(self, vectors: QueryVectors, tags: Int64Array) -> Float32Array:
        """[len(tags)]: what each tag alone would add to the conceptual score of an image that carries it."""
        result: Float32Array = self._tag_embeddings[tags] @ vectors.conceptual
        return result

    def tag_number(self, name: str) -> int | None:
        """That of the tag of that name, None where the graph does not know it."""
        return self._resolver.number(name)

    def tags_meant(self, name: str) -> list[tuple[int, float]]:
        """(number, share) of the tags that a tag's name stands for: itself, or those nearest in meaning where
        the graph does not know it; none where no text encoder is loaded.
        """
        return self._resolver.meant(name)

    def _indexed(self, row: int) -> QueryVectors:
        """An indexed image asks with the embedding it has: nothing is left to attach."""
        tags_of_image = self.graph.tags_of_image
        told = bool(tags_of_image.indptr[row] < tags_of_image.indptr[row + 1])

        def list_edges() -> AttachedEdges:
            asked = self._resolver.resolve(Query(indexed_row=row))
            vectors = self._trained.space(asked.nodes[0].features[None, :])
            return listed_edges(asked, [0], self.attachments.similar_edges(vectors, asked.nodes))

        own = self._embeddings[row : row + 1]
        return self._known(own, told, lambda: tags_of_image.row(row), list_edges, near=row)

    def _known(
        self,
        embedding: Float32Array,
        told: bool,
        own_tags: Callable[[], tuple[Int64Array, Float32Array]],
        list_edges: Callable[[], AttachedEdges],
        near: int | None = None,
    ) -> QueryVectors:
        """The vectors of an image by the embedding [1, dim] and the tags that it has."""

        def mean_tag_vector() -> Float32Array:
            own, weights = own_tags()
            tags = Csr(np.array([0, len(own)]), np.array(own), np.array(weights))
            return self._mean_tag_vectors(tag_messages(tags, self._trained.preset.weights))

        return QueryVectors(
            self._readout.visual(embedding)[0],
            self._readout.conceptual(embedding, mean_tag_vector, np.array([told]))[0],
            "mixed" if told else "image",
            list_edges,
            self._readout.slider,
            near=near,
        )

    def _mean_tag_vectors(self, tags: Csr) -> Float32Array:
        """[n, dim]: the message-weighted mean of the tags' embeddings."""
        result = np.zeros((tags.num_rows, self._trained.model.dim), dtype=np.float32)
        embeddings = self._tag_embeddings
        for row in range(tags.num_rows):
            named, weights = tags.row(row)
            if len(named):
                result[row] = weights @ embeddings[named]
        return result

    def _vectors(
        self,
        asked: Resolved,
        places: Int64Array,
        visual: Float32Array,
        conceptual: Float32Array,
        similar: Csr,
    ) -> QueryVectors:
        """The weighted mean over a query's nodes, less its negative tags."""
        weights = shares(asked)
        seen: Float32Array = weights @ visual[places]
        meant: Float32Array = weights @ conceptual[places]
        meaning = self._readout.meaning
        parts = float(np.abs(weights) @ np.linalg.norm(conceptual[places] * meaning, axis=1))
        if asked.unwanted:
            vectors = self._readout.tag_vectors()[[edge.tag for edge in asked.unwanted]]
            away = refusals(asked, self._readout.refusal) @ vectors
            # Beside pictures to be unlike, those to be like are a part of the question only.
            away *= weights[weights > 0].sum()
            parts += float(np.linalg.norm(away * meaning))
            meant = meant - away
        # Where no part says anything, as in a catalogue without tags, nothing is lost of it.
        lost = float(np.linalg.norm(meant * meaning)) < _CANCELS * parts or all_refused(asked)
        if lost or (len(places) > 1 and float(np.linalg.norm(seen)) <= _CANCELS):
            raise cancelled()
        return QueryVectors(
            seen,
            meant,
            asked.kind,
            lambda: listed_edges(asked, places, similar),
            self._readout.slider,
            near=most_similar(asked, places, similar),
        )
