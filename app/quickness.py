"""What of a search takes so little time that a hop to a thread would cost more."""

from __future__ import annotations

from app.cursor import Position
from app.ranking import Ranking
from app.serving_state import ServingState
from gnn.query import Query
from graph_store.tag_names import tag_key

_FEW = 200
"""Depths of search up to this many results are quick enough for the event loop, where the index is."""


def needs_words(state: ServingState, query: Query) -> bool:
    """Whether the text encoder has to be asked, which takes milliseconds."""
    return query.text is not None or any(tag_key(tag.name) not in state.tag_numbers for tag in query.tags)


def is_stored(query: Query) -> bool:
    """Whether the query is an indexed picture and nothing else, so that there is nothing to attach."""
    return query.indexed_row is not None and query.attach == "auto" and not query.tags


def is_small(ranking: Ranking, after: Position | None) -> bool:
    """Whether ranking is a plain search, and not a deep one."""
    plain = ranking.allowed is None and ranking.diversity == 0 and ranking.collapse is None
    return plain and ranking.limit + (after.seen if after else 0) <= _FEW
