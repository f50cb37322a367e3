"""What changed is embedded again, also where what comes out is no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnn.changed_embedding import Before, embed_changes
from gnn.embedding import in_memory
from gnn.engines.engine import EmbeddingWork
from gnn.graph_index import messages_of
from gnn.reindex import build_index
from gnn.trained_model import tag_numbers
from graph_store.progress import SilentProgress
from tests.gnn.worlds import drawn_data, trained


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_a_state_that_is_no_number_does_not_pass_for_the_one_of_before(preset: str, tmp_path: Path) -> None:
    data = drawn_data(60)
    index = build_index(trained(data, tmp_path, preset, epochs=1), data)
    messages = messages_of(index.trained, index.graph)
    features, image_of = index.features.copy(), np.arange(60)
    features[0], image_of[0] = np.nan, -1
    hearing = [row for row in range(1, 60) if 0 in messages.similar.row(row)[0]]
    assert hearing
    numbers = tag_numbers(index.trained, index.tag_names)
    states, anew = embed_changes(
        EmbeddingWork(index.trained, messages, features, index.tag_text, numbers),
        Before(messages, index.states, image_of, np.arange(len(index.tag_names))),
        in_memory,
        SilentProgress(),
    )
    assert {*hearing} <= {*anew.tolist()}
    assert bool(np.isnan(states.image_states[1][hearing]).any(axis=1).all())
