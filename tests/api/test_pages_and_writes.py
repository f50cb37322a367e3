"""Pages of one question while pictures come and go: what stays as it is comes neither twice nor never."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import ranking
from app.cursor import Cursor, Position
from app.ranking import Page, Ranking, rank
from gnn.query import QueryEngine, QueryVectors
from graph_store.arrays import Float32Array, Int64Array

THRESHOLD = 0.95
_MORE_THAN_NOISE = 1e-4


@dataclass(frozen=True)
class Picture:
    """What it looks like (an angle; near copies are less than 18 degrees apart) and how it scores."""

    looks: float
    score: float

    @property
    def features(self) -> Float32Array:
        radians = np.deg2rad(self.looks)
        return np.array([np.cos(radians), np.sin(radians)], dtype=np.float32)


class _Ids:
    """Of a picture that came later and is gone there is no id; one of the snapshot keeps its own."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def __getitem__(self, row: int) -> str:
        if row >= self._shelf.num_base and row not in self._shelf.there:
            raise IndexError(row)
        return str(row)


@dataclass
class Shelf:
    """As much of an engine as ranking needs. A picture that changes gets another row, as in a live index."""

    pictures: list[Picture]
    is_exact: bool = True
    there: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.num_base = len(self.pictures)
        self.there = set(range(self.num_base))
        self.graph = SimpleNamespace(num_images=self.num_base)
        self.image_ids = _Ids(self)

    @property
    def num_images(self) -> int:
        return len(self.there)

    def image_features(self, row: int) -> Float32Array:
        return self.pictures[row].features

    def image_vectors(self, rows: Int64Array) -> Float32Array:
        return np.array([self.pictures[row].features for row in rows.tolist()]).reshape(len(rows), 2)

    def search(self, vectors: Any, visual_weight: float, k: int, **asked: Any) -> Any:
        best = sorted(self.there, key=lambda row: (-self.pictures[row].score, row))[:k]
        scores = np.array([self.pictures[row].score for row in best], dtype=np.float32)
        return SimpleNamespace(
            rows=np.array(best, dtype=np.int64), visual=scores, conceptual=np.zeros_like(scores)
        )

    def put(self, picture: Picture) -> int:
        self.pictures.append(picture)
        self.there.add(len(self.pictures) - 1)
        return len(self.pictures) - 1


def through_a_cursor(position: Position) -> Position:
    return Cursor.decode(Cursor("1", "q", position).encode(b"")).position


def pages(shelf: Shelf, asked: Ranking, between: Callable[[], None] = lambda: None) -> Iterator[Page]:
    after: Position | None = None
    for _ in range(200):
        page = rank(cast(QueryEngine, shelf), cast(QueryVectors, None), asked, after)
        yield page
        if page.more is None:
            return
        after = through_a_cursor(page.more)
        between()
    pytest.fail("the pages have no end")


def hits(read: Sequence[Page]) -> list[int]:
    return [row for page in read for row in page.rows]


# -- what was found to go wrong


@pytest.mark.parametrize("is_exact", [True, False])
def test_a_picture_is_not_lost_under_a_better_copy_that_came_after_its_page(is_exact: bool) -> None:
    shelf = Shelf([Picture(0, 0.9), Picture(90, 0.8), Picture(180, 0.7)], is_exact)

    def write() -> None:
        shelf.put(Picture(181, 0.95))

    read = list(pages(shelf, Ranking(0.5, 1, collapse=THRESHOLD), write))
    assert hits(read) == [0, 1, 2]


@pytest.mark.parametrize("diversity", [0.0, 0.3])
def test_a_better_copy_of_what_was_shown_does_not_come_after_it(diversity: float) -> None:
    shelf = Shelf([Picture(0, 0.9), Picture(90, 0.8), Picture(180, 0.7)])
    asked = Ranking(0.5, 1, diversity=diversity, collapse=THRESHOLD)
    after = rank(cast(QueryEngine, shelf), cast(QueryVectors, None), asked).more
    assert after is not None
    newer = shelf.put(Picture(1, 0.95))
    read = list(pages(shelf, asked))
    assert hits(read)[0] == newer, "a first page that is asked for now begins with it"
    second = rank(cast(QueryEngine, shelf), cast(QueryVectors, None), asked, through_a_cursor(after))
    assert newer not in second.rows and not any(second.copies)


