"""The graph as PyTorch Geometric sees it: as `HeteroData`, or through its feature and graph store interfaces.

In PyG edge_index[0] sends and edge_index[1] receives; in `Graph` the row receives. torch is imported inside
the functions only, so that the store itself does without it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph

if TYPE_CHECKING:
    import torch

EdgeType = tuple[str, str, str]

SIMILAR: EdgeType = ("image", "similar", "image")
HAS: EdgeType = ("image", "has", "tag")
REV_HAS: EdgeType = ("tag", "rev_has", "image")
RELATED: EdgeType = ("tag", "related", "tag")


def relations(graph: Graph) -> dict[EdgeType, Csr]:
    """The four relations by PyG edge type (sender, relation, receiver); rows receive."""
    return {
        SIMILAR: graph.similar,
        HAS: graph.images_of_tag,
        REV_HAS: graph.tags_of_image,
        RELATED: graph.related,
    }


def to_hetero_data(graph: Graph, image_x: Float32Array, tag_x: Float32Array) -> Any:
    """A `HeteroData` with `x` for both node types, and `edge_index` and `edge_weight` for the four edge
    types.

    image_x: [num_images, d] float32; tag_x: [num_tags, e] float32. Features and weights share memory with
    the arrays given, read-only ones included, so the tensors must not be written to.
    """
    from torch_geometric.data import HeteroData

    _check_features(graph, image_x, tag_x)
    data = HeteroData()
    data["image"].x = tensor_of(image_x)
    data["tag"].x = tensor_of(tag_x)
    for edge_type, csr in relations(graph).items():
        data[edge_type].edge_index = tensor_of(np.stack([csr.indices, csr.edge_rows()]))
        data[edge_type].edge_weight = tensor_of(csr.weights)
    return data


def tensor_of(array: AnyArray) -> torch.Tensor:
    """A tensor over the array's own memory, which is not copied even when it is a read-only map."""
    import torch

    if array.flags.writeable:
        return torch.from_numpy(array)
    if array.size == 0:
        return torch.from_numpy(array.copy())
    # torch.from_numpy warns about read-only arrays since a write would crash; through a buffer of the same
    # memory it is silent, and nothing here writes.
    address = array.__array_interface__["data"][0]
    held = _Held(array, address)
    return torch.from_numpy(np.asarray(held))


class _Held:
    """An array's memory, declared writeable; numpy keeps this object, and with it the array, alive."""

    def __init__(self, array: AnyArray, address: int) -> None:
        self._array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def feature_store_view(graph: Graph, image_x: Float32Array, tag_x: Float32Array) -> Any:
    """A PyG `FeatureStore` over (memory-mapped) features: group `image` or `tag`, attribute `x`.

    Only the rows that are asked for are read. It is read-only: putting and removing answer False.
    """
    _check_features(graph, image_x, tag_x)
    return _store_classes()[0]({"image": image_x, "tag": tag_x})


def graph_store_view(graph: Graph) -> Any:
    """A PyG `GraphStore` over (memory-mapped) edges, in CSC layout, which is how `Graph` holds them.
    Read-only.
    """
    return _store_classes()[1](graph)


@cache
def _store_classes() -> tuple[Any, Any]:
    """The two classes, made on first use since their bases come from PyG."""
    from torch_geometric.data import FeatureStore, GraphStore, TensorAttr
    from torch_geometric.data.graph_store import EdgeAttr, EdgeLayout

    class FeatureStoreView(FeatureStore):  # type: ignore[misc]  # PyG is not typed for mypy here
        """Features of images and tags, straight from their arrays."""

        def __init__(self, features: dict[str, Float32Array]) -> None:
            super().__init__()
            self._features = features

        def _array(self, attr: Any) -> Float32Array | None:
            return self._features.get(attr.group_name) if attr.attr_name == "x" else None

        def _get_tensor(self, attr: Any) -> Any:
            array = self._array(attr)
            if array is None:
                return None
            index = attr.index
            if index is None or not attr.is_set("index"):
                return tensor_of(array)
            if isinstance(index, slice):
                return tensor_of(array[index])
            rows: Int64Array = np.asarray(index, dtype=np.int64)
            return tensor_of(np.ascontiguousarray(array[rows]))

        def _get_tensor_size(self, attr: Any) -> tuple[int, ...] | None:
            array = self._array(attr)
            return None if array is None else array.shape

        def _put_tensor(self, tensor: Any, attr: Any) -> bool:
            return False

        def _remove_tensor(self, attr: Any) -> bool:
            return False

        def get_all_tensor_attrs(self) -> list[Any]:
            return [TensorAttr(group, "x") for group in self._features]

    class GraphStoreView(GraphStore):  # type: ignore[misc]  # as above
        """The four relations, straight from their arrays: (row = indices, colptr = indptr)."""

        def __init__(self, graph: Graph) -> None:
            super().__init__()
            self._relations = relations(graph)
            self._sizes = {"image": graph.num_images, "tag": graph.num_tags}

        def _get_edge_index(self, attr: Any) -> Any:
            csr = self._relations.get(tuple(attr.edge_type))
            if csr is None or attr.layout != EdgeLayout.CSC:
                return None
            return tensor_of(csr.indices), tensor_of(csr.indptr)

        def _put_edge_index(self, edge_index: Any, edge_attr: Any) -> bool:
            return False

        def _remove_edge_index(self, edge_attr: Any) -> bool:
            return False

        def get_all_edge_attrs(self) -> list[Any]:
            return [
                EdgeAttr(
                    edge_type, EdgeLayout.CSC, size=(self._sizes[edge_type[0]], self._sizes[edge_type[2]])
                )
                for edge_type in self._relations
            ]

    return FeatureStoreView, GraphStoreView


def _check_features(graph: Graph, image_x: Float32Array, tag_x: Float32Array) -> None:
    for name, array, num in (("image", image_x, graph.num_images), ("tag", tag_x, graph.num_tags)):
        if array.ndim != 2 or len(array) != num:
            raise ValueError(f"{name} features have shape {array.shape} for {num} nodes")
