"""From a question to what is attached: pictures, positive and negative tags, and the kind of attachment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gnn.encoders.base import TextEncoder
from gnn.graph_index import GraphIndex
from gnn.query_types import Query
from gnn.words import TagEdge, Words, merged
from graph_store.arrays import Float32Array
from graph_store.errors import BadInput, EmptyQuery

Kind = Literal["image", "tags", "mixed"]


@dataclass(frozen=True, eq=False)
class Resolved:
    """images: [m, feature_dim] with weights [m]; row: of the indexed image that is asked about."""

    kind: Kind
    wanted: tuple[TagEdge, ...]
    unwanted: tuple[TagEdge, ...]
    images: Float32Array
    weights: tuple[float, ...]
    row: int | None


class Resolver:
    """Resolves queries against one index. Raises BadInput and EmptyQuery as :mod:`gnn.query` says."""

    def __init__(self, index: GraphIndex, text_encoder: TextEncoder | None) -> None:
        self._index = index
        self._words = Words(index.tag_names, index.tag_text, text_encoder)
        self._one_space = (
            text_encoder is not None
            and text_encoder.spec.weights_sha256 == index.trained.encoder.weights_sha256
        )

    def resolve(self, query: Query) -> Resolved:
        """What this query is attached with."""
        wanted, unwanted = self._asked_tags(query)
        images = self._pictures(query)
        text = query.text.strip() if query.text else ""
        if text:
            wanted += self._words.text(text)
            if self._one_space and images is None and query.attach != "tags":
                # A vision-language encoder puts words among pictures, so they have `similar` images too.
                images = self._words.vector(text)[None, :]
        own = self._own_tags(query)
        kind = _kind(query, images is not None, bool(wanted or own))
        tags = () if kind == "image" else tuple(merged(wanted + own))
        if images is None:
            images = self._prototype(tags)
        weights = query.image_weights or (1.0,) * len(images)
        if len(weights) != len(images) or not np.isfinite(weights).all():
            raise BadInput(f"{len(images)} images came with the weights {list(weights)}")
        return Resolved(kind, tags, tuple(merged(unwanted)), images, weights, query.indexed_row)

    def _asked_tags(self, query: Query) -> tuple[list[TagEdge], list[TagEdge]]:
        """Positive and negative ones, both with positive weights; a weight of 0 asks for nothing."""
        wanted: list[TagEdge] = []
        unwanted: list[TagEdge] = []
        for tag in query.tags:
            if not np.isfinite(tag.weight):
                raise BadInput(f"The weight of tag {tag.name!r} must be a finite number, not {tag.weight}")
            if tag.weight > 0:
                wanted += self._words.tag(tag.name, tag.weight)
            elif tag.weight < 0:
                unwanted += self._words.tag(tag.name, -tag.weight)
        return wanted, unwanted

    def _own_tags(self, query: Query) -> list[TagEdge]:
        """An indexed image comes with the tags it has, unless the attachment is spelt out."""
        if query.indexed_row is None or query.attach != "auto":
            return []
        tags, weights = self._index.graph.tags_of_image.row(query.indexed_row)
        names = self._index.tag_names
        return [
            TagEdge(int(tag), float(weight), names[tag]) for tag, weight in zip(tags, weights, strict=True)
        ]

    def _pictures(self, query: Query) -> Float32Array | None:
        if query.indexed_row is not None:
            return np.array(self._index.features[query.indexed_row])[None, :]
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

    def _prototype(self, wanted: tuple[TagEdge, ...]) -> Float32Array:
        """[1, feature_dim]: what a picture with these tags looks like on average."""
        weights = np.array([edge.weight for edge in wanted], dtype=np.float32)
        mean = weights @ self._index.prototypes[[edge.tag for edge in wanted]]
        result: Float32Array = (mean / max(float(np.linalg.norm(mean)), 1e-12))[None, :].astype(np.float32)
        return result


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
