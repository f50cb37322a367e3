"""Words nobody tagged with: names and free text are joined to the tag nodes nearest in meaning.

A *name* of up to three words stands for one thing: where it is no tag, for one of the tags near to it, each
with a chance, and the chances add up to one. A longer text *describes* a picture that shows several things:
the tags that stand in it, and what it says beside them, for which four more tags are expected (decision
0013).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gnn.encoders.base import TextEncoder
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import BadInput
from graph_store.tag_names import MAX_TAG_LENGTH, tag_key

_NEAREST = 40
_SHARPNESS = 15.0
_BEHIND_BEST = 0.4
_SMALLEST_SHARE = 0.002
_LONGEST_NAME = 3
_WHOLE = 0.75
_DESCRIBED = 4.0
"""How many tags a description speaks of beside those that stand in it."""

NAME_PROMPT = "the word {}"


@dataclass(frozen=True)
class TagEdge:
    """One `has` edge of a query: to which tag, how heavy, the asked words that led there, and the chance that
    they mean this tag.
    """

    tag: int
    weight: float
    asked_as: str
    chance: float = 1.0


class Words:
    """Resolves words against the tags of one graph. tag_text: [t, text_dim] unit norm."""

    def __init__(self, tag_names: Sequence[str], tag_text: Float32Array, encoder: TextEncoder | None) -> None:
        self._numbers = {tag_key(name): number for number, name in enumerate(tag_names)}
        self._text = tag_text
        self._encoder = encoder

    def knows(self, name: str) -> bool:
        """Whether the graph has a tag of that name."""
        return self.number(name) is not None

    def number(self, name: str) -> int | None:
        """That of the tag of that name; None where there is none, as for a text that is too long for one."""
        if len(unicodedata.normalize("NFC", name)) > MAX_TAG_LENGTH:
            return None
        return self._numbers.get(tag_key(name))

    def tag(self, name: str, weight: float = 1.0) -> list[TagEdge]:
        """A tag by name; a name that is no tag, by meaning. The weights add up to `weight`. Raises BadInput
        for what cannot be the name of a tag.
        """
        number = self._numbers.get(tag_key(name))
        if number is not None:
            return [TagEdge(number, weight, name)]
        return self._nearest(name, weight)

    def text(self, text: str) -> list[TagEdge]:
        """Free text, a name or a description. Without an encoder it is the tags that stand in it, weight 1
        each; raises BadInput where there are none.
        """
        if self.knows(text):
            return self.tag(text)
        named, all_named = self._named(text)
        certain = [TagEdge(number, 1.0, text) for number in named]
        if self._encoder is None and named:
            return certain
        if not self.describes(text):
            near = self._nearest(text, 1.0)
            return self._both(near, named, text) if all_named else near
        others = [edge for edge in self._nearest(text, _DESCRIBED) if edge.tag not in named]
        expected = [(edge.tag, min(edge.weight, 1.0)) for edge in others]
        return certain + [TagEdge(tag, chance, text, chance) for tag, chance in expected]

    @staticmethod
    def describes(text: str) -> bool:
        """Whether a text is longer than a name, and so speaks of several things."""
        return len(_words_of(text)) > _LONGEST_NAME

    def vector(self, text: str) -> Float32Array:
        """[text_dim] unit norm. Raises BadInput when there is no text encoder."""
        if self._encoder is None:
            raise BadInput(
                f"{text!r} is no tag of this catalogue, and no text encoder is loaded to compare its meaning",
                hint="Use a tag of the catalogue.",
            )
        result: Float32Array = self._encoder.encode_text([text])[0]
        return result

    def _nearest(self, text: str, weight: float) -> list[TagEdge]:
        if len(self._text) == 0:
            return []
        order, shares = nearest_in_meaning(self._text @ self._meaning(text))
        return [
            TagEdge(int(tag), weight * float(share), text, float(share))
            for tag, share in zip(order, shares, strict=True)
        ]

    def _meaning(self, text: str) -> Float32Array:
        """[text_dim]: as the names of tags are read where the text is as short as one, else as it stands."""
        if self._encoder is None or self.describes(text):
            return self.vector(text)
        vector: Float32Array = name_vectors(self._encoder, [text])[0]
        return vector

    @staticmethod
    def _both(near: list[TagEdge], named: list[int], text: str) -> list[TagEdge]:
        """A name that is made of tags, such as *young man*: what it means as a whole, and some of each."""
        whole = [replace(edge, weight=edge.weight * _WHOLE, chance=edge.chance * _WHOLE) for edge in near]
        each = (1.0 - _WHOLE) / len(named)
        return merged([*whole, *(TagEdge(number, each, text, each) for number in named)])

    def _named(self, text: str) -> tuple[list[int], bool]:
        """Tags whose name stands in the text, longest names first; no word counts twice. And whether that
        is all of its words.
        """
        words = _words_of(text)
        found: list[int] = []
        taken = [False] * len(words)
        for length in range(min(_LONGEST_NAME, len(words)), 0, -1):
            for start in range(len(words) - length + 1):
                span = slice(start, start + length)
                number = self.number(" ".join(words[span]))
                if number is not None and not any(taken[span]):
                    taken[span] = [True] * length
                    if number not in found:
                        found.append(number)
        return found, bool(found) and all(taken)


def nearest_in_meaning(cosine: Float32Array) -> tuple[Int64Array, Float32Array]:
    """Which of the candidates [n] speak for a word, and their shares, which add up to one. n must not be 0.

    Up to forty, by softmax of 15 times the cosine: where the best tag is not the right one, an image that
    carries several of the next best often is.
    """
    order = np.argsort(-cosine, kind="stable")[:_NEAREST]
    order = order[cosine[order] >= cosine[order[0]] - _BEHIND_BEST]
    shares = np.exp(_SHARPNESS * (cosine[order] - cosine[order[0]]))
    heard = shares >= _SMALLEST_SHARE * shares.sum()
    order, shares = order[heard], shares[heard]
    return order, (shares / shares.sum()).astype(np.float32)


def readings(text: str) -> list[str]:
    """What a text encoder has to read where a text is no tag: as :class:`Words` asks for it."""
    return [text] if Words.describes(text) else [text, NAME_PROMPT.format(text)]


def name_vectors(encoder: TextEncoder, names: Sequence[str]) -> Float32Array:
    """[n, text_dim] unit norm: what short names mean.

    The mean of a name alone and of the name in a phrase (prompt ensembling, Radford et al. 2021, §3.1.4): a
    sentence encoder takes a bare word less sure.
    """
    both = encoder.encode_text([*names, *(NAME_PROMPT.format(name) for name in names)])
    mean = both[: len(names)] + both[len(names) :]
    result: Float32Array = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return result


def _words_of(text: str) -> list[str]:
    """Runs of letters, marks and digits, with apostrophes and hyphens inside. Marks count: they spell the
    vowels of many scripts, and the accents of decomposed text.
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c if c in "_'-" or unicodedata.category(c)[0] in "LMN" else " " for c in composed)
    return [word for part in kept.split() if (word := part.strip("'-"))]


def merged(edges: Sequence[TagEdge]) -> list[TagEdge]:
    """One edge for each tag, weights and chances added, by tag number: so the order of asking does not
    matter.
    """
    by_tag: dict[int, list[TagEdge]] = {}
    for edge in edges:
        by_tag.setdefault(edge.tag, []).append(edge)
    return [
        TagEdge(
            tag,
            sum(sorted(edge.weight for edge in same)),
            min(edge.asked_as for edge in same),
            min(sum(sorted(edge.chance for edge in same)), 1.0),
        )
        for tag, same in sorted(by_tag.items())
    ]
