"""Tags by the beginnings of their words, the most used first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import nsmallest

from graph_store.tag_names import tag_key

_LAST = "\U0010ffff"


class TagCompletion:
    """Finds tags of which some word starts as was typed, in any case. names and counts: one entry for each
    tag.
    """

    def __init__(self, names: Sequence[str], counts: Sequence[int]) -> None:
        by_use = sorted(range(len(names)), key=lambda tag: (-counts[tag], names[tag]))
        self._by_use = [(names[tag], counts[tag]) for tag in by_use]
        keys = [tag_key(names[tag]) for tag in by_use]
        # By place in the order of use: of many that begin alike, the most used are then the smallest numbers.
        self._wholes = _Beginnings((key, place) for place, key in enumerate(keys))
        self._later_words = _Beginnings(
            (key[at + 1 :], place)
            for place, key in enumerate(keys)
            for at, letter in enumerate(key)
            if letter == " "
        )

    def find(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        """At most `limit` (name, count): names that start with `prefix` before those with a later word that
        does.
        """
        if not prefix.strip():
            return self._by_use[:limit]
        text = tag_key(prefix)
        found = nsmallest(limit, self._wholes.of(text))
        if len(found) < limit:
            # Then these are all that start with it.
            others = set(self._later_words.of(text)).difference(found)
            found += nsmallest(limit - len(found), others)
        return [self._by_use[place] for place in found]


class _Beginnings:
    """Numbers by how the text that each belongs to begins."""

    def __init__(self, texts: Iterable[tuple[str, int]]) -> None:
        ordered = sorted(texts)
        self._texts = [text for text, _ in ordered]
        self._numbers = [number for _, number in ordered]

    def of(self, prefix: str) -> list[int]:
        """Those whose text starts with `prefix`."""
        low = bisect_left(self._texts, prefix)
        high = bisect_left(self._texts, prefix + _LAST, low)
        return self._numbers[low:high]
