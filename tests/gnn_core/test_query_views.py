"""Query views stand where a question would: they receive, and send nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gnn.objectives.query_views import kept_tags, with_views
from tests.gnn_core.worlds import random_world


def test_a_view_has_the_similar_images_of_its_image() -> None:
    graph = random_world().graph
    views = with_views(graph, np.ones(graph.tags_of_image.num_edges, dtype=bool))
    for image in range(graph.num_images):
        for row, expected in zip(
            views.similar.row(graph.num_images + image), graph.similar.row(image), strict=True
        ):
            np.testing.assert_array_equal(row, expected)


def test_nobody_receives_from_a_view() -> None:
    graph = random_world().graph
    views = with_views(graph, np.ones(graph.tags_of_image.num_edges, dtype=bool))
    assert views.similar.indices.max() < graph.num_images
    assert views.images_of_tag is graph.images_of_tag


def test_a_view_keeps_the_tags_that_are_kept_and_its_image_all() -> None:
    graph = random_world().graph
    has = graph.tags_of_image
    kept = np.random.default_rng(0).random(has.num_edges) < 0.5
    views = with_views(graph, kept).tags_of_image
    rows = has.edge_rows()
    for image in range(graph.num_images):
        np.testing.assert_array_equal(views.row(image)[0], has.row(image)[0])
        expected = has.indices[kept & (rows == image)]
        np.testing.assert_array_equal(views.row(graph.num_images + image)[0], expected)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_so_many_views_have_no_tag(share: float) -> None:
    has = random_world(images=3000, tags=40).graph.tags_of_image
    kept = kept_tags(has, np.random.default_rng(0), share)
    tagged = has.degrees() > 3
    bare = np.bincount(has.edge_rows()[kept], minlength=has.num_rows)[tagged] == 0
    # With d tags each kept with an even chance, a view of those that may keep some loses all in 1/(d+1).
    assert share - 0.05 < bare.mean() <= share + (1 - share) * 0.3
