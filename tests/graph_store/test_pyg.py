import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv

from graph_store.arrays import Float32Array
from graph_store.csr import Csr
from graph_store.graph import Graph
from graph_store.pyg import (
    HAS,
    RELATED,
    REV_HAS,
    SIMILAR,
    feature_store_view,
    graph_store_view,
    to_hetero_data,
)

NUM_IMAGES, NUM_TAGS = 30, 7


def saved_graph(directory: Path) -> tuple[Graph, Float32Array, Float32Array]:
    """A graph and features that are read-only memory maps, as in a snapshot."""
    random = np.random.default_rng(0)

    def edges(receivers: int, senders: int) -> Csr:
        rows, cols = np.nonzero(random.random((receivers, senders)) < 0.2)
        return Csr.from_edges(rows, cols, random.random(len(rows)), receivers)

    has = edges(NUM_TAGS, NUM_IMAGES)
    Graph(
        num_images=NUM_IMAGES,
        num_tags=NUM_TAGS,
        similar=edges(NUM_IMAGES, NUM_IMAGES),
        tags_of_image=has.transpose(NUM_IMAGES),
        images_of_tag=has,
        related=edges(NUM_TAGS, NUM_TAGS),
    ).save(directory)
    np.save(directory / "image.npy", random.random((NUM_IMAGES, 5), dtype=np.float32))
    np.save(directory / "tag.npy", random.random((NUM_TAGS, 3), dtype=np.float32))
    return Graph.load(directory), np.load(directory / "image.npy", "r"), np.load(directory / "tag.npy", "r")


def test_messages_flow_from_senders_to_receivers(tmp_path: Path) -> None:
    graph, image_x, tag_x = saved_graph(tmp_path)
    data = to_hetero_data(graph, image_x, tag_x)
    assert isinstance(data, HeteroData)
    data.validate()
    for edge_type, csr in {
        SIMILAR: graph.similar, HAS: graph.images_of_tag, REV_HAS: graph.tags_of_image, RELATED: graph.related
    }.items():  # fmt: skip
        senders, receivers = data[edge_type].edge_index
        for row in range(csr.num_rows):
            assert senders[receivers == row].tolist() == csr.row(row)[0].tolist()
            assert data[edge_type].edge_weight[receivers == row].tolist() == csr.row(row)[1].tolist()


def test_pyg_convolutions_run_on_it(tmp_path: Path) -> None:
    graph, image_x, tag_x = saved_graph(tmp_path)
    data = to_hetero_data(graph, image_x, tag_x)
    convolution = HeteroConv({t: SAGEConv((-1, -1), 4) for t in (SIMILAR, HAS, REV_HAS, RELATED)})
    out = convolution(data.x_dict, data.edge_index_dict)
    assert out["image"].shape == (NUM_IMAGES, 4) and out["tag"].shape == (NUM_TAGS, 4)


def test_the_tensors_share_the_memory_map_and_keep_it_alive(tmp_path: Path) -> None:
    graph, image_x, tag_x = saved_graph(tmp_path)
    expected = np.array(image_x)
    address = image_x.ctypes.data
    data = to_hetero_data(graph, image_x, tag_x)
    del image_x
    assert data["image"].x.data_ptr() == address
    np.testing.assert_array_equal(data["image"].x.numpy(), expected)


def test_the_feature_store_gives_the_rows_asked_for(tmp_path: Path) -> None:
    graph, image_x, tag_x = saved_graph(tmp_path)
    store = feature_store_view(graph, image_x, tag_x)
    assert {(attr.group_name, attr.attr_name) for attr in store.get_all_tensor_attrs()} == {
        ("image", "x"),
        ("tag", "x"),
    }
    assert tuple(store.get_tensor_size(group_name="tag", attr_name="x")) == (NUM_TAGS, 3)
    rows = store.get_tensor(group_name="image", attr_name="x", index=torch.tensor([4, 2, 2]))
    np.testing.assert_array_equal(rows, image_x[[4, 2, 2]])
    np.testing.assert_array_equal(
        store.get_tensor(group_name="tag", attr_name="x", index=slice(1, 3)), tag_x[1:3]
    )
    np.testing.assert_array_equal(store.get_tensor(group_name="tag", attr_name="x", index=None), tag_x)
    assert store.get_tensor(group_name="image", attr_name="y", index=None) is None
    assert store.put_tensor(torch.zeros(2), group_name="image", attr_name="y", index=None) is False
    assert store.remove_tensor(group_name="image", attr_name="x", index=None) is False


def test_the_graph_store_gives_every_relation_in_every_layout(tmp_path: Path) -> None:
    graph, image_x, tag_x = saved_graph(tmp_path)
    store = graph_store_view(graph)
    data = to_hetero_data(graph, image_x, tag_x)
    rows, colptr, _ = store.csc()
    for edge_type in (SIMILAR, HAS, REV_HAS, RELATED):
        senders = data[edge_type].edge_index[0]
        assert rows[edge_type].tolist() == senders.tolist()
        receivers = torch.repeat_interleave(
            torch.arange(len(colptr[edge_type]) - 1), colptr[edge_type].diff()
        )
        assert receivers.tolist() == data[edge_type].edge_index[1].tolist()
    coo_senders, coo_receivers, _ = store.coo()
    for edge_type in (SIMILAR, HAS, REV_HAS, RELATED):
        pairs = sorted(zip(*data[edge_type].edge_index.tolist(), strict=True))
        assert (
            sorted(zip(coo_senders[edge_type].tolist(), coo_receivers[edge_type].tolist(), strict=True))
            == pairs
        )
    assert store.put_edge_index(data[SIMILAR].edge_index, edge_type=SIMILAR, layout="coo") is False
    assert store.remove_edge_index(edge_type=SIMILAR, layout="csc") is False


def test_features_that_do_not_fit_the_graph_are_refused(tmp_path: Path) -> None:
    graph, image_x, _ = saved_graph(tmp_path)
    with pytest.raises(ValueError, match="tag features have shape"):
        to_hetero_data(graph, image_x, image_x)


def test_the_store_does_not_import_torch() -> None:
    modules = (
        "catalog",
        "snapshot",
        "record_table",
        "faiss_index",
        "similar",
        "related",
        "verify",
        "features",
        "pyg",
    )
    program = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module("graph_store." + name)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
