"""The default model: what a node's states hold, and that its messages are PyG's."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn.embedding import GraphStates
from gnn.graph_index import GraphIndex, messages_of
from gnn.kernel_fit import VOTE_WIDTH
from gnn.model.aggregate import NodeStates, full_states
from gnn.model.kernel_sage import KernelSage
from gnn.model.kernels import at_most_unit
from gnn.model.tag_sets import EXACT_UP_TO, indicator
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from graph_store.csr import Csr
from graph_store.graph import Graph
from tests.gnn.worlds import TAGS, data_of, drawn_data, trained

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> GraphIndex:
    data = drawn_data()
    return build_index(trained(data, tmp_path_factory.mktemp("model")), data)


@pytest.fixture(scope="module")
def model(index: GraphIndex) -> KernelSage:
    assert isinstance(index.trained.model, KernelSage)
    return index.trained.model


def states_of(index: GraphIndex, graph: Graph) -> NodeStates:
    with torch.no_grad():
        return full_states(
            index.trained.model,
            messages_of(index.trained, graph),
            torch.from_numpy(index.features),
            torch.from_numpy(index.tag_text),
        )


@pytest.fixture(scope="module")
def states(index: GraphIndex) -> NodeStates:
    return states_of(index, index.graph)


def with_tags(graph: Graph, image: int, tags: list[int]) -> Graph:
    """The graph in which one image has other tags."""
    rows = graph.tags_of_image.edge_rows()
    kept = rows != image
    has = Csr.from_edges(
        np.concatenate([rows[kept], np.full(len(tags), image)]),
        np.concatenate([graph.tags_of_image.indices[kept], tags]),
        np.concatenate([graph.tags_of_image.weights[kept], np.ones(len(tags))]),
        graph.num_images,
    )
    return Graph(
        graph.num_images, graph.num_tags, graph.similar, has, has.transpose(graph.num_tags), graph.related
    )


@pytest.mark.parametrize("tags", [[], [0], [1, 4, 5]])
def test_what_is_predicted_for_an_image_does_not_depend_on_its_own_tags(
    index: GraphIndex, model: KernelSage, states: NodeStates, tags: list[int]
) -> None:
    image = 4
    assert image not in index.graph.similar.row(image)[0]
    other = states_of(index, with_tags(index.graph, image, tags))
    ours, theirs = (model.readout_inputs(each.images[-1])[image] for each in (states, other))
    assert torch.equal(ours, theirs)
    assert not torch.equal(states.images[-1][image], other.images[-1][image]) or tags == list(
        index.graph.tags_of_image.row(image)[0]
    )


def test_the_tags_of_a_neighbour_do_reach_the_prediction(
    index: GraphIndex, model: KernelSage, states: NodeStates
) -> None:
    image = 4
    neighbour = int(index.graph.similar.row(image)[0][0])
    own = set(index.graph.tags_of_image.row(neighbour)[0].tolist())
    other = states_of(index, with_tags(index.graph, neighbour, sorted(set(range(len(TAGS))) - own)))
    ours, theirs = (model.readout_inputs(each.images[-1])[image] for each in (states, other))
    assert not torch.allclose(ours, theirs, atol=1e-3)


def test_an_untagged_image_is_placed_where_its_prediction_points(
    index: GraphIndex, model: KernelSage, states: NodeStates
) -> None:
    (untagged,) = np.flatnonzero(index.graph.tags_of_image.degrees() == 0)[:1]
    state = states.images[-1][untagged : untagged + 1]
    embedding = model.embed_images([state])[0]
    predicted = model.predict(model.readout_inputs(state))
    expected = model.expected_blocks(predicted, model.view_sets(state, predicted))[
        0, model.config.jaccard_rank :
    ]
    tag_view = embedding[-model.config.tag_width :]
    assert torch.nn.functional.cosine_similarity(tag_view, expected, dim=0) > 1 - TOLERANCE
    assert float(tag_view.norm()) == pytest.approx(model.config.trust_tags, abs=1e-4)


def test_a_tagged_image_is_placed_mostly_where_its_tags_point(
    index: GraphIndex, model: KernelSage, states: NodeStates
) -> None:
    image = int(np.flatnonzero(index.graph.tags_of_image.degrees() == 2)[0])
    tags = index.graph.tags_of_image.row(image)[0]
    tag_view = model.embed_images([states.images[-1][image : image + 1]])[0, -model.config.tag_width :]
    assert set(torch.topk(tag_view, 2).indices.tolist()) == set(tags.tolist())


@pytest.mark.parametrize("completed", [0.0, 0.5])
def test_images_with_and_without_tags_are_placed_together_as_they_are_alone(
    index: GraphIndex, model: KernelSage, states: NodeStates, completed: float
) -> None:
    changed = KernelSage(replace(model.config, completed=completed))
    changed.load_state_dict(model.state_dict())
    carries = index.graph.tags_of_image.degrees() > 0
    rows = np.concatenate([np.flatnonzero(~carries)[:3], np.flatnonzero(carries)[:5]])
    mixed = torch.from_numpy(np.random.default_rng(0).permutation(rows))
    state = states.images[-1][mixed]
    with torch.no_grad():
        alone = torch.cat([changed.embed_images([row[None]]) for row in state])
        torch.testing.assert_close(changed.embed_images([state]), alone, atol=TOLERANCE, rtol=0)


def test_an_image_without_neighbours_or_tags_still_has_a_finite_place(model: KernelSage) -> None:
    own = model.input_images(torch.randn(1, model.config.feature_dim))
    tags = torch.zeros(1, model.tag_dim(0))
    first = model.image_layer(1, own, torch.zeros_like(own), tags)
    second = model.image_layer(2, first, torch.zeros_like(first), tags)
    embedded = model.embed_images([own, first, second])
    assert bool(torch.isfinite(embedded).all())
    assert float(embedded[0, : model.config.visual_dim].norm()) == pytest.approx(1.0, abs=1e-5)


def test_states_and_embeddings_have_the_stated_widths(model: KernelSage, states: NodeStates) -> None:
    assert [state.shape[1] for state in states.images] == [model.image_dim(layer) for layer in range(3)]
    assert [state.shape[1] for state in states.tags] == [model.tag_dim(layer) for layer in range(3)]
    assert model.embed_images(states.images).shape[1] == model.dim
    assert model.embed_tags(states.tags).shape[1] == model.dim


def test_a_tag_has_no_looks_and_points_to_the_images_that_carry_it(
    index: GraphIndex, model: KernelSage, states: NodeStates
) -> None:
    tags, images = model.embed_tags(states.tags), model.embed_images(states.images)
    assert not tags[:, : model.config.visual_dim].any()
    scores = tags @ images.T
    for tag in range(len(TAGS)):
        carriers = index.graph.images_of_tag.row(tag)[0]
        carries = np.isin(np.arange(index.graph.num_images), carriers)
        assert float(scores[tag][carries].mean()) > float(scores[tag][~carries].mean()) + 0.1


def test_a_tag_unseen_in_training_takes_the_state_of_its_related_tags(
    index: GraphIndex, model: KernelSage
) -> None:
    ids = torch.tensor([0, 1, -1])
    own = model.input_tags(torch.zeros(3, 12), ids)
    related = 0.25 * own[[0]] + 0.75 * own[[1]]
    messages = torch.cat([own[[1]], own[[0]], related])
    state = model.tag_layer(1, own, torch.zeros(3, model.image_dim(0)), messages)
    assert torch.equal(state[:2], own[:2])
    assert torch.equal(state[2], related[0])


def test_an_image_of_an_unseen_tag_is_placed_where_the_related_tag_would_place_it(model: KernelSage) -> None:
    first = model.input_tags(torch.zeros(2, 12), torch.tensor([2, -1]))
    related = torch.stack([torch.zeros(first.shape[1]), first[0]])  # the unseen tag hears the seen one
    second = model.tag_layer(1, first, torch.zeros(2, model.image_dim(0)), related)
    own = model.input_images(torch.randn(1, model.config.feature_dim)).repeat(2, 1)
    state = model.image_layer(1, own, torch.zeros_like(own), first)
    last = model.image_layer(2, state, torch.zeros_like(state), second)
    embedded = model.embed_images([own, state, last])
    assert torch.equal(embedded[0], embedded[1])


def test_tags_that_nothing_speaks_for_make_a_set_no_larger(model: KernelSage) -> None:
    known = model.input_tags(torch.zeros(1, 12), torch.tensor([2]))
    for share in (0.05, 0.5, 0.9):
        torch.testing.assert_close(model.sets_of(share * known), model.sets_of(known))
    assert not model.sets_of(torch.zeros_like(known)).any()


def test_a_tag_unseen_and_related_to_none_says_nothing(model: KernelSage) -> None:
    own = model.input_tags(torch.zeros(1, 12), torch.tensor([-1]))
    state = model.tag_layer(1, own, torch.zeros(1, model.image_dim(0)), torch.zeros_like(own))
    assert not state.any()


def test_landmarks_that_are_loaded_anew_are_seen_by_the_next_prediction(index: GraphIndex) -> None:
    source = index.trained.model
    assert isinstance(source, KernelSage)
    inputs = torch.randn(3, source.get_buffer("landmarks").shape[1])
    model = KernelSage(source.config)
    model.predict(inputs)  # lengths of the empty landmarks are kept
    model.load_state_dict(source.state_dict())
    assert torch.equal(model.predict(inputs), source.predict(inputs))


def edge_index(csr: Csr) -> tuple[Tensor, Tensor]:
    index = torch.from_numpy(np.stack([csr.indices, csr.edge_rows()]))
    return index, torch.from_numpy(csr.weights)


def test_both_message_layers_are_those_of_pyg(
    index: GraphIndex, model: KernelSage, states: NodeStates
) -> None:
    """The module's formulas, with the sums made by PyG: a HeteroConv whose SAGEConvs pass messages on as
    they are (an identity for a matrix, no root weight).
    """
    from torch_geometric.nn import HeteroConv

    from gnn.model.reference import RELATED, REV_HAS, SIMILAR, WeightedSAGEConv

    graph = messages_of(index.trained, index.graph)
    edges = {SIMILAR: graph.similar, REV_HAS: graph.tags_of_image, RELATED: graph.related}
    pairs = {kind: edge_index(csr) for kind, csr in edges.items()}

    def passing(width: int) -> WeightedSAGEConv:
        conv = WeightedSAGEConv((width, width), width, root_weight=False, bias=False)
        with torch.no_grad():
            conv.lin_l.weight.copy_(torch.eye(width))
        return conv

    def messages(images: Tensor, tags: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(similar, tags) for the images and related for the tags."""
        layer = HeteroConv(
            {
                SIMILAR: passing(images.shape[1]),
                REV_HAS: passing(tags.shape[1]),
                RELATED: passing(tags.shape[1]),
            },
            aggr="cat",
        )
        given = {
            SIMILAR: (images, images),
            # A SAGEConv wants receivers as wide as it was told; without a root weight it reads none of them.
            REV_HAS: (tags, images),
            RELATED: (tags, tags),
        }
        with torch.no_grad():
            out = layer(
                given,
                {kind: pair[0] for kind, pair in pairs.items()},
                edge_weight_dict={kind: pair[1] for kind, pair in pairs.items()},
            )
        return *out["image"].split([images.shape[1], tags.shape[1]], dim=1), out["tag"]

    images, tags = states.images[0], states.tags[0]
    leading, start = model.config.neighbour_width, model.tags_start
    similar, carried, related = messages(images, tags)
    told = torch.cat([indicator(carried[:, :-1]), carried[:, -1:]], dim=1)
    first = torch.cat([images, similar[:, :leading], similar[:, -1:], told], dim=1)
    first_tags = tags + (1 - tags[:, -1:]) * related
    similar, carried, _ = messages(first, first_tags)
    told = torch.cat([indicator(carried[:, :-1]), carried[:, -1:]], dim=1)
    second = torch.cat([first[:, :start], told, similar[:, start:]], dim=1)

    torch.testing.assert_close(states.images[1], first, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(states.tags[1], first_tags, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(states.images[2], second, atol=TOLERANCE, rtol=0)
    assert first.shape[1] == model.tags_start + model.config.tag_width + 1


def test_the_order_in_which_tags_were_given_does_not_matter(index: GraphIndex) -> None:
    engine = QueryEngine(index)
    asked = [Query(tags=tuple(QueryTag(TAGS[tag]) for tag in order)) for order in ([0, 3, 5], [5, 0, 3])]
    one, two = (engine.embed(query).conceptual for query in asked)
    assert np.array_equal(one, two)


def cached(states: GraphStates) -> list[np.ndarray]:
    return [*states.image_states, *states.tag_states]


def test_cached_states_are_those_of_the_full_pass(index: GraphIndex, states: NodeStates) -> None:
    expected = [state.numpy() for state in (*states.images[:-1], *states.tags[:-1])]
    for ours, full in zip(cached(index.states), expected, strict=True):
        np.testing.assert_allclose(ours, full, atol=TOLERANCE)


def test_a_model_of_a_vocabulary_too_large_to_keep_apart_still_finds_tags(tmp_path: Path) -> None:
    topics, names = 4, tuple(f"tag {number:03}" for number in range(EXACT_UP_TO + 88))
    rng = np.random.default_rng(0)
    chosen = np.zeros((240, len(names)), dtype=bool)
    for row in range(len(chosen)):
        of_topic = np.arange(row % topics, len(names), topics)
        chosen[row, rng.choice(of_topic, 12, replace=False)] = True
    data = data_of(chosen, names)
    index = build_index(trained(data, tmp_path), data)
    assert isinstance(index.trained.model, KernelSage)
    assert index.trained.model.config.tag_width < len(names)
    engine = QueryEngine(index)
    for tag in range(10):
        carriers = np.flatnonzero(chosen[:, tag])
        hits = engine.search(engine.embed(Query(tags=(QueryTag(names[tag]),))), 0.0, len(carriers))
        assert np.isin(hits.rows, carriers).mean() > 0.7


def test_without_a_namer_tags_are_named_by_the_prediction_and_a_share_of_the_vote(
    model: KernelSage, states: NodeStates
) -> None:
    state = states.images[-1]
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("namer.")}
    model = KernelSage(replace(model.config, naming_hidden=0, named_view=False))
    model.load_state_dict(kept)
    with torch.no_grad():
        predicted = model.predict(model.readout_inputs(state))[:, model.config.jaccard_rank :]
        expected = predicted + model.config.naming_vote * model.votes(state)
        assert torch.equal(model.expected_sets(state), expected)
        table = model.get_buffer("tag_vectors")[:, : model.config.tag_width]
        assert torch.allclose(model.predicted_tags(state), expected @ table.T)


def test_a_vote_over_many_tags_is_cut_to_its_leading_axes(tmp_path: Path) -> None:
    names = tuple(f"tag {number}" for number in range(VOTE_WIDTH + 20))
    chosen = np.random.default_rng(5).random((200, len(names))) < 0.02
    chosen[np.arange(200), np.arange(200) % len(names)] = True
    data = data_of(chosen, tags=names)
    index = build_index(trained(data, tmp_path, epochs=1), data)
    model = index.trained.model
    assert isinstance(model, KernelSage)
    assert model.config.vote_width == VOTE_WIDTH < model.config.tag_width
    states = states_of(index, index.graph)
    with torch.no_grad():
        width = model.config.width + model.config.neighbour_width + VOTE_WIDTH
        assert model.readout_inputs(states.images[-1]).shape[1] == width
        axes = model.get_buffer("vote_axes")
        assert torch.allclose(axes.T @ axes, torch.eye(VOTE_WIDTH), atol=1e-4)
        votes = torch.nn.functional.normalize(model.votes(states.images[-1]), dim=1)
        kept = float(((votes @ axes) ** 2).sum() / (votes**2).sum())
        assert kept > VOTE_WIDTH / model.config.tag_width


def test_the_conceptual_end_takes_looks_in_as_far_as_they_tell_about_meaning(index: GraphIndex) -> None:
    look = 0.25
    told = replace(index.trained, balance=replace(index.trained.balance, look=look))
    with_looks, without = (
        QueryEngine(replace(index, trained=replace(told, balance=replace(told.balance, look=each))))
        for each in (look, 0.0)
    )
    assert isinstance(told.model, KernelSage)
    visual_dim = told.model.config.visual_dim
    ours, theirs = (engine.embed(Query(images=index.features[:1])) for engine in (with_looks, without))
    assert np.array_equal(theirs.conceptual[:visual_dim], np.zeros(visual_dim, np.float32))
    assert np.allclose(ours.conceptual[:visual_dim], look * ours.visual[:visual_dim])
    assert np.array_equal(ours.conceptual[visual_dim:], theirs.conceptual[visual_dim:])


def test_the_prediction_loses_nothing_to_what_cancels_in_it(model: KernelSage) -> None:
    inputs = model.get_buffer("landmarks")[:40] + 0.02
    exact = deepcopy(model).double().predict(inputs.double())
    together = model.predict(inputs)
    alone = torch.cat([model.predict(row[None]) for row in inputs])
    assert (together - exact).abs().max() < 2e-6
    assert (alone - exact).abs().max() < 2e-6


def test_an_image_that_moves_away_from_its_landmark_gives_up_its_own_part_without_a_jump(
    model: KernelSage,
) -> None:
    landmark = model.get_buffer("landmarks")[:1]
    step = torch.randn(landmark.shape, generator=torch.Generator().manual_seed(3))
    lengths = torch.linspace(0, 0.3, 301)[:, None] * model.config.length
    moved = landmark + lengths * step / step.norm()
    own_part = (model.predict(moved) - model.predict_apart(moved)).norm(dim=1)
    assert own_part[0] > 1e-3
    assert own_part[-1] < 1e-6
    assert (own_part[1:] - own_part[:-1]).abs().max() < 0.02 * own_part[0]


def test_a_prediction_of_nearly_nothing_weighs_nearly_nothing() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.06, 0.08], [0.003, 0.004], [0.0, 0.0]])
    lengths = torch.linalg.vector_norm(at_most_unit(vectors), dim=1)
    assert lengths.tolist() == pytest.approx([1.0, 1.0, 0.05, 0.0])
