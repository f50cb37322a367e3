"""Free text without a graph: the tags nearest to the text, or those that stand in it, then images by them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.baselines import Neighbours, TagSpace
from gnn.evaluation.metrics import top_k
from gnn.evaluation.relevance import TagTable, chunks
from graph_store.arrays import Float32Array, Int64Array

NAME = "text kNN over tags"
STANDING = "tags that stand in the text"
MIXED = "both mixed"
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_PLURALS = (("s", ""), ("es", ""), ("ies", "y"))
_FORMS = (("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"))
_SHORTEST_STEM = 2
SETTINGS = tuple((k, sharpness) for k in (1, 3, 5, 10, 20) for sharpness in (5.0, 10.0, 20.0, 40.0))


@dataclass(frozen=True, eq=False)
class TextOverTags:
    """A text is the softmax mixture of its k nearest tag names; images are ranked by tag-space cosine.

    tag_vectors: [num_tags, text_dim] unit rows; space: of the indexed images' tags; carried: the tags that
    at least one indexed image carries.
    """

    tag_vectors: Float32Array
    space: TagSpace
    carried: Int64Array
    k: int = 5
    sharpness: float = 20.0

    @classmethod
    def build(cls, tag_vectors: Float32Array, tags: TagTable, k: int, sharpness: float) -> TextOverTags:
        """tags: of the indexed images."""
        carried = np.flatnonzero(tags.counts() > 0).astype(np.int64)
        return cls(tag_vectors, TagSpace.build(tags, 0.0), carried, k, sharpness)

    def search(self, texts: Float32Array, k: int) -> Int64Array:
        """texts: [n, text_dim] unit rows -> rows of the index [n, k]."""
        mixture = self.mixture(texts)
        num_indexed = self.space.index.shape[0]
        rows = np.full((len(texts), k), -1, dtype=np.int64)
        for part in chunks(len(texts), num_indexed):
            found = top_k(self.space.cosine(mixture[part]), k)
            rows[part, : found.shape[1]] = found
        return rows

    def mixture(self, texts: Float32Array) -> Float32Array:
        """texts: [n, text_dim] unit rows -> [n, num_tags] shares of the nearest tag names."""
        names = self.tag_vectors[self.carried]
        each_alone = TagTable.from_pairs(
            np.arange(len(names), dtype=np.int64), self.carried, len(names), len(self.tag_vectors)
        )
        return Neighbours.find(texts, names, self.k).vote(each_alone, self.k, self.sharpness)


class TagsInText:
    """Finds names of tags in a text by words and crude stems: "two dogs running" has *dog* and *run*."""

    def __init__(self, tag_names: Sequence[str]) -> None:
        """tag_names: by tag column; may be of several words."""
        self._num_tags = len(tag_names)
        self._by_first: dict[str, list[tuple[int, list[set[str]]]]] = {}
        for column, name in enumerate(tag_names):
            # A tag may be a plural; of a tag *standing* a text that says "stands" seldom speaks.
            words = [_stems(word, _PLURALS) for word in _words(name)]
            for first in words[0] if words else ():
                self._by_first.setdefault(first, []).append((column, words))

    def __call__(self, texts: Sequence[str]) -> Float32Array:
        """[len(texts), num_tags]: 1 where the tag's name stands in the text. Where a word itself begins a
        name, its stems are not tried.
        """
        found = np.zeros((len(texts), self._num_tags), dtype=np.float32)
        for row, text in enumerate(texts):
            words = _words(text)
            stems = [_stems(word, _PLURALS + _FORMS) for word in words]
            for place, word in enumerate(words):
                here = self._starting([{word}, *stems[place + 1 :]]) or self._starting(stems[place:])
                found[row, here] = 1
        return found

    def _starting(self, words: list[set[str]]) -> list[int]:
        """The columns of the names that such a row of words begins with; each word by its stems."""
        return [
            column
            for first in words[0]
            for column, name in self._by_first.get(first, ())
            if len(name) <= len(words) and all(a & b for a, b in zip(name, words, strict=False))
        ]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _stems(word: str, endings: Sequence[tuple[str, str]]) -> set[str]:
    """The word, and what it may be a form of: *dogs* dog, *running* runn, runne and run."""
    stems = {word}
    for ending, instead in endings:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            stem = word.removesuffix(ending)
            stems.add(stem + instead)
            if ending in ("ing", "ed") and stem[-1] == stem[-2]:
                stems.add(stem[:-1])
    return stems


def standing_rows(
    standing: Float32Array, nearest: TextOverTags, texts: Float32Array, share: float, k: int
) -> Int64Array:
    """Images by `share` of the cosine with the tags that stand in the text, and for the rest by the nearest
    tag names; with a share of 1 the nearest order those that have none of the tags. -> [n, k]

    standing: [n, num_tags] of TagsInText; texts: [n, text_dim] unit rows, the same texts.
    """
    mixture, space = nearest.mixture(texts), nearest.space
    rows = np.full((len(texts), k), -1, dtype=np.int64)
    for part in chunks(len(texts), space.index.shape[0]):
        by_words, by_meaning = space.cosine(standing[part]), space.cosine(mixture[part])
        if share == 1:
            scores = np.where(by_words > 0, np.float32(2) + by_words, by_meaning)
        else:
            scores = np.float32(share) * by_words + np.float32(1 - share) * by_meaning
        found = top_k(scores, k)
        rows[part, : found.shape[1]] = found
    return rows


def tune_share(
    standing: Float32Array,
    nearest: TextOverTags,
    texts: Float32Array,
    quality: Callable[[Int64Array], float],
) -> float:
    """The best of SHARES. quality([n, 10] rows found for `texts`) -> higher is better."""
    return max(SHARES, key=lambda share: quality(standing_rows(standing, nearest, texts, share, 10)))


def tune_text_baseline(
    tag_vectors: Float32Array,
    tags: TagTable,
    texts: Float32Array,
    quality: Callable[[Int64Array], float],
) -> TextOverTags:
    """The best of SETTINGS. quality([n, 10] rows found for `texts`) -> higher is better."""
    tried = [TextOverTags.build(tag_vectors, tags, k, s) for k, s in SETTINGS]
    return max(tried, key=lambda baseline: quality(baseline.search(texts, 10)))
