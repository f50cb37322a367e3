"""The picture that stands for a tag is the mean of those that carry it, however the features are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnn import graph_index
from gnn.graph_index import prototypes_of
from graph_store.array_files import load_array, save_array
from graph_store.arrays import Float32Array
from graph_store.csr import Csr

IMAGES, TAGS, DIM = 700, 9, 16


@pytest.fixture
def features() -> Float32Array:
    return np.random.default_rng(0).standard_normal((IMAGES, DIM), dtype=np.float32)


@pytest.fixture
def images_of_tag() -> Csr:
    """Tag 0 has no images, tag 1 all, the others some."""
    rng = np.random.default_rng(1)
    carried = rng.random((TAGS, IMAGES)) < rng.random((TAGS, 1)) * 0.2
    carried[0], carried[1] = False, True
    tags, images = np.nonzero(carried)
    return Csr.from_edges(tags, images, np.ones(len(tags)), TAGS)


@pytest.mark.parametrize("at_once", [1, 64, 10_000])
def test_each_is_the_mean_of_its_images_of_unit_norm(
    features: Float32Array, images_of_tag: Csr, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_index, "_AT_ONCE", at_once)
    found = prototypes_of(features, images_of_tag)
    assert not found[0].any()
    for tag in range(1, TAGS):
        mean = features[images_of_tag.row(tag)[0]].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(found[tag], mean / np.linalg.norm(mean), atol=1e-5)


def test_many_images_are_sampled_evenly(features: Float32Array, images_of_tag: Csr) -> None:
    found = prototypes_of(features, images_of_tag, most=100)
    mean = features[::7].mean(axis=0, dtype=np.float64)  # tag 1 has all 700
    np.testing.assert_allclose(found[1], mean / np.linalg.norm(mean), atol=1e-5)


def test_mapped_features_give_the_same(features: Float32Array, images_of_tag: Csr, tmp_path: Path) -> None:
    save_array(tmp_path / "features.npy", features)
    mapped = prototypes_of(load_array(tmp_path / "features.npy"), images_of_tag)
    np.testing.assert_array_equal(mapped, prototypes_of(features, images_of_tag))
