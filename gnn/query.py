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
from torch import Tensor

from gnn.attach import attach, inputs_of
from gnn.encoders.base import TextEncoder
from gnn.graph_index import GraphIndex, open_index
from gnn.model.edge_weights import cap_degree, weigh
from gnn.model.huge_pages import onto_huge_pages
from gnn.picture_alone import Found, picture_alone_of
from gnn.query_edges import (
    all_refused,
    cancelled,
    listed_edges,
    most_similar,
    refused_edges,
    shares,
    told_weight,
)
from gnn.query_types import Attach, AttachedEdges, Hits, Query, QueryTag, QueryVectors
from gnn.readout import readout_of
from gnn.resolve import Node, Resolved, Resolver
from gnn.stored_images import IndexedImages, StoredImages
from gnn.told_pictures import guessed_for
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
        self._readout = readout_of(index.trained, index.states.tag_states[-1], index.states.tag_embeddings)
        self._resolver = Resolver(index, text_encoder)
        self._images: StoredImages = IndexedImages(index)
        # Plain views: each look-up in a memory map's own class costs more than the row.
        self._embeddings = np.asarray(index.states.embeddings)
        self._tag_embeddings = np.asarray(index.states.tag_embeddings)
        self._image_states = [np.asarray(states) for states in index.states.image_states]
        self.alone = picture_alone_of(index.trained, self._image_states, self._readout)
        self._tag_states = [np.asarray(states) for states in index.states.tag_states]
        if isinstance(index.index, FaissIndex):
            # The same vectors, and those that a search has just read.
            self._embeddings = index.index.vectors
        self._kept: Int64Array | None = None  # the rows that may be found; None for all
        self._rows = {image_id: row for row, image_id in enumerate(index.ids)}
        self.image_ids: Sequence[str] = tuple(index.ids)
        self.tag_names: tuple[str, ...] = index.tag_names
        self.graph: Graph = index.graph
        self.num_images = index.graph.num_images
        self.is_local = index.index.is_local
        self.is_exact = index.index.kind in ("flat", "milvus-flat")
        self.tag_counts: tuple[int, ...] = tuple(index.graph.images_of_tag.degrees().tolist())

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
        return self._images.tags(row)[0]

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
                return [self.alone.vectors(picture, self._nearest)]
        asked = [self._resolver.resolve(query) for query in queries]
        if not asked:
            return []
        nodes = [node for each in asked for node in each.nodes]
        pictures = np.stack([node.features for node in nodes])
        tags = self._tag_edges(nodes)
        inputs = inputs_of(self._trained.model, pictures)
        similar = self._similar_edges(self._trained.neighbour_vectors(inputs, pictures), nodes)
        states = self._attach(inputs, similar, tags)
        guessed = guessed_for(np.array([node.asked for node in nodes]), similar)
        embeddings = self._readout.embeddings(states, tags, guessed, refused_edges(asked))
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
        scores = self._trained.calibration(self.tag_scores(np.atleast_2d(features)))
        return [self._likeliest(each, limit) for each in scores]

    def predict_tags_of(self, row: int, limit: int, *, missing: bool = False) -> list[tuple[str, float]]:
        """The same for an indexed image, which does not speak for itself: neither is it its own neighbour nor
        do its tags count that the model has learnt from. missing: only tags that it does not carry.
        """
        probability = self._trained.calibration(self.tag_scores_of(np.array([row])))[0]
        if missing:
            probability[self.tags_of(row)] = -1.0
        return [(name, chance) for name, chance in self._likeliest(probability, limit) if chance >= 0]

    def _likeliest(self, probability: Float32Array, limit: int) -> list[tuple[str, float]]:
        """Tags with their chances, best first. probability: [num_tags]."""
        best = np.argsort(-probability, kind="stable")[:limit]
        return [(self.tag_names[tag], float(probability[tag])) for tag in best]

    def completion(self, rows: Int64Array) -> Float32Array:
        """[len(rows), num_tags]: the calibrated chance of every tag for indexed images, as
        `predict_tags_of` gives it.
        """
        return self._trained.calibration(self.tag_scores_of(rows))

    def similar_of(self, row: int) -> tuple[Int64Array, Float32Array]:
        """The images that an indexed image is joined to, with their cosines."""
        return self._images.similar(row)

    def tag_scores(self, features: Float32Array) -> Float32Array:
        """[n, num_tags] for new pictures attached by `similar` edges only; not calibrated."""
        weights = self._trained.preset.weights
        inputs = inputs_of(self._trained.model, features)
        found = self._neighbours(self._trained.neighbour_vectors(inputs, features))
        similar = weigh(found, weights.similar, weights.similar_temperature)
        return self._readout.tag_scores(self._attach(inputs, similar, Csr.empty(len(features))))

    def tag_scores_of(self, rows: Int64Array) -> Float32Array:
        """[len(rows), num_tags] for indexed images, attached by their stored `similar` edges; not
        calibrated.
        """
        weights = self._trained.preset.weights
        found = [self.similar_of(row) for row in rows.tolist()]
        similar = Csr.from_rows(
            [len(others) for others, _ in found],
            np.concatenate([others for others, _ in found]),
            np.concatenate([cosines for _, cosines in found]),
        )
        features = np.stack([self._images.features(row) for row in rows.tolist()])
        weighed = weigh(similar, weights.similar, weights.similar_temperature)
        states = self._attach(inputs_of(self._trained.model, features), weighed, Csr.empty(len(rows)))
        return self._readout.tag_scores(states, indexed=True)

    def tag_affinity(self, vectors: QueryVectors, tags: Int64Array) -> Float32Array:
        """[len(tags)]: what each tag alone would add to the conceptual score of an image that carries it."""
        result: Float32Array = self._tag_embeddings[tags] @ vectors.conceptual
        return result

    def attach_pictures(
        self, features: Float32Array, tags: Csr, own_rows: Int64Array
    ) -> tuple[Float32Array, Csr]:
        """Embeddings [n, dim] of new pictures, as the index would hold them, and their `similar` edges.

        features: [n, feature_dim]; tags: n rows over the graph's tags; own_rows: [n], the row of an older
        version of the same picture, to which it is not joined, or -1.
        """
        how = self._trained.preset.graph
        rows, cosines = self._index.neighbours.search(
            self._trained.space(features), how.neighbours + 1, how.threshold
        )
        kept = (rows >= 0) & (rows != own_rows[:, np.newaxis])
        kept &= np.cumsum(kept, axis=1) <= how.neighbours
        similar = Csr.from_rows(kept.sum(axis=1), rows[kept], cosines[kept])
        most = self._trained.preset.weights.max_degree
        told = tags if most is None else cap_degree(tags, most, self._trained.preset.weights.seed)
        return self.attached_embedding(features, similar, told), similar

    def tags_meant(self, name: str) -> list[tuple[int, float]]:
        """(number, share) of the tags that a tag's name stands for: itself, or those nearest in meaning where
        the graph does not know it; none where no text encoder is loaded.
        """
        return self._resolver.meant(name)

    def attached_embedding(self, features: Float32Array, similar: Csr, tags: Csr) -> Float32Array:
        """[n, dim]: embeddings of query nodes with these edges; weights as the graph stores them."""
        weights = self._trained.preset.weights
        return self._embedded(
            self._attach(
                inputs_of(self._trained.model, features),
                weigh(similar, weights.similar, weights.similar_temperature),
                weigh(tags, weights.tags),
            )
        )

    def _indexed(self, row: int) -> QueryVectors:
        """An indexed image asks with the embedding it has: nothing is left to attach."""
        tags_of_image = self.graph.tags_of_image
        told = bool(tags_of_image.indptr[row] < tags_of_image.indptr[row + 1])

        def list_edges() -> AttachedEdges:
            asked = self._resolver.resolve(Query(indexed_row=row))
            vectors = self._trained.space(asked.nodes[0].features[None, :])
            return listed_edges(asked, [0], self._similar_edges(vectors, asked.nodes))

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
            return self._mean_tag_vectors(weigh(tags, self._trained.preset.weights.tags))

        return QueryVectors(
            self._readout.visual(embedding)[0],
            self._readout.conceptual(embedding, mean_tag_vector, np.array([told]))[0],
            "mixed" if told else "image",
            list_edges,
            self._readout.slider,
            near=near,
        )

    def _similar_edges(self, vectors: Float32Array, nodes: Sequence[Node]) -> Csr:
        """The message-weighted `similar` edges of each node: searched for a new picture, stored for an
        indexed one, none where it is attached by tags only. vectors: the nodes as neighbours are searched.
        """
        weights = self._trained.preset.weights
        searched = [node.looks and node.row is None for node in nodes]
        if all(searched):
            found = self._neighbours(vectors)
            return weigh(found, weights.similar, weights.similar_temperature)
        rows: list[Int64Array] = []
        edges: list[tuple[Int64Array, Float32Array]] = []
        new = np.flatnonzero(searched)
        if new.size:
            found = self._neighbours(vectors[new])
            rows.append(new[found.edge_rows()])
            edges.append((found.indices, found.weights))
        for place, node in enumerate(nodes):
            if node.looks and node.row is not None:
                edges.append(self._images.similar(node.row))
                rows.append(np.full(len(edges[-1][0]), place, dtype=np.int64))
        if not rows:
            return Csr.empty(len(nodes))
        found = Csr.from_edges(
            np.concatenate(rows),
            np.concatenate([senders for senders, _ in edges]),
            np.concatenate([cosines for _, cosines in edges]),
            len(nodes),
        )
        return weigh(found, weights.similar, weights.similar_temperature)

    def _neighbours(self, vectors: Float32Array) -> Csr:
        """`similar` edges of new pictures, given as neighbours are searched; weights = cosines."""
        rows, cosines = self._nearest(vectors)
        kept = rows >= 0
        return Csr.from_rows(kept.sum(axis=1), rows[kept], cosines[kept])

    def _nearest(self, vectors: Float32Array) -> Found:
        how = self._trained.preset.graph
        return self._index.neighbours.search(vectors, how.neighbours, how.threshold, self._kept)

    def _tag_edges(self, nodes: Sequence[Node]) -> Csr:
        """The message-weighted tag edges of each node."""
        weights = self._trained.preset.weights
        edges = [edge for node in nodes for edge in node.tags]
        if not edges:
            return Csr.empty(len(nodes))
        told = Csr.from_rows(
            [len(node.tags) for node in nodes],
            [edge.tag for edge in edges],
            [edge.weight for edge in edges],
        )
        if weights.max_degree is not None:
            told = cap_degree(told, weights.max_degree, weights.seed)
        return weigh(told, weights.tags)

    def _attach(self, inputs: Tensor, similar: Csr, tags: Csr) -> list[Tensor]:
        return attach(self._trained.model, inputs, similar, tags, self._image_states, self._tag_states)

    def _embedded(self, states: list[Tensor]) -> Float32Array:
        result: Float32Array = self._trained.model.embed_images(states).numpy()
        return result

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
            away = np.array([edge.weight for edge in asked.unwanted], dtype=np.float32) @ vectors
            told = told_weight(asked)
            away *= np.float32(1 / told if told else self._readout.refusal)
            parts += float(np.linalg.norm(away * meaning))
            meant = meant - away
        lost = float(np.linalg.norm(meant * meaning)) <= _CANCELS * parts or all_refused(asked)
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
