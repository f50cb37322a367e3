"""Tags by the beginnings of their words, the most used first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from graph_store.tag_names import tag_key

_LAST = "\U0010ffff"


class TagCompletion:
    """Finds tags of which some word starts as was typed, in any case. names and counts: one entry for each
    tag.
    """

    def __init__(self, names: Sequence[str], counts: Sequence[int]) -> None:
        self._names = names
        self._counts = counts
        self._by_use = sorted(range(len(names)), key=lambda tag: (-counts[tag], names[tag]))
        starts: list[tuple[str, int]] = []
        for tag, name in enumerate(names):
            text = tag_key(name)
            starts.append((text, tag))
            starts.extend((text[at + 1 :], tag) for at, letter in enumerate(text) if letter == " ")
        starts.sort()
        self._starts = starts

    def find(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        """At most `limit` (name, count): names that start with `prefix` before those with a later word that
        does.
        """
        if not prefix.strip():
            return [(self._names[tag], self._counts[tag]) for tag in self._by_use[:limit]]
        text = tag_key(prefix)
        low = bisect_left(self._starts, (text, -1))
        high = bisect_left(self._starts, (text + _LAST, -1))
        found = {tag for _, tag in self._starts[low:high]}
        ranked = sorted(
            found,
            key=lambda tag: (
                not tag_key(self._names[tag]).startswith(text),
                -self._counts[tag],
                self._names[tag],
            ),
        )
        return [(self._names[tag], self._counts[tag]) for tag in ranked[:limit]]
