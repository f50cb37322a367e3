"""Where neighbours are searched: projections, plain, scaled and of roots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gnn import projection
from gnn.attach import inputs_of
from gnn.model.kernels import rooted as rooted_tensor
from gnn.projection import principal_projection, raw_projection, rooted
from tests.gnn.worlds import drawn_data, trained


def drawn(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("roots", [False, True])
def test_a_projection_goes_on_from_what_somebody_else_projected(roots: bool) -> None:
    features = drawn(40, 12)
    space = principal_projection(features, 6, 0.5, roots=roots)
    taken = rooted(features) if roots else features
    projected = (taken - space.mean) @ space.axes
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(space.of_projected(projected / lengths), space(features), atol=1e-6)


def test_half_whitening_evens_the_spread_of_the_axes_out_by_its_root() -> None:
    features = drawn(500, 8) * np.arange(1, 9, dtype=np.float32)
    space = principal_projection(features, 8, 0.5)
    projected = (features - space.mean) @ space.axes
    np.testing.assert_allclose((projected * space.scale).std(axis=0), projected.std(axis=0) ** 0.5, rtol=1e-4)


def test_roots_are_those_of_the_model() -> None:
    features = drawn(5, 7)
    np.testing.assert_allclose(rooted(features), rooted_tensor(torch.from_numpy(features)).numpy(), atol=1e-6)


@pytest.mark.parametrize("preset", ["default", "graph-rise"])
def test_a_query_is_searched_where_the_index_was_whoever_projects_it(preset: str, tmp_path: Path) -> None:
    data = drawn_data()
    model = trained(data, tmp_path, preset, epochs=1)
    vectors = model.neighbour_vectors(inputs_of(model.model, data.features), data.features)
    np.testing.assert_allclose(vectors, model.space(data.features), atol=1e-5)


def test_features_as_they_are_need_no_product() -> None:
    features = drawn(5, 7)
    space = raw_projection(7)
    assert space._keeps_axes and not principal_projection(features, 7, 0.0)._keeps_axes
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(space(features), features / lengths, atol=1e-6)


def test_blocks_are_written_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    features = drawn(100, 12)
    space = principal_projection(features, 6, 0.5, roots=True)
    whole = space(features)
    monkeypatch.setattr(projection, "_BLOCK", 30)
    target = np.full((100, 6), np.nan, np.float32)
    assert space.into(target, features) is target
    np.testing.assert_allclose(target, whole, atol=1e-6)
