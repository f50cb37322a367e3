"""From the vectors of a question to one page of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """Row and score of each."""
        return zip(self.rows, self.score, strict=True)

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
        # What was shown folds its copies away from later pages too, so all of it has to be known there.
        whole = not engine.is_exact or ranking.collapse is not None
        more = _after(found, limit, after, whole)
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
    the snapshot are compared one by one: of them only what is no better than what was shown comes next. What
    is left out folds nothing, or what is only like it would not come at all.
    """
    shown = set(after.near)
    by_value_from = 0 if engine.is_exact else engine.graph.num_images

    def is_next(row: int, score: float) -> bool:
        return row not in shown and (row < by_value_from or score < after.score + _NOISE)

    depth = after.seen + wanted
    if ranking.collapse is not None:
        depth = min(2 * depth, MAX_DEPTH)
    while True:
        found = _candidates(engine, vectors, ranking, depth)
        left = found.take([at for at, (row, score) in enumerate(found) if is_next(row, score)])
        looked_at = len(left.rows)
        if ranking.collapse is not None:
            left = _folded(engine, left, ranking.collapse, wanted, after.near)
        deep_enough = ranking.collapse is not None and looked_at >= MAX_DEPTH
        if len(left.rows) >= wanted or len(found.rows) < depth or deep_enough:
            return left
        # Pictures came since the last page that rank before it: as many more are needed to get past them. At
        # least a half more, so that many are not got past one by one.
        depth += max(wanted - len(left.rows), depth // 2)


def _folded(
    engine: QueryEngine,
    found: _Candidates,
    threshold: float,
    most: int | None = None,
    shown: Sequence[int] = (),
) -> _Candidates:
    """Those that are near copies neither of what was shown nor of one before them, each with its copies; at
    least the first `most` of them, if there are so many.
    """
    before = [row for row in shown if _is_there(engine, row)]
    rows = [*before, *found.rows]
    if not rows:
        return found
    features = np.stack([engine.image_features(row) for row in rows])
    copies = fold(features, threshold, None if most is None else len(before) + most)
    kept = {leader: alike for leader, alike in copies.items() if leader >= len(before)}
    leaders = found.take([leader - len(before) for leader in kept])
    return replace(leaders, copies=[[rows[place] for place in alike] for alike in kept.values()])


def _is_there(engine: QueryEngine, row: int) -> bool:
    """Whether a picture that was shown is still stored; one beside the snapshot may be gone."""
    try:
        return bool(engine.image_ids[row])
    except IndexError:
        return False


def _diverse(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, after: Position | None) -> Page:
    # All pages are cut from one pool of fixed depth: an order that depends on what came before needs the same
    # start. What was shown is told by the position, so that it stays the start when pictures come or go.
    if after is None:
        shown: list[int] = []
        pool = min(max(4 * ranking.limit, LEAST_POOL), MOST_POOL)
        found = _results(engine, vectors, ranking, pool)
        worst = found.score[-1] if found.rows else 0.0
    else:
        shown = [row for row in after.near if _is_there(engine, row)]
        pool, worst = after.pool, after.score
        found = _rest_of_pool(engine, vectors, ranking, shown, pool, worst)
    seen = after.near if after else ()
    limit = min(ranking.limit, MAX_DEPTH - len(seen))
    order = marginal_relevance(
        engine.image_vectors(np.asarray([*shown, *found.rows], dtype=np.int64)),
        np.asarray([0.0] * len(shown) + found.score),
        ranking.diversity,
        len(shown) + limit,
        range(len(shown)),
    ).tolist()
    page = found.take([place - len(shown) for place in order[len(shown) :]])
    near = (*seen, *page.rows)
    more = None
    if len(page.rows) < len(found.rows) and len(near) < MAX_DEPTH:
        more = Position(seen=len(near), score=worst, near=near, pool=pool)
    return page.page(limit, more)


def _rest_of_pool(
    engine: QueryEngine,
    vectors: QueryVectors,
    ranking: Ranking,
    shown: Sequence[int],
    pool: int,
    worst: float,
) -> _Candidates:
    """What the pool of a first page holds beside what was shown since: the best, and all that is no worse
    than the `worst` was then. Pictures that came since would push those out of the best.
    """
    before, least = set(shown), worst - _NOISE
    depth = pool
    while True:
        depth = min(2 * depth, MAX_DEPTH)
        found = _candidates(engine, vectors, ranking, depth)
        left = found.take([at for at, (row, _) in enumerate(found) if row not in before])
        wanted = max(pool - len(shown), sum(score >= least for score in left.score))
        if ranking.collapse is not None:
            left = _folded(engine, left, ranking.collapse, wanted, shown)
        is_whole = bool(found.score) and found.score[-1] < least and len(left.rows) >= pool - len(shown)
        if is_whole or len(found.rows) < depth or depth == MAX_DEPTH:
            return left.take(
                [at for at, score in enumerate(left.score) if score >= least or at < pool - len(shown)]
            )


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
        kept = _folded(engine, found, ranking.collapse, k)
        if len(kept.rows) >= k or len(found.rows) < depth or depth == MAX_DEPTH:
            return kept


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
