"""Our sampler inside PyTorch Geometric's own loaders, without pyg-lib."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.sampler import NegativeSampling, NodeSamplerInput

from gnn.model.aggregate import full_states
from gnn.model.edge_weights import MessageWeights, message_graph
from gnn.model.reference import EDGE_TYPES, ReferenceSage
from gnn.sampling.pyg import FanOutSampler
from graph_store.errors import BadInput
from graph_store.graph import Graph
from graph_store.pyg import feature_store_view, graph_store_view, to_hetero_data
from tests.gnn_core.worlds import World, random_world, small_sage

HAS_EDGES = ("image", "has", "tag")


def messages(world: World) -> Graph:
    return message_graph(world.graph, MessageWeights(similar="softmax"))


def data_of(world: World, graph: Graph) -> Any:
    return to_hetero_data(graph, world.x.numpy(), world.tag_text.numpy())


def check_batch(batch: Any, graph: Graph) -> None:
    """Every edge of the batch is an edge of the graph, with its own weight, between the right nodes."""
    relations = dict(
        zip(EDGE_TYPES, (graph.similar, graph.tags_of_image, graph.images_of_tag, graph.related), strict=True)
    )
    for kind, csr in relations.items():
        store = batch[kind]
        senders = batch[kind[0]].n_id[store.edge_index[0]].numpy()
        receivers = batch[kind[-1]].n_id[store.edge_index[1]].numpy()
        assert np.array_equal(csr.indices[store.e_id], senders)
        assert np.array_equal(csr.edge_rows()[store.e_id], receivers)
        assert np.allclose(csr.weights[store.e_id], store.edge_weight.reshape(-1))


def test_a_node_loader_yields_batches_of_real_edges_within_the_fan_out() -> None:
    world = random_world()
    graph = messages(world)
    loader = NodeLoader(
        data_of(world, graph), FanOutSampler(graph, (3, 2)), input_nodes=("image", None), batch_size=16
    )
    seen = []
    for batch in loader:
        check_batch(batch, graph)
        size = batch["image"].batch_size
        seen.append(batch["image"].n_id[:size])
        received = torch.bincount(batch["image", "similar", "image"].edge_index[1])
        assert received.max() <= 3
        assert torch.equal(batch["image"].x, world.x[batch["image"].n_id])
    assert torch.equal(torch.cat(seen), torch.arange(60))


@pytest.mark.parametrize("kind", ["image", "tag"])
def test_with_room_for_all_a_batch_embeds_its_seeds_as_the_full_graph_does(kind: str) -> None:
    world, model = random_world(), small_sage()
    graph = messages(world)
    states = full_states(model, graph, world.x, world.tag_text)
    whole = {"image": model.embed_images(states.images), "tag": model.embed_tags(states.tags)}
    reference = ReferenceSage(model, weighted=True)
    loader = NodeLoader(data_of(world, graph), FanOutSampler(graph, (60, 60)), (kind, None), batch_size=5)
    for batch in loader:
        inputs = {
            "image": batch["image"].x,
            "tag": model.input_tags(world.tag_text[batch["tag"].n_id], batch["tag"].n_id),
        }
        index = {edge: batch[edge].edge_index for edge in EDGE_TYPES}
        weight = {edge: batch[edge].edge_weight.reshape(-1) for edge in EDGE_TYPES}
        size = batch[kind].batch_size
        expected = whole[kind][batch[kind].n_id[:size]]
        assert torch.allclose(reference(inputs, index, weight)[kind][:size], expected, atol=1e-5)


@pytest.mark.parametrize("edge_type", [HAS_EDGES, ("image", "similar", "image")])
def test_a_link_loader_yields_the_edges_it_was_asked_for(edge_type: tuple[str, str, str]) -> None:
    world = random_world()
    graph = messages(world)
    data = data_of(world, graph)
    loader = LinkLoader(data, FanOutSampler(graph, (3, 2)), (edge_type, None), batch_size=8)
    found = []
    for batch in loader:
        check_batch(batch, graph)
        ends = batch[edge_type].edge_label_index
        found.append(torch.stack([batch[edge_type[0]].n_id[ends[0]], batch[edge_type[-1]].n_id[ends[1]]]))
    assert torch.equal(torch.cat(found, dim=1), data[edge_type].edge_index)


@pytest.mark.parametrize("edge_type", [HAS_EDGES, ("image", "similar", "image")])
def test_a_link_loader_adds_negatives_of_both_of_pygs_kinds(edge_type: tuple[str, str, str]) -> None:
    world = random_world()
    graph = messages(world)
    data, sampler = data_of(world, graph), FanOutSampler(graph, (3, 2))
    binary = next(iter(LinkLoader(data, sampler, (edge_type, None), neg_sampling="binary", batch_size=8)))
    assert binary[edge_type].edge_label.tolist() == [1.0] * 8 + [0.0] * 8
    assert binary[edge_type].edge_label_index.shape == (2, 16)
    triplets = NegativeSampling("triplet", amount=3)
    triplet = next(iter(LinkLoader(data, sampler, (edge_type, None), neg_sampling=triplets, batch_size=8)))
    source, target = triplet[edge_type[0]], triplet[edge_type[-1]]
    positive = torch.stack([source.n_id[source.src_index], target.n_id[target.dst_pos_index]])
    assert torch.equal(positive, data[edge_type].edge_index[:, :8])
    assert target.dst_neg_index.shape == (8, 3)
    assert int(target.dst_neg_index.max()) < len(target.n_id)


def test_it_samples_for_a_loader_that_reads_from_stores() -> None:
    world = random_world()
    graph = messages(world)
    stores = (
        feature_store_view(graph, world.x.numpy(), world.tag_text.numpy()),
        graph_store_view(graph),
    )
    loader = NodeLoader(stores, FanOutSampler(graph, (3, 2)), ("image", torch.arange(60)), batch_size=16)
    for batch in loader:
        assert torch.equal(batch["image"].x, world.x[batch["image"].n_id])
        assert torch.equal(batch["tag"].x, world.tag_text[batch["tag"].n_id])


def test_torchs_seed_fixes_the_batches() -> None:
    world = random_world()
    graph = messages(world)
    loader = NodeLoader(data_of(world, graph), FanOutSampler(graph, (2, 2)), ("image", None), batch_size=30)

    def edges(seed: int) -> list[Any]:
        torch.manual_seed(seed)
        return [batch["image", "similar", "image"].e_id.tolist() for batch in loader]

    assert edges(1) == edges(1)
    assert edges(1) != edges(2)


def test_a_node_is_expanded_once() -> None:
    graph = messages(random_world())
    out = FanOutSampler(graph, (4, 4, 4)).sample_from_nodes(
        NodeSamplerInput(input_id=None, node=torch.arange(10), input_type="image")
    )
    for kind, nodes in out.node.items():
        assert len(nodes.unique()) == len(nodes) == sum(out.num_sampled_nodes[kind])
    for ids in out.edge.values():
        assert len(ids.unique()) == len(ids)


def test_repeated_seeds_are_refused() -> None:
    seeds = NodeSamplerInput(input_id=None, node=torch.tensor([1, 1]), input_type="image")
    with pytest.raises(BadInput, match="twice"):
        FanOutSampler(random_world().graph, (2,)).sample_from_nodes(seeds)


def test_impossible_fan_outs_are_refused() -> None:
    with pytest.raises(BadInput, match="fan-outs"):
        FanOutSampler(random_world().graph, (2, 0))
