"""Questions in, ranked images out: the one way in which everything else asks the model.

A question becomes nodes attached to the graph (:mod:`gnn.attach`), those become a visual and a conceptual
vector, and the slider v blends the two:

    score(x) = w_v · visual·x + w_c · conceptual·x,    w_v = v·b / (v·b + 1 - v),   w_c = 1 - w_v

b is the balance that validation found between the two kinds of cosine, so that the middle of the slider mixes
what a searcher would call even; v = 1 is purely visual and v = 0 purely conceptual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gnn.attach import attach
from gnn.encoders.base import TextEncoder
from gnn.graph_index import GraphIndex, open_index
from gnn.model.edge_weights import cap_degree, weigh
from gnn.readout import readout_of
from gnn.words import TagEdge, Words, merged
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.errors import BadInput, EmptyQuery
from graph_store.graph import Graph
from graph_store.snapshot import Snapshot

Attach = Literal["auto", "image", "tags", "mixed"]

_CANCELS = 1e-3


@dataclass(frozen=True)
class QueryTag:
    """A tag or a word, with its weight; a negative one pushes away."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Query:
    """What is asked, with pictures already encoded.

    images: [m, feature_dim] unit norm, with a weight each (1 where not given; a negative one pushes away);
    indexed_row: the query is that indexed image, and its stored edges are used; then `images` is not needed.
    """

    images: Float32Array | None = None
    image_weights: tuple[float, ...] = ()
    tags: tuple[QueryTag, ...] = ()
    text: str | None = None
    attach: Attach = "auto"
    indexed_row: int | None = None


@dataclass(frozen=True)
class AttachedEdges:
    """images: (row, message weight); tags: (tag number, asked weight, the words that led to it)."""

    images: tuple[tuple[int, float], ...]
    tags: tuple[tuple[int, float, str], ...]


@dataclass(frozen=True, eq=False)
class QueryVectors:
    """visual, conceptual: [dim] in the index's space. `attach`: which edges the query was given."""

    visual: Float32Array
    conceptual: Float32Array
    attach: str
    edges: AttachedEdges
    balance: float = 1.0

    def weights(self, visual_weight: float) -> tuple[float, float]:
        """(w_v, w_c) of the module's docstring. Raises BadInput outside [0, 1]."""
        if not 0.0 <= visual_weight <= 1.0:
            raise BadInput(f"visual_weight must lie in [0, 1], not {visual_weight}")
        conceptual = 1.0 - visual_weight
        visual = visual_weight * self.balance
        return visual / (visual + conceptual), conceptual / (visual + conceptual)

    def blend(self, visual_weight: float) -> Float32Array:
        """The vector that is searched for, [dim]. Raises EmptyQuery when nothing is left of it."""
        visual, conceptual = self.weights(visual_weight)
        blended = np.float32(visual) * self.visual + np.float32(conceptual) * self.conceptual
        if float(np.linalg.norm(blended)) < 1e-6:
            raise EmptyQuery(
                f"Nothing is left of the query at visual_weight {visual_weight:g}",
                hint="Move the slider, or ask for something in it.",
            )
        return blended


@dataclass(frozen=True, eq=False)
class Hits:
    """Best first. score == visual + conceptual. All [k]."""

    rows: Int64Array
    score: Float32Array
    visual: Float32Array
    conceptual: Float32Array


@dataclass(frozen=True)
class _Asked:
    """One query, resolved: its positive and negative tags and how it is attached."""

    kind: Literal["image", "tags", "mixed"]
    wanted: tuple[TagEdge, ...]
    unwanted: tuple[TagEdge, ...]
    images: Float32Array
    weights: tuple[float, ...]
    row: int | None


