from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_store.csr import Csr
from graph_store.errors import CorruptFile
from graph_store.graph import Graph

Edges = list[tuple[int, int, float]]
NUM_ROWS, NUM_COLS = 5, 7

edge_lists = st.lists(
    st.tuples(
        st.integers(0, NUM_ROWS - 1), st.integers(0, NUM_COLS - 1), st.sampled_from([0.25, 0.5, 0.75, 1.0])
    ),
    max_size=40,
)


def build(edges: Edges) -> Csr:
    rows, cols, weights = zip(*edges, strict=True) if edges else ((), (), ())
    return Csr.from_edges(np.array(rows, int), np.array(cols, int), np.array(weights, float), NUM_ROWS)


def edges_of(csr: Csr) -> Edges:
    return list(zip(csr.edge_rows().tolist(), csr.indices.tolist(), csr.weights.tolist(), strict=True))


@given(edge_lists)
def test_edges_are_grouped_by_row_in_the_given_order(edges: Edges) -> None:
    csr = build(edges)
    assert edges_of(csr) == sorted(edges, key=lambda edge: edge[0])
    for row in range(NUM_ROWS):
        senders, weights = csr.row(row)
        given_row = [edge[1:] for edge in edges if edge[0] == row]
        assert list(zip(senders.tolist(), weights.tolist(), strict=True)) == given_row


@given(edge_lists)
def test_transposing_swaps_the_ends_and_twice_gives_the_same_edges(edges: Edges) -> None:
    csr = build(edges)
    transposed = csr.transpose(NUM_COLS)
    assert transposed.num_rows == NUM_COLS
    assert sorted((c, r, w) for r, c, w in edges) == sorted(edges_of(transposed))
    assert sorted(edges_of(transposed.transpose(NUM_ROWS))) == sorted(edges)


@given(edge_lists, st.integers(0, 6))
def test_truncating_keeps_the_heaviest_and_breaks_ties_by_index(edges: Edges, limit: int) -> None:
    truncated = build(edges).truncate(limit)
    for row in range(NUM_ROWS):
        strongest = sorted(
            [edge[1:] for edge in edges if edge[0] == row], key=lambda edge: (-edge[1], edge[0])
        )
        senders, weights = truncated.row(row)
        assert list(zip(senders.tolist(), weights.tolist(), strict=True)) == strongest[:limit]


@pytest.mark.parametrize(
    ("indptr", "indices", "weights", "complaint"),
    [
        ([0, 2], [0], [1.0], "indptr ends at 2"),
        ([0, 2, 1], [0], [1.0], "never fall"),
        ([1, 1], [0], [1.0], "start at 0"),
        ([], [], [], "start at 0"),
        ([0, 1], [-1], [1.0], "negative"),
        ([0, 1], [0], [np.nan], "finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    indptr: list[int], indices: list[int], weights: list[float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Csr(np.array(indptr, np.int64), np.array(indices, np.int64), np.array(weights, np.float32))


def test_a_wrong_type_or_a_row_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="int64"):
        Csr(np.zeros(1, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    with pytest.raises(ValueError, match=r"\[0, 5\)"):
        build([(5, 0, 1.0)])
    with pytest.raises(IndexError):
        build([]).row(5)


def small_graph() -> Graph:
    has = Csr.from_edges(np.array([0, 1, 2]), np.array([0, 0, 1]), np.ones(3), 3)
    return Graph(
        num_images=3,
        num_tags=2,
        similar=Csr.from_edges(np.array([0, 1]), np.array([1, 2]), np.array([0.9, 0.8]), 3),
        tags_of_image=has,
        images_of_tag=has.transpose(2),
        related=Csr.empty(2),
    )


@pytest.mark.parametrize("mmap", [True, False])
def test_a_graph_survives_saving(tmp_path: Path, mmap: bool) -> None:
    graph = small_graph()
    graph.save(tmp_path)
    loaded = Graph.load(tmp_path, mmap)
    assert (loaded.num_images, loaded.num_tags) == (3, 2)
    for relation in ("similar", "tags_of_image", "images_of_tag", "related"):
        assert getattr(loaded, relation).equals(getattr(graph, relation))


def test_a_graph_with_an_edge_to_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="related names node 2 of 2"):
        Graph(3, 2, Csr.empty(3), Csr.empty(3), Csr.empty(2), Csr.from_edges([0], [2], [1.0], 2))
    with pytest.raises(ValueError, match="similar has 2 rows for 3 nodes"):
        Graph(3, 2, Csr.empty(2), Csr.empty(3), Csr.empty(2), Csr.empty(2))


@pytest.mark.parametrize("mmap", [True, False])
def test_a_truncated_or_missing_array_is_refused_by_name(tmp_path: Path, mmap: bool) -> None:
    small_graph().save(tmp_path)
    damaged = tmp_path / "similar.indices.npy"
    damaged.write_bytes(damaged.read_bytes()[:-4])
    with pytest.raises(CorruptFile, match=r"similar\.indices\.npy") as caught:
        Graph.load(tmp_path, mmap)
    assert caught.value.path == damaged
    damaged.unlink()
    with pytest.raises(CorruptFile, match=r"similar\.indices\.npy is missing"):
        Graph.load(tmp_path, mmap)


def test_rows_given_in_order_make_the_same_relation_as_edges() -> None:
    rows, cols, weights = [0, 0, 2], [4, 1, 3], [0.5, 0.25, 1.0]
    assert Csr.from_rows([2, 0, 1], cols, weights).equals(Csr.from_edges(rows, cols, weights, 3))
