"""An index is measured by questions that the service would ask it."""

from pathlib import Path

import numpy as np
import pytest

from gnn.index_questions import STOPS, index_questions
from gnn.query import QueryEngine
from gnn.query_types import Query
from gnn.reindex import build_index
from graph_store.arrays import Float32Array
from tests.gnn.worlds import drawn_data, trained

NUM = 30


@pytest.mark.parametrize("preset", ["default", "graph-rise"])
def test_they_are_indexed_images_and_points_between_two_at_stops_of_the_slider(
    preset: str, tmp_path: Path
) -> None:
    data = drawn_data(NUM)
    index = build_index(trained(data, tmp_path, preset), data)
    engine = QueryEngine(index)
    expected: list[Float32Array] = []
    for stop in STOPS:
        asked = np.stack([engine.embed(Query(indexed_row=row)).blend(stop) for row in range(NUM)])
        expected += [asked, (asked + asked[::-1]) / 2]
    found = index_questions(index.trained, index.states)
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-6)


def test_a_model_that_asks_for_means_of_tags_has_questions_too(tmp_path: Path) -> None:
    data = drawn_data(NUM)
    index = build_index(trained(data, tmp_path, "paper"), data)
    found = index_questions(index.trained, index.states)
    assert found.shape == (2 * len(STOPS) * NUM, index.trained.model.dim)
    assert bool(np.isfinite(found).all())
