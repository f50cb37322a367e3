"""Parts of a layer, as a process computes them that was started elsewhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from gnn.engines.engine import EmbeddingWork
from gnn.engines.parts import Shared, compute, share, tag_parts
from gnn.graph_index import messages_of
from gnn.reindex import build_index
from gnn.trained_model import tag_numbers
from graph_store.array_files import new_mapped_array
from tests.gnn.worlds import drawn_data, trained

NUM = 60


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingWork:
    data = drawn_data(NUM)
    index = build_index(trained(data, tmp_path_factory.mktemp("model"), epochs=1), data)
    messages = messages_of(index.trained, index.graph)
    numbers = tag_numbers(index.trained, index.tag_names)
    return EmbeddingWork(index.trained, messages, index.features, index.tag_text, numbers)


def test_what_lies_at_relative_paths_is_found_from_any_directory(
    work: EmbeddingWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    new_mapped_array(Path("image_0.npy"), (NUM, work.trained.model.image_dim(0)))
    sent = pickle.dumps(share(Path("scratch"), work, {"image_0": Path("image_0.npy")}))

    monkeypatch.chdir(elsewhere)
    shared = pickle.loads(sent)
    assert isinstance(shared, Shared)
    (part,) = tag_parts(1, work.messages.images_of_tag, edges=1_000_000)

    assert compute(shared, part) == work.messages.num_tags
    assert np.any(shared.array("tag_1"))
    assert all(file.exists() for file in shared.arrays.values())