def test_pictures_that_came_do_not_push_others_out_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "LEAST_POOL", 4)
    shelf = Shelf([Picture(45 * place, 0.9 - place / 10) for place in range(6)])

    to_come = iter([Picture(45 * place + 20, 0.95) for place in range(3)])

    def write() -> None:
        for picture in to_come:
            shelf.put(picture)

    read = list(pages(shelf, Ranking(0.5, 1, diversity=0.2), write))
    assert {0, 1, 2, 3} <= set(hits(read))
    assert 5 not in hits(read), "it was not in the pool"


# -- whatever is written

ANGLES = st.integers(0, 23).map(lambda step: step * 15.0) | st.floats(0, 360)
PICTURES = st.builds(Picture, ANGLES, st.integers(1, 99).map(lambda score: score / 100))
# Of pictures that came after a page, and of those that were deleted, changed in place or copied.
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "change", "copy"]),
        PICTURES,
        st.integers(0, 10**6),
        st.floats(-9, 9),
    ),
    max_size=6,
)


def written(shelf: Shelf, write: tuple[str, Picture, int, float]) -> None:
    kind, picture, number, turn = write
    rows = sorted(shelf.there)
    if kind == "put" or not rows:
        shelf.put(picture)
        return
    row = rows[number % len(rows)]
    if kind != "copy":
        shelf.there.remove(row)
    if kind != "delete":
        shelf.put(Picture(shelf.pictures[row].looks + turn, picture.score))


def cosine(shelf: Shelf, row: int, other: int) -> float:
    return float(shelf.image_features(row) @ shelf.image_features(other))


@settings(max_examples=300, deadline=None)
@given(
    pictures=st.lists(PICTURES, max_size=14),
    is_exact=st.booleans(),
    limit=st.integers(1, 4),
    pool=st.integers(1, 30),
    diversity=st.sampled_from([0.0, 0.4]),
    collapse=st.sampled_from([None, THRESHOLD]),
    writes=st.lists(WRITES, max_size=4),
)
def test_what_stays_as_it_is_comes_once_whatever_is_written_between(
    pictures: list[Picture],
    is_exact: bool,
    limit: int,
    pool: int,
    diversity: float,
    collapse: float | None,
    writes: list[list[tuple[str, Picture, int, float]]],
) -> None:
    asked = Ranking(0.5, limit, diversity=diversity, collapse=collapse)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "LEAST_POOL", pool)
        patch.setattr(ranking, "MOST_POOL", pool)
        expected = set(hits(list(pages(Shelf(list(pictures), is_exact), asked))))
        shelf = Shelf(list(pictures), is_exact)
        to_write = iter(writes)
        shown: list[int] = []

        def write() -> None:
            for each in next(to_write, []):
                written(shelf, each)

        for page in pages(shelf, asked, write):
            folded = {row for copies in page.copies for row in copies}
            assert not folded & {*shown, *page.rows}, "what was shown is not listed as a copy"
            for row in page.rows:
                assert row not in shown, "nothing is shown twice"
                if collapse is not None:
                    alike = [o for o in shown if cosine(shelf, o, row) > collapse + _MORE_THAN_NOISE]
                    assert not shelf.there & set(alike), "nor is a copy of what was shown and is there"
                shown.append(row)
        # Where nothing is cut off at a pool's depth, all that was there at first is to come.
        unchanged = shelf.there & (expected if diversity else set(range(len(pictures))))
        for row in unchanged - set(shown):
            least = 2.0 if collapse is None else collapse - _MORE_THAN_NOISE
            assert any(cosine(shelf, row, other) >= least for other in shown), "nothing is skipped"
