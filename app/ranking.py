"""From the vectors of a question to one page of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from app.collapse import fold
from app.cursor import MAX_DEPTH, Position
from app.diversity import marginal_relevance
from gnn.query import QueryEngine, QueryVectors
from graph_store.arrays import Int64Array

_DECIMALS = 6
# Scores of one image may differ by float32 noise from one depth of search to another.
_NOISE = 1e-5

LEAST_POOL, MOST_POOL = 200, 2000
"""Results that diversity chooses from: four times as many as the first page shows, within these bounds."""


@dataclass(frozen=True)
class Ranking:
    """How results are chosen: see the fields of a search request. `allowed` are the rows that may be found,
    sorted.
    """

    visual_weight: float
    limit: int
    allowed: Int64Array | None = None
    exclude: Sequence[int] = ()
    score_threshold: float | None = None
    diversity: float = 0.0
    collapse: float | None = None


@dataclass(frozen=True)
class Page:
    """Results in order. score[i] == visual[i] + conceptual[i], also after they are written and read again.

    `more` is where the next page starts, None at the end. `copies`: for each result the rows folded into it;
    empty when nothing was to be folded.
    """

    rows: list[int]
    score: list[float]
    visual: list[float]
    conceptual: list[float]
    more: Position | None
    copies: Sequence[list[int]] = ()


@dataclass(frozen=True)
class _Candidates:
    # Lists: a page is short, and for twenty numbers NumPy's calls cost more than the numbers.
    rows: list[int]
    score: list[float]
    visual: list[float]
    conceptual: list[float]
    copies: Sequence[list[int]] = ()

    def take(self, places: Sequence[int]) -> _Candidates:
        return _Candidates(
            [self.rows[place] for place in places],
            [self.score[place] for place in places],
            [self.visual[place] for place in places],
            [self.conceptual[place] for place in places],
            [self.copies[place] for place in places] if self.copies else (),
        )

    def page(self, limit: int, more: Position | None) -> Page:
        return Page(
            self.rows[:limit],
            self.score[:limit],
            self.visual[:limit],
            self.conceptual[:limit],
            more,
            self.copies[:limit],
        )


def rank(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, after: Position | None = None) -> Page:
    """One page of results, the best first. Raises EmptyQuery when the parts of the question cancel."""
    if ranking.allowed is not None and ranking.allowed.size == 0:
        # Also where the filter leaves nothing, a question that cancels is refused.
        vectors.blend(ranking.visual_weight)
        return Page([], [], [], [], None)
    if ranking.diversity > 0:
        return _diverse(engine, vectors, ranking, after)
    return _by_score(engine, vectors, ranking, after)


def _by_score(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, after: Position | None) -> Page:
    seen = after.seen if after else 0
    limit = min(ranking.limit, MAX_DEPTH - seen)
    if after is None:
        found = _results(engine, vectors, ranking, limit + 1)
    else:
        found = _below(engine, vectors, ranking, after, limit + 1)
    more = None
    if len(found.rows) > limit > 0 and seen + limit < MAX_DEPTH:
        more = _after(found, limit, after, whole=not engine.is_exact)
    return found.page(limit, more)


def _after(found: _Candidates, limit: int, before: Position | None, whole: bool) -> Position:
    """Where the page after the first `limit` of what was found starts; `whole`: naming all that was shown."""
    last, near = found.score[limit - 1], found.rows[:limit]
    seen, score = limit, last
    if before is not None:
        # A page of an approximate index may end above the one before it.
        seen, score = before.seen + limit, min(last, before.score)
    if not whole:
        near = [row for row, value in zip(near, found.score, strict=False) if value < score + _NOISE]
    if before is not None and (whole or before.score < score + _NOISE):
        near = [*before.near, *near]
    return Position(seen=seen, score=score, near=tuple(near))


def _below(
    engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, after: Position, wanted: int
) -> _Candidates:
    """The `wanted` best of what comes after a position; fewer when there are fewer.

    An approximate index that is asked for more looks at more candidates, and some that it had not looked at
    are better than what was shown. They come next, unless they are copies of what was shown. Pictures beside
    the snapshot are compared one by one: of them only what is no better than what was shown comes next.
    """
    shown = set(after.near)
    by_value_from = 0 if engine.is_exact else engine.graph.num_images

    def is_next(found: _Candidates, place: int) -> bool:
        row = found.rows[place]
        if row in shown or (row >= by_value_from and found.score[place] >= after.score + _NOISE):
            return False
        return engine.is_exact or not found.copies or shown.isdisjoint(found.copies[place])

    depth = after.seen + wanted
    while True:
        found = _results(engine, vectors, ranking, depth)
        left = [place for place in range(len(found.rows)) if is_next(found, place)]
        if ranking.collapse is not None and not engine.is_exact:
            left = _no_copies(engine, found, left, after.near, ranking.collapse)
        if len(left) >= wanted or len(found.rows) < depth:
            return found.take(left)
        # Pictures came since the last page that rank before it: as many more are needed to get past them. At
        # least a half more, so that many are not got past one by one.
        depth += max(wanted - len(left), depth // 2)


def _no_copies(
    engine: QueryEngine, found: _Candidates, places: Sequence[int], shown: Sequence[int], threshold: float
) -> list[int]:
    """Those of `places` that are no near copies of what was shown. What was folded into one of these stands
    for itself where a deeper search puts before both a third picture that is like the shown one alone.
    """
    before = [row for row in shown if _is_there(engine, row)]
    rows = [*before, *(found.rows[place] for place in places)]
    if not rows:
        return []
    kept = fold(np.stack([engine.image_features(row) for row in rows]), threshold)
    return [place for number, place in enumerate(places, len(before)) if number in kept]


def _is_there(engine: QueryEngine, row: int) -> bool:
    """Whether a picture that was shown is still stored; one beside the snapshot may be gone."""
    try:
        return bool(engine.image_ids[row])
    except IndexError:
        return False


def _diverse(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, after: Position | None) -> Page:
    # All pages are cut from one pool of fixed depth: an order that depends on what came before needs the same
    # start. What was shown is told by the position, so that it stays the start when pictures come or go.
    shown = after.near if after else ()
    pool = after.pool if after and after.pool else min(max(4 * ranking.limit, LEAST_POOL), MOST_POOL)
    found = _results(engine, vectors, ranking, pool)
    place_of = {row: place for place, row in enumerate(found.rows)}
    first = [place_of[row] for row in shown if row in place_of]
    until = len(first) + ranking.limit
    order = marginal_relevance(
        engine.image_vectors(np.asarray(found.rows, dtype=np.int64)),
        np.asarray(found.score),
        ranking.diversity,
        until,
        first,
    ).tolist()
    page = found.take(order[len(first) : until])
    near = (*shown, *page.rows)
    more = Position(seen=len(near), near=near, pool=pool) if until < len(found.rows) else None
    return page.page(ranking.limit, more)


def _results(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, k: int) -> _Candidates:
    """The k best, near copies folded where that was asked for; fewer when there are fewer, or when MAX_DEPTH
    is reached.
    """
    if ranking.collapse is None:
        return _candidates(engine, vectors, ranking, k)
    depth = k
    while True:
        # A little deeper than needed, so that most questions with few copies are searched once.
        depth = min(2 * depth, MAX_DEPTH)
        found = _candidates(engine, vectors, ranking, depth)
        if not found.rows:
            return found
        features = np.stack([engine.image_features(row) for row in found.rows])
        copies = fold(features, ranking.collapse, k)
        if len(copies) >= k or len(found.rows) < depth or depth == MAX_DEPTH:
            kept = found.take(list(copies))
            return replace(kept, copies=[[found.rows[i] for i in places] for places in copies.values()])


def _candidates(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, k: int) -> _Candidates:
    hits = engine.search(
        vectors,
        ranking.visual_weight,
        min(k, engine.num_images),
        allowed=ranking.allowed,
        exclude=ranking.exclude,
    )
    # Six decimals are all that float32 cosines carry. The sum is made of what is written, so that it can be
    # checked; JSON keeps every float64.
    visual = hits.visual.astype(np.float64).round(_DECIMALS).tolist()
    conceptual = hits.conceptual.astype(np.float64).round(_DECIMALS).tolist()
    score = [seen + meant for seen, meant in zip(visual, conceptual, strict=True)]
    found = _Candidates(hits.rows.tolist(), score, visual, conceptual)
    if any(later > earlier for earlier, later in pairwise(score)):
        # Rounding may have swapped two that were a hair apart.
        found = found.take(sorted(range(len(score)), key=lambda place: -score[place]))
    if ranking.score_threshold is not None:
        threshold = ranking.score_threshold
        found = found.take([i for i, value in enumerate(found.score) if value >= threshold])
    return found
