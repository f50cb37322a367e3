"""Layer-wise embedding by blocks of rows, in memory and into files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnn import embedding
from gnn.embedding import GraphStates, NewArray, blocks, embed_graph, image_states, in_memory, run_layers
from gnn.graph_data import GraphData
from gnn.graph_index import GraphIndex, messages_of
from gnn.reindex import build_index
from gnn.trained_model import tag_numbers
from graph_store.arrays import Float32Array
from tests.gnn.worlds import drawn_data, trained


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data(num=90)


@pytest.fixture(scope="module", params=["default", "paper", "graph-rise"])
def index(
    request: pytest.FixtureRequest, data: GraphData, tmp_path_factory: pytest.TempPathFactory
) -> GraphIndex:
    folder = tmp_path_factory.mktemp(request.param)
    return build_index(trained(data, folder, request.param, epochs=1), data)


def embedded(
    index: GraphIndex, new_array: NewArray = in_memory, features: Float32Array | None = None
) -> GraphStates:
    return embed_graph(
        index.trained.model,
        messages_of(index.trained, index.graph),
        index.features if features is None else features,
        index.tag_text,
        tag_numbers(index.trained, index.tag_names),
        new_array,
    )


def arrays_of(states: GraphStates) -> list[Float32Array]:
    return [*states.image_states, *states.tag_states, states.embeddings, states.tag_embeddings]


@pytest.mark.parametrize("size", [1, 7, 89, 90, 91])
def test_blocks_of_any_size_embed_as_the_whole_does(
    index: GraphIndex, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embedded(index)
    monkeypatch.setattr(embedding, "BLOCK", size)
    for part, full in zip(arrays_of(embedded(index)), arrays_of(whole), strict=True):
        np.testing.assert_allclose(part, full, atol=1e-5)


@pytest.mark.parametrize(("num", "spans"), [(0, []), (8192, [(0, 8192)]), (8193, [(0, 8192), (8192, 8193)])])
def test_blocks_cover_every_row_once(num: int, spans: list[tuple[int, int]]) -> None:
    assert blocks(num) == spans


def test_arrays_mapped_to_files_hold_what_arrays_in_memory_hold(index: GraphIndex, tmp_path: Path) -> None:
    made: dict[str, Path] = {}

    def mapped(name: str, shape: tuple[int, int]) -> Float32Array:
        made[name] = tmp_path / f"{name}.npy"
        return np.lib.format.open_memmap(made[name], mode="w+", dtype=np.float32, shape=shape)

    np.save(tmp_path / "features.npy", index.features)
    features = np.load(tmp_path / "features.npy", mmap_mode="r")  # read-only, as the feature file is
    for ours, expected in zip(
        arrays_of(embedded(index, mapped, features)), arrays_of(embedded(index)), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(np.load(made["embeddings"]), embedded(index).embeddings)
    np.testing.assert_array_equal(np.load(made["tag_embeddings"]), embedded(index).tag_embeddings)


def test_the_states_kept_are_all_that_a_query_may_receive(index: GraphIndex) -> None:
    model, states = index.trained.model, embedded(index)
    assert [s.shape[1] for s in states.image_states] == [model.image_dim(i) for i in range(model.num_layers)]
    assert [s.shape[1] for s in states.tag_states] == [model.tag_dim(i) for i in range(model.num_layers)]
    assert states.embeddings.shape == (len(index.features), model.dim)
    assert states.tag_embeddings.shape == (len(index.tag_names), model.dim)


def test_a_span_of_images_has_the_states_of_all_layers(index: GraphIndex) -> None:
    model, messages = index.trained.model, messages_of(index.trained, index.graph)
    layers = run_layers(
        model, messages, index.features, index.tag_text, tag_numbers(index.trained, index.tag_names)
    )
    span = image_states(model, messages, layers, 10, 30)
    assert len(span) == model.num_layers + 1
    np.testing.assert_allclose(model.embed_images(span).detach(), index.states.embeddings[10:30], atol=1e-5)
