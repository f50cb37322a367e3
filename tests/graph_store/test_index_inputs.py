import numpy as np
import pytest

from graph_store import index_inputs
from graph_store.errors import BadInput
from graph_store.index_inputs import checked_vectors


@pytest.mark.parametrize("row", [0, 4, 5, 12])
def test_a_vector_that_is_not_finite_is_named_whichever_block_it_is_in(
    row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_inputs, "_AT_ONCE", 5)
    vectors = np.zeros((13, 3), np.float32)
    vectors[row, 1] = np.inf
    with pytest.raises(BadInput, match=f"Vector {row} holds"):
        checked_vectors(vectors, None)