class QueryEngine:
    """Answers over one immutable graph index. Safe to share between threads."""

    def __init__(self, index: GraphIndex, text_encoder: TextEncoder | None = None) -> None:
        self._index = index
        self._trained = index.trained
        self._readout = readout_of(index.trained, index.states.tag_states[-1], index.states.tag_embeddings)
        self._words = Words(index.tag_names, index.tag_text, text_encoder)
        self._one_space = (
            text_encoder is not None
            and text_encoder.spec.weights_sha256 == index.trained.encoder.weights_sha256
        )
        self._rows = {image_id: row for row, image_id in enumerate(index.ids)}
        self.image_ids: tuple[str, ...] = tuple(index.ids)
        self.tag_names: tuple[str, ...] = index.tag_names
        self.graph: Graph = index.graph
        self.num_images = index.graph.num_images
        self.tag_counts: tuple[int, ...] = tuple(index.graph.images_of_tag.degrees().tolist())

    @classmethod
    def open(cls, snapshot: Snapshot, text_encoder: TextEncoder | None = None) -> QueryEngine:
        """The engine of a snapshot, memory-mapped. Without a text encoder only known tags can be asked for."""
        return cls(open_index(snapshot), text_encoder)

    def row_of(self, image_id: str) -> int | None:
        """The index row of an image, None when it is not indexed."""
        return self._rows.get(image_id)

    def image_vectors(self, rows: Int64Array) -> Float32Array:
        """[len(rows), dim]: the index vectors of images."""
        vectors: Float32Array = self._index.states.embeddings[rows]
        return vectors

    def image_features(self, row: int) -> Float32Array:
        """[feature_dim]: the encoder's features of an indexed image."""
        features: Float32Array = np.array(self._index.features[row])
        return features

    def embed(self, query: Query) -> QueryVectors:
        """The query's vectors. Raises EmptyQuery when it asks for nothing or its parts cancel, BadInput when
        it cannot be attached as asked.
        """
        return self.embed_many([query])[0]

    def embed_many(self, queries: Sequence[Query]) -> list[QueryVectors]:
        """The same for several at once; each result is what `embed` gives for it alone."""
        asked = [self._resolve(query) for query in queries]
        pictures = np.concatenate([each.images for each in asked])
        owner = np.repeat(np.arange(len(asked)), [len(each.images) for each in asked])
        similar = self._similar_edges(pictures, owner, asked)
        tags = self._tag_edges(owner, asked)
        states = self._attach(pictures, similar, tags)
        told = tags.degrees() > 0
        visual = self._readout.visual(states)
        conceptual = self._readout.conceptual(states, self._mean_tag_vectors(tags), told)
        return [
            self._vectors(each, np.flatnonzero(owner == i), visual, conceptual, similar)
            for i, each in enumerate(asked)
        ]

    def search(
        self,
        vectors: QueryVectors,
        visual_weight: float,
        k: int,
        allowed: Int64Array | None = None,
        exclude_row: int | None = None,
    ) -> Hits:
        """The k best of the `allowed` images (all where None), without `exclude_row`; fewer when there are
        fewer.
        """
        blended = vectors.blend(visual_weight)
        wanted = min(k + (exclude_row is not None), self.num_images)
        found = self._index.index.search(blended[None, :], max(wanted, 1), allowed).rows[0]
        found = found[(found >= 0) & (found != (-1 if exclude_row is None else exclude_row))][:k]
        images = self._index.states.embeddings[found]
        share_visual, share_conceptual = vectors.weights(visual_weight)
        visual = np.float32(share_visual) * (images @ vectors.visual)
        conceptual = np.float32(share_conceptual) * (images @ vectors.conceptual)
        score = visual + conceptual
        order = np.lexsort((found, -score))
        return Hits(found[order], score[order], visual[order], conceptual[order])

    def predict_tags(self, features: Float32Array, limit: int) -> list[list[tuple[str, float]]]:
        """For new pictures [n, feature_dim] (or one, [feature_dim]): tags with calibrated probabilities, the
        likeliest first.
        """
        pictures = np.atleast_2d(features)
        scores = self._trained.calibration(self.tag_scores(pictures))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        return [
            [(self.tag_names[tag], float(scores[i, tag])) for tag in best] for i, best in enumerate(order)
        ]

    def tag_scores(self, features: Float32Array) -> Float32Array:
        """[n, num_tags] for new pictures attached by `similar` edges only; not calibrated."""
        similar = self._found_edges(features)
        states = self._attach(features, similar, Csr.empty(len(features)))
        return self._readout.tag_scores(states)

    def tag_affinity(self, vectors: QueryVectors, tags: Int64Array) -> Float32Array:
        """[len(tags)]: what each tag alone would add to the conceptual score of an image that carries it."""
        result: Float32Array = self._index.states.tag_embeddings[tags] @ vectors.conceptual
        return result

    def attached_embedding(self, features: Float32Array, similar: Csr, tags: Csr) -> Float32Array:
        """[n, dim]: embeddings of query nodes with these edges (weights as stored, not yet message weights)."""
        weights = self._trained.preset.weights
        states = self._attach(
            features,
            weigh(similar, weights.similar, weights.similar_temperature),
            weigh(tags, weights.tags),
        )
        result: Float32Array = self._trained.model.embed_images(states).detach().numpy()
        return result

    def _resolve(self, query: Query) -> _Asked:
        positive: list[TagEdge] = []
        negative: list[TagEdge] = []
        for tag in query.tags:
            if not np.isfinite(tag.weight):
                raise BadInput(f"The weight of tag {tag.name!r} must be a finite number, not {tag.weight}")
            if tag.weight > 0:
                positive += self._words.tag(tag.name, tag.weight)
            elif tag.weight < 0:
                negative += self._words.tag(tag.name, -tag.weight)
        images = self._pictures(query)
        text = query.text.strip() if query.text else ""
        if text:
            positive += self._words.text(text)
            if self._one_space and images is None and query.attach in ("auto", "mixed", "image"):
                images = self._words.vector(text)[None, :]
        kind = self._kind(query, images is not None, bool(positive))
        if kind == "image":
            positive = []
        elif query.indexed_row is not None and query.attach == "auto":
            own, weights = self.graph.tags_of_image.row(query.indexed_row)
            positive += [
                TagEdge(int(tag), float(weight), self.tag_names[tag])
                for tag, weight in zip(own, weights, strict=True)
            ]
        wanted = tuple(merged(positive))
        if images is None:
            images = self._prototype(wanted)
        weights_of = query.image_weights or (1.0,) * len(images)
        if len(weights_of) != len(images):
            raise BadInput(f"{len(images)} images came with {len(weights_of)} weights")
        return _Asked(kind, wanted, tuple(merged(negative)), images, weights_of, query.indexed_row)

    def _pictures(self, query: Query) -> Float32Array | None:
        if query.indexed_row is not None:
            return self.image_features(query.indexed_row)[None, :]
        if query.images is None or len(query.images) == 0:
            return None
        images = np.atleast_2d(np.asarray(query.images, dtype=np.float32))
        dim = self._index.features.shape[1]
        if images.shape[1] != dim:
            raise BadInput(
                f"The query's features have {images.shape[1]} numbers; this index is made of {dim}",
                hint="Use the encoder that made the index.",
            )
        if not np.isfinite(images).all():
            raise BadInput("The query's features hold NaN or infinity")
        return images

    def _kind(self, query: Query, pictured: bool, told: bool) -> Literal["image", "tags", "mixed"]:
        if query.attach == "auto":
            if query.indexed_row is not None:
                told = told or self.graph.tags_of_image.row(query.indexed_row)[0].size > 0
            if not pictured and not told:
                raise EmptyQuery(
                    "The query asks for nothing", hint="Give an image, a tag with a positive weight, or text."
                )
            return "mixed" if pictured and told else "image" if pictured else "tags"
        if query.attach != "tags" and not pictured:
            raise BadInput(
                f"attach {query.attach!r} needs an image", hint="Give an image, or attach by tags."
            )
        if query.attach != "image" and not told:
            raise BadInput(
                f"attach {query.attach!r} needs a tag with a positive weight, or text",
                hint="Give one, or attach by image.",
            )
        return query.attach

    def _prototype(self, wanted: tuple[TagEdge, ...]) -> Float32Array:
        """[1, feature_dim]: what a picture with these tags looks like on average."""
        weights = np.array([edge.weight for edge in wanted], dtype=np.float32)
        mean = weights @ self._index.prototypes[[edge.tag for edge in wanted]]
        result: Float32Array = (mean / max(float(np.linalg.norm(mean)), 1e-12))[None, :].astype(np.float32)
        return result

    def _similar_edges(self, pictures: Float32Array, owner: Int64Array, asked: list[_Asked]) -> Csr:
        """The message-weighted `similar` edges of each picture; none where a query is attached by tags only."""
        kinds = np.array([asked[i].kind != "tags" and asked[i].row is None for i in owner])
        weights = self._trained.preset.weights
        rows: list[Int64Array] = []
        cols: list[Int64Array] = []
        cosines: list[Float32Array] = []
        if kinds.any():
            places = np.flatnonzero(kinds)
            found = self._neighbours(pictures[places])
            rows.append(places[found.edge_rows()])
            cols.append(found.indices)
            cosines.append(found.weights)
        for place, i in enumerate(owner):
            each = asked[i]
            if each.row is not None and each.kind != "tags":
                near, cosine = self.graph.similar.row(each.row)
                rows.append(np.full(len(near), place, dtype=np.int64))
                cols.append(near)
                cosines.append(cosine)
        if not rows:
            return Csr.empty(len(pictures))
        edges = Csr.from_edges(
            np.concatenate(rows), np.concatenate(cols), np.concatenate(cosines), len(pictures)
        )
        return weigh(edges, weights.similar, weights.similar_temperature)

    def _found_edges(self, pictures: Float32Array) -> Csr:
        weights = self._trained.preset.weights
        return weigh(self._neighbours(pictures), weights.similar, weights.similar_temperature)

    def _neighbours(self, pictures: Float32Array) -> Csr:
        """`similar` edges of new pictures, weights = cosines."""
        how = self._trained.preset.graph
        vectors = self._trained.space(pictures)
        rows, cosines = self._index.neighbours.search(vectors, how.neighbours, how.threshold)
        kept = rows >= 0
        owners = np.broadcast_to(np.arange(len(pictures))[:, None], rows.shape)
        return Csr.from_edges(owners[kept], rows[kept], cosines[kept], len(pictures))

    def _tag_edges(self, owner: Int64Array, asked: list[_Asked]) -> Csr:
        """The message-weighted tag edges of each picture's query."""
        weights = self._trained.preset.weights
        rows = [place for place, i in enumerate(owner) for _ in asked[i].wanted]
        edges = [edge for i in owner for edge in asked[i].wanted]
        told = Csr.from_edges(rows, [edge.tag for edge in edges], [edge.weight for edge in edges], len(owner))
        if weights.max_degree is not None:
            told = cap_degree(told, weights.max_degree, weights.seed)
        return weigh(told, weights.tags)

    def _attach(self, features: Float32Array, similar: Csr, tags: Csr) -> list:  # type: ignore[type-arg]
        states = self._index.states
        return attach(self._trained.model, features, similar, tags, states.image_states, states.tag_states)

    def _mean_tag_vectors(self, tags: Csr) -> Float32Array:
        """[n, dim]: the message-weighted mean of the tags' embeddings."""
        result = np.zeros((tags.num_rows, self._trained.model.dim), dtype=np.float32)
        embeddings = self._index.states.tag_embeddings
        for row in range(tags.num_rows):
            named, weights = tags.row(row)
            if len(named):
                result[row] = weights @ embeddings[named]
        return result

    def _vectors(
        self,
        asked: _Asked,
        places: Int64Array,
        visual: Float32Array,
        conceptual: Float32Array,
        similar: Csr,
    ) -> QueryVectors:
        weights = np.array(asked.weights, dtype=np.float32)
        scale = float(np.abs(weights).sum())
        if not np.isfinite(scale) or scale == 0:
            raise EmptyQuery(
                "The weights of the query's images leave nothing", hint="Give one of them weight."
            )
        seen = (weights / scale) @ visual[places]
        meant = (weights / scale) @ conceptual[places]
        parts = float((np.abs(weights) / scale) @ np.linalg.norm(conceptual[places], axis=1))
        if asked.unwanted:
            vectors = self._readout.tag_vectors()[[edge.tag for edge in asked.unwanted]]
            away = np.array([edge.weight for edge in asked.unwanted], dtype=np.float32) @ vectors
            total = sum(edge.weight for edge in asked.wanted)
            if asked.wanted and total:
                away /= np.float32(total)
            parts += float(np.linalg.norm(away))
            meant = meant - away
        if float(np.linalg.norm(meant)) <= _CANCELS * parts or (
            len(places) > 1 and float(np.linalg.norm(seen)) <= _CANCELS
        ):
            raise EmptyQuery(
                "The parts of the query cancel", hint="Take out what is both asked for and refused."
            )
        images = {}
        for place in places:
            for row, weight in zip(*similar.row(int(place)), strict=True):
                images[int(row)] = images.get(int(row), 0.0) + float(weight)
        told = [(edge.tag, edge.weight, edge.asked_as) for edge in asked.wanted]
        refused = [(edge.tag, -edge.weight, edge.asked_as) for edge in asked.unwanted]
        edges = AttachedEdges(tuple(images.items()), tuple(told + refused))
        return QueryVectors(seen, meant, asked.kind, edges, self._readout.balance)
