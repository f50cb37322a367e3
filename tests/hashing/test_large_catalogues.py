"""Codes of a catalogue that is too large for memory: the same, from vectors in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from gnn import embedding, reindex
from gnn.embedding import in_memory, mapped_in
from gnn.evaluation.relevance import TagTable
from gnn.graph_data import GraphData
from gnn.hashing import room, training, views
from gnn.hashing.codes import HashCodes
from gnn.hashing.objective import HashingConfig, HashingData, HashObjective
from gnn.hashing.rotation import principal_head
from gnn.hashing.training import with_codes
from gnn.hashing.views import part_of, rotation
from gnn.trained_model import TrainedModel
from graph_store import index_choice
from graph_store.array_files import new_mapped_array
from graph_store.arrays import Float32Array
from graph_store.index_choice import IndexChoice
from graph_store.progress import SilentProgress
from tests.gnn.worlds import drawn_data, trained

NUM = 90


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data(NUM)


@pytest.fixture(scope="module")
def model(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return trained(data, tmp_path_factory.mktemp("model"), epochs=1)


def codes_of(model: TrainedModel, data: GraphData, folder: Path) -> HashCodes:
    """The codes that are learnt of a catalogue; what they need lies in the folder's `codes`."""
    with pytest.MonkeyPatch.context() as shorter:
        shorter.setattr(views, "FOLDS", 2)
        shorter.setattr(training, "EPOCHS", 3)
        made = with_codes(
            model,
            data,
            lambda part: trained(part, folder / "part", epochs=1),
            folder / "codes",
            seed=0,
            resume=False,
            progress=SilentProgress(),
        )
    assert made.hashing is not None
    return made.hashing


@pytest.fixture(scope="module")
def mapped(
    data: GraphData, model: TrainedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HashCodes, Path, list[str]]]:
    """Codes learnt as of a large catalogue, their folder, and the files that arrays were mapped to."""
    made: list[str] = []

    def noting(path: Path, shape: tuple[int, ...]) -> Float32Array:
        made.append(f"{path.parent.name}/{path.name}")
        return new_mapped_array(path, shape)

    folder = tmp_path_factory.mktemp("mapped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "MAPPED_FROM", 10)
        patch.setattr(embedding, "new_mapped_array", noting)
        yield codes_of(model, data, folder), folder / "codes", made


def test_vectors_in_files_give_the_same_codes(
    data: GraphData, model: TrainedModel, mapped: tuple[HashCodes, Path, list[str]], tmp_path: Path
) -> None:
    expected = codes_of(model, data, tmp_path).tensors()
    for name, tensor in mapped[0].tensors().items():
        assert torch.equal(tensor, expected[name])


def test_a_large_catalogue_has_its_vectors_and_those_of_its_parts_in_files(
    mapped: tuple[HashCodes, Path, list[str]],
) -> None:
    assert {".vectors.tmp/embeddings.npy", ".others.tmp/embeddings.npy", ".others.tmp/features.npy"} <= set(
        mapped[2]
    )


def test_nothing_but_the_runs_stays_of_it(mapped: tuple[HashCodes, Path, list[str]]) -> None:
    assert all(path.name.startswith("hash-") for path in mapped[1].iterdir())


def test_no_index_is_made_that_nobody_searches(
    data: GraphData, model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = part_of(data, np.arange(30), in_memory)  # too few to train on: it is over in a moment
    kinds = []
    search_index = reindex.search_index

    def noting(trained: Any, states: Any, choice: IndexChoice) -> Any:
        kinds.append(choice.kind)
        return search_index(trained, states, choice)

    monkeypatch.setattr(reindex, "search_index", noting)
    monkeypatch.setattr(index_choice, "FLAT_BELOW", 10)
    codes_of(model, few, tmp_path)
    assert set(kinds) == {"flat"}


def test_a_part_has_the_features_and_tags_of_its_images(data: GraphData, tmp_path: Path) -> None:
    rows = np.array([0, 1, 2, 9, 40, 41, 77], dtype=np.int64)
    part = part_of(data, rows, mapped_in(tmp_path))
    assert isinstance(part.features, np.memmap)
    np.testing.assert_array_equal(part.features, data.features[rows])
    assert part.ids == tuple(data.ids[row] for row in rows)
    for place, row in enumerate(rows.tolist()):
        for column, expected in zip(part.tags_of_image.row(place), data.tags_of_image.row(row), strict=True):
            np.testing.assert_array_equal(column, expected)


def test_the_rotation_block_by_block_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    right = rng.standard_normal((70, 12)).astype(np.float32)
    rows = np.sort(rng.permutation(70)[:50]).astype(np.int64)
    turned = np.linalg.qr(rng.standard_normal((12, 12)))[0].astype(np.float32)
    left = right[rows] @ turned.T
    at_once = rotation(left, right, rows)
    monkeypatch.setattr(views, "_TURNED", 7)
    np.testing.assert_allclose(rotation(left, right, rows), at_once, atol=1e-6)
    np.testing.assert_allclose(at_once, turned, atol=1e-5)


class NotedRows(sparse.csr_matrix):
    """A sparse matrix that knows of how many rows it was made dense."""

    most = 0

    def toarray(self, *args: Any, **kwargs: Any) -> np.ndarray:
        NotedRows.most = max(NotedRows.most, self.shape[0])
        dense: np.ndarray = super().toarray(*args, **kwargs)
        return dense


def test_only_tags_of_the_images_of_a_step_are_dense() -> None:
    rng = np.random.default_rng(0)
    items = rng.standard_normal((200, 8)).astype(np.float32)
    carried = rng.random((200, 30)) < 0.2
    rows = np.arange(40)
    material = HashingData(
        items, items[rows], rows, TagTable(NotedRows(carried.astype(np.float32))), rows[:30], rows[30:]
    )
    start = principal_head(items, items.mean(axis=0), 4)
    objective = HashObjective(material, start, HashingConfig(batch_size=16, list_length=25), seed=0)
    assert torch.isfinite(objective.loss(0, 0))
    assert NotedRows.most == 25
