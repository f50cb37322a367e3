"""From the vectors of a question to one page of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.cursor import MAX_DEPTH, Cursor
from app.diversity import marginal_relevance
from gnn.query import QueryEngine, QueryVectors
from graph_store.arrays import BoolArray, Int64Array

Float64Array: TypeAlias = NDArray[np.float64]

_DECIMALS = 6
# Scores of one image may differ by float32 noise from one depth of search to another.
_NOISE = 1e-5


@dataclass(frozen=True)
class Ranking:
    """How results are chosen: see the fields of a search request. `allowed` are the rows that may be found,
    sorted.
    """

    visual_weight: float
    limit: int
    allowed: Int64Array | None = None
    exclude_row: int | None = None
    score_threshold: float | None = None
    diversity: float = 0.0


@dataclass(frozen=True)
class Page:
    """Results in order, as float64 that read and add exactly as they are written: score[i] == visual[i] +
    conceptual[i].

    `more` is the position of the next page (its version and question still empty), None at the end.
    """

    rows: list[int]
    score: list[float]
    visual: list[float]
    conceptual: list[float]
    more: Cursor | None


_EMPTY = Page([], [], [], [], None)


@dataclass(frozen=True)
class _Candidates:
    rows: Int64Array
    score: Float64Array
    visual: Float64Array
    conceptual: Float64Array

    def take(self, positions: Int64Array | BoolArray | slice) -> _Candidates:
        return _Candidates(
            self.rows[positions], self.score[positions], self.visual[positions], self.conceptual[positions]
        )

    def page(self, more: Cursor | None) -> Page:
        return Page(
            self.rows.tolist(), self.score.tolist(), self.visual.tolist(), self.conceptual.tolist(), more
        )


def rank(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, cursor: Cursor | None = None) -> Page:
    """One page of results, the best first. Raises EmptyQuery when the parts of the question cancel."""
    # The blend is made even when the filter leaves nothing, so that a question that cancels is always
    # refused.
    if ranking.allowed is not None and ranking.allowed.size == 0:
        vectors.blend(ranking.visual_weight)
        return _EMPTY
    if ranking.diversity > 0:
        return _diverse(engine, vectors, ranking, cursor)
    return _by_score(engine, vectors, ranking, cursor)


def _by_score(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, cursor: Cursor | None) -> Page:
    seen = cursor.seen if cursor else 0
    limit = min(ranking.limit, MAX_DEPTH - seen)
    found = _candidates(engine, vectors, ranking, seen + limit + 1)
    if cursor is not None:
        shown = np.isin(found.rows, np.asarray(cursor.near, dtype=np.int64))
        found = found.take((found.score < cursor.score + _NOISE) & ~shown)
    page = found.take(slice(0, limit))
    more = None
    if len(found.rows) > limit > 0 and seen + limit < MAX_DEPTH:
        last = float(page.score[-1])
        near = page.rows[page.score < last + _NOISE].tolist()
        if cursor is not None and cursor.score < last + _NOISE:
            near = [*cursor.near, *near]
        more = Cursor("", "", seen=seen + limit, score=last, near=tuple(near))
    return page.page(more)


def _diverse(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, cursor: Cursor | None) -> Page:
    # All pages are cut from one pool of fixed depth: an order that depends on what came before needs the same
    # start.
    seen = cursor.seen if cursor else 0
    pool = cursor.pool if cursor and cursor.pool else min(max(4 * ranking.limit, 200), 2000)
    found = _candidates(engine, vectors, ranking, pool)
    until = seen + ranking.limit
    order = marginal_relevance(engine.image_vectors(found.rows), found.score, ranking.diversity, until)
    page = found.take(order[seen:until])
    more = Cursor("", "", seen=until, pool=pool) if until < len(found.rows) else None
    return page.page(more)


def _candidates(engine: QueryEngine, vectors: QueryVectors, ranking: Ranking, k: int) -> _Candidates:
    hits = engine.search(
        vectors,
        ranking.visual_weight,
        min(k, engine.num_images),
        allowed=ranking.allowed,
        exclude_row=ranking.exclude_row,
    )
    # Six decimals are all that float32 cosines carry; the sum is made of what is written, so it can be
    # checked.
    visual: Float64Array = hits.visual.astype(np.float64).round(_DECIMALS)
    conceptual: Float64Array = hits.conceptual.astype(np.float64).round(_DECIMALS)
    score = visual + conceptual
    order = np.argsort(-score, kind="stable")
    found = _Candidates(hits.rows[order], score[order], visual[order], conceptual[order])
    keep = found.rows >= 0
    if ranking.score_threshold is not None:
        keep &= found.score >= ranking.score_threshold
    return found if bool(keep.all()) else found.take(keep)
