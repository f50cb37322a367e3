"""From a question to what is attached: pictures, positive and negative tags, and the kind of attachment."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gnn.encoders.base import TextEncoder
from gnn.graph_index import GraphIndex
from gnn.query_nodes import Kind, Node, Resolved
from gnn.query_types import Query
from gnn.stored_images import IndexedImages, StoredImages
from gnn.words import TagEdge, Words, merged
from graph_store.arrays import Float32Array
from graph_store.errors import BadInput, EmptyQuery, Exhausted, ImsageError


@dataclass(frozen=True)
class _Wanted:
    """The tags and words that are asked for, as :class:`Node` has them."""

    edges: tuple[TagEdge, ...]
    weight: float
    described: bool


@dataclass(frozen=True, eq=False)
class _Picture:
    number: int
    features: Float32Array
    weight: float
    row: int | None


_NOTHING = _Wanted((), 0.0, False)


class Resolver:
    """Resolves queries against one index. Raises BadInput and EmptyQuery as :mod:`gnn.query` says."""

    def __init__(self, index: GraphIndex, text_encoder: TextEncoder | None) -> None:
        self._index = index
        self._images: StoredImages = IndexedImages(index)
        self._words = Words(index.tag_names, index.tag_text, text_encoder)
        self._reads = text_encoder is not None
        self._one_space = (
            text_encoder is not None
            and text_encoder.spec.weights_sha256 == index.trained.encoder.weights_sha256
        )

    def over(self, images: StoredImages) -> Resolver:
        """The same, but for what is stored of images."""
        resolver = copy.copy(self)
        resolver._images = images
        return resolver

    def picture_alone(self, query: Query) -> Float32Array | None:
        """[feature_dim]: the features of the one new picture that a query consists of, to be like it; None
        where there is more to the query, or something else. Raises BadInput.
        """
        told = query.text or any(tag.weight for tag in query.tags)
        if told or query.indexed_row is not None or query.attach in ("tags", "mixed"):
            return None
        if query.images is None or (query.images.ndim > 1 and len(query.images) > 1):
            return None
        for picture in self._pictures(query):
            if picture.row is None and picture.weight > 0:
                return picture.features
        return None

    def resolve(self, query: Query) -> Resolved:
        """What this query is attached with.

        What is asked for besides (tags, text) goes to the pictures to be like; a picture to be unlike is
        refused as it is. Where there are only pictures to be unlike, words and tags are a node of their own.
        """
        text = query.text.strip() if query.text else ""
        wanted, unwanted = self._asked(query, text)
        pictures = self._pictures(query)
        liked = [picture for picture in pictures if picture.weight > 0]
        spoken: Float32Array | None = None
        if text and self._one_space and not liked and query.attach != "tags":
            # A vision-language encoder puts words among pictures, so they have `similar` images too.
            spoken = self._words.vector(text)
        refused = _by_tag(unwanted)
        told = bool(wanted.edges) or any(self._own_tags(query, picture, refused) for picture in liked)
        if pictures and not liked and spoken is None and not told:
            raise EmptyQuery(
                "The weights of the query's images leave nothing",
                hint="Give one of them a positive weight, or add a tag or text.",
            )
        kind = _kind(query, bool(liked) or spoken is not None, told)
        nodes = [self._node(query, picture, kind, wanted, refused) for picture in pictures if picture.weight]
        if not liked:
            asked = _NOTHING if kind == "image" else wanted
            tags = tuple(merged(asked.edges))
            features = self._prototype(tags) if spoken is None else spoken
            looks = kind != "tags"
            nodes.append(
                Node(
                    features,
                    1.0,
                    tags,
                    None,
                    looks,
                    None,
                    described=asked.described,
                    told=asked.weight,
                )
            )
        if len(nodes) > 1:
            nodes.sort(key=lambda node: (node.features.tobytes(), node.weight))
        return Resolved(kind, tuple(nodes), tuple(merged(unwanted)))

    def _node(
        self, query: Query, picture: _Picture, kind: Kind, wanted: _Wanted, refused: Mapping[int, float]
    ) -> Node:
        own = [] if kind == "image" else self._own_tags(query, picture, refused)
        # Stored weights are in the catalogue's own unit, which says nothing beside what is asked for.
        stored = self._own_tags(query, picture, {}) if own else []
        strongest = max((edge.weight for edge in stored), default=1.0)
        asked = _NOTHING if kind == "image" or picture.weight < 0 else wanted
        if asked.edges:
            own, strongest = [replace(edge, weight=edge.weight / strongest) for edge in own], 1.0
        return Node(
            picture.features,
            picture.weight,
            tuple(merged([*asked.edges, *own])),
            picture.row,
            query.attach != "tags",
            picture.number,
            bool(asked.edges),
            asked.described,
            asked.weight + sum(edge.weight / strongest for edge in own),
        )

    def _asked(self, query: Query, text: str) -> tuple[_Wanted, list[TagEdge]]:
        """What is asked for and what is refused, both with positive weights; a tag of weight 0 is neither."""
        wanted: list[TagEdge] = []
        unwanted: list[TagEdge] = []
        for tag in query.tags:
            if not np.isfinite(tag.weight):
                raise BadInput(f"The weight of tag {tag.name!r} must be a finite number, not {tag.weight}")
            if tag.weight > 0:
                wanted += self._words.tag(tag.name, tag.weight)
            elif tag.weight < 0:
                unwanted += self._words.tag(tag.name, -tag.weight)
        weight = sum(edge.weight for edge in wanted)
        spoken = self._words.text(text) if text else []
        if spoken:
            # Beside what a text names, what it may speak of as well is no wish of its own.
            weight += max(sum(edge.weight for edge in spoken if edge.chance == 1), 1.0)
        described = bool(text) and not self._words.knows(text) and self._words.describes(text)
        return _Wanted((*wanted, *spoken), weight, described), unwanted

    def number(self, name: str) -> int | None:
        """That of the tag of that name, None for an unknown one."""
        return self._words.number(name)

    def meant(self, name: str) -> list[tuple[int, float]]:
        """(tag, share) that a tag's name stands for; none for an unknown one without a text encoder, or with
        one that is loaded only now and cannot be. Raises Exhausted.
        """
        if not self._words.knows(name) and not self._reads:
            return []
        try:
            return [(edge.tag, edge.weight) for edge in self._words.tag(name)]
        except Exhausted:
            raise
        except ImsageError:
            return []

    def _own_tags(self, query: Query, picture: _Picture, refused: Mapping[int, float]) -> list[TagEdge]:
        """An indexed image comes with the tags it has, unless the attachment is spelt out. One to be like
        comes without those that are refused, as far as they are: they would speak for what is unwanted.
        """
        if picture.row is None or query.attach != "auto":
            return []
        tags, weights = self._images.tags(picture.row)
        names = self._index.tag_names
        kept = [1.0 - min(refused.get(int(tag), 0.0), 1.0) if picture.weight > 0 else 1.0 for tag in tags]
        return [
            TagEdge(int(tag), float(weight) * share, names[tag])
            for tag, weight, share in zip(tags, weights, kept, strict=True)
            if share > 0
        ]

    def _pictures(self, query: Query) -> list[_Picture]:
        if query.indexed_row is not None:
            features = self._images.features(query.indexed_row)
            return [_Picture(0, features, 1.0, query.indexed_row)]
        if query.images is None or len(query.images) == 0:
            return []
        images = np.atleast_2d(np.asarray(query.images, dtype=np.float32))
        dim = self._index.features.shape[1]
        if images.shape[1] != dim:
            raise BadInput(
                f"The query's features have {images.shape[1]} numbers; this index is made of {dim}",
                hint="Use the encoder that made the index.",
            )
        if not np.isfinite(images).all():
            raise BadInput("The query's features hold NaN or infinity")
        weights = query.image_weights or (1.0,) * len(images)
        if len(weights) != len(images) or not np.isfinite(weights).all():
            raise BadInput(f"{len(images)} images came with the weights {list(weights)}")
        rows = query.image_rows or (None,) * len(images)
        return [
            _Picture(number, *parts) for number, parts in enumerate(zip(images, weights, rows, strict=True))
        ]

    def _prototype(self, wanted: tuple[TagEdge, ...]) -> Float32Array:
        """[feature_dim]: what a picture with these tags looks like on average."""
        weights = np.array([edge.weight for edge in wanted], dtype=np.float32)
        mean = weights @ self._index.prototypes[[edge.tag for edge in wanted]]
        result: Float32Array = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
        return result


def _by_tag(edges: Sequence[TagEdge]) -> dict[int, float]:
    """The weights of each tag together."""
    weights: dict[int, float] = {}
    for edge in edges:
        weights[edge.tag] = weights.get(edge.tag, 0.0) + edge.weight
    return weights


def _kind(query: Query, pictured: bool, told: bool) -> Kind:
    if query.attach == "auto":
        if not pictured and not told:
            raise EmptyQuery(
                "The query asks for nothing", hint="Give an image, a tag with a positive weight, or text."
            )
        return "mixed" if pictured and told else "image" if pictured else "tags"
    if query.attach != "tags" and not pictured:
        raise BadInput(f"attach {query.attach!r} needs an image", hint="Give an image, or attach by tags.")
    if query.attach != "image" and not told:
        raise BadInput(
            f"attach {query.attach!r} needs a tag with a positive weight, or text",
            hint="Give one, or attach by image.",
        )
    return query.attach
