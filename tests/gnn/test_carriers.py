"""A word that may mean several tags leads to the images that carry any of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnn.graph_data import GraphData
from gnn.model.carriers import carrier_directions
from gnn.model.kernel_sage import KernelSage
from tests.gnn.worlds import TAGS, drawn_data, trained


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data(400)


@pytest.fixture(scope="module")
def model(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> KernelSage:
    kernel = trained(data, tmp_path_factory.mktemp("carriers")).model
    assert isinstance(kernel, KernelSage)
    return kernel


def table(data: GraphData) -> np.ndarray:
    carried = np.zeros((len(data.ids), len(data.tag_names)), dtype=np.float32)
    carried[data.tags_of_image.edge_rows(), data.tags_of_image.indices] = 1.0
    return carried


def scores(model: KernelSage, carried: np.ndarray, jaccard: float) -> np.ndarray:
    """[images, tags]: what each direction makes of the images' tag sets, weighed as a question is."""
    views = model.embed_sets(torch.from_numpy(carried))
    views[:, : model.config.jaccard_rank] *= jaccard
    views[:, model.config.jaccard_rank :] *= 1.0 - jaccard
    directions = carrier_directions(model, jaccard)
    assert directions is not None
    found: np.ndarray = (views @ directions.T).numpy()
    return found


@pytest.mark.parametrize("jaccard", [0.0, 0.5, 0.85])
def test_a_tags_direction_says_which_images_carry_it_whatever_else_they_show(
    model: KernelSage, data: GraphData, jaccard: float
) -> None:
    carried = table(data)
    found = scores(model, carried, jaccard)
    for tag in range(len(TAGS)):
        assert found[carried[:, tag] > 0, tag].min() > found[carried[:, tag] == 0, tag].max()


def test_what_two_directions_say_adds_up_to_how_many_of_both_are_there(
    model: KernelSage, data: GraphData
) -> None:
    carried = table(data)
    both = carried[:, 0] + carried[:, 1]
    found = scores(model, carried, 0.5)[:, :2].sum(axis=1)
    assert np.corrcoef(found, both)[0, 1] > 0.95
    assert [round(float(found[both == number].mean())) for number in range(3)] == [0, 1, 2]


def test_as_a_set_two_tags_prefer_images_that_show_nothing_else(model: KernelSage, data: GraphData) -> None:
    """Why a word's tags are not asked for as a set."""
    carried = table(data)
    asked = torch.from_numpy(np.eye(len(TAGS), dtype=np.float32)[:1] * 0.5)
    alike = (model.embed_sets(asked) @ model.embed_sets(torch.from_numpy(carried)).T).numpy()[0]
    crowded = (carried[:, 0] > 0) & (carried.sum(axis=1) >= 3)
    alone = (carried[:, 0] > 0) & (carried.sum(axis=1) == 1)
    assert alike[alone].min() > alike[crowded].max()
    found = scores(model, carried, 0.5)[:, 0]
    assert abs(found[alone].mean() - found[crowded].mean()) < 0.15
