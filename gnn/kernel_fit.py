"""Fitting the kernel model to a catalogue, its numbers given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from gnn.embedding import Layers, NewArray, blocks, in_memory, run_layers, some_image_rows
from gnn.graph_build import build_graph, similar_space
from gnn.kernel_candidates import Candidate
from gnn.kernel_solve import MOST_LEVERAGE, left_out, leverages, solve
from gnn.landmarks import choose_landmarks
from gnn.model.carriers import asking_map
from gnn.model.edge_weights import message_graph
from gnn.model.kernel_config import KernelSageConfig
from gnn.model.kernel_sage import KernelSage
from gnn.model.kernels import unit
from gnn.model.likely_tags import LikelyTags
from gnn.model.tag_sets import (
    JaccardView,
    TagBasis,
    distinct_sets,
    ideal_gains,
    indicator_rows,
    tag_basis,
)
from gnn.naming_fit import NamerFitting, NamingData, calibrated_rows, fit_likely_tags
from gnn.naming_recipes import SHALLOW, NamingRecipe
from gnn.presets import Preset
from gnn.projection import Projection
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph

NEIGHBOUR_WIDTH = 128
VISUAL_DIM = 256
COMPRESSED_TAGS = (256, 512, 768)
"""Coordinates of a summary of the vocabulary, beside which each tag has some of its own."""
MOST_WIDE = 50_000
"""Catalogues of so many images have wide tag views and slopes for each tag, where the vocabulary asks for
them. A million embeddings would be 4 GB in place of 2.5, and take more than twice as long to make.
"""
MOST_LIKELY_TAGS = 4096
VOTE_WIDTH = 128
JACCARD_RANK = 128
MOST_SOLVED = 100_000


@dataclass(frozen=True)
class Size:
    """How many images a catalogue has, and how many of them have tags."""

    images: int
    tagged: int


@dataclass(frozen=True, eq=False)
class Fitted:
    """``model`` with its readout solved; ``space`` for `similar` neighbours."""

    model: KernelSage
    space: Projection


@dataclass(frozen=True, eq=False)
class Ground:
    """What does not depend on the candidate: the graph, the two layers, and the targets.

    ``inputs``: readout inputs at unit weights, [solved, width of z], and ``landmarks`` among them,
    [num_landmarks, width of z]; ``targets``: [solved, rank + tag_width]; ``states``: h^2 of the same images,
    [solved, image_dim(2)]; ``solved``: the tagged images, or a part of them, that the readout is solved on;
    ``wide``: whether the catalogue is small enough for wide tag views and slopes for each tag; ``expected``:
    of :class:`gnn.model.tag_sets.TagBasis`.
    """

    skeleton: KernelSage
    space: Projection
    graph: Graph
    messages: Graph
    inputs: Tensor
    landmarks: Tensor
    targets: Tensor
    states: Tensor
    solved: Int64Array
    wide: bool
    expected: int


def lay_ground(
    features: Float32Array,
    tags_of_image: Csr,
    tag_text: Float32Array,
    preset: Preset,
    seed: int,
    new_array: NewArray = in_memory,
    whole: Size | None = None,
) -> Ground:
    """features: [n, dim] unit norm. new_array: makes what holds all images' states while this runs;
    whole: of the catalogue, where these images are a part of it that numbers are chosen on: what goes by size
    has to be as it will be there.
    """
    num_tags = len(tag_text)
    space = similar_space(features, preset.graph)
    graph = build_graph(space(features), tags_of_image, tag_text, preset.graph)
    messages = message_graph(graph, preset.weights)
    solved = np.flatnonzero(tags_of_image.degrees()).astype(np.int64)
    whole = whole or Size(len(features), len(solved))
    if len(solved) > MOST_SOLVED:
        solved = np.sort(np.random.default_rng(seed).choice(solved, MOST_SOLVED, replace=False))
    wide = whole.images <= MOST_WIDE
    widths = COMPRESSED_TAGS if wide else COMPRESSED_TAGS[:1]
    basis = tag_basis(tags_of_image, num_tags, [min(width, max(len(solved) - 1, 1)) for width in widths])
    view, gains = _jaccard_view(tags_of_image, solved, num_tags, basis)
    skeleton = _skeleton(features, space, basis, view)
    numbers = np.arange(num_tags, dtype=np.int64)
    layers = run_layers(skeleton, messages, features, tag_text, numbers, new_array)
    final = _last_states(skeleton, messages, layers, solved)
    _fit_vote_axes(skeleton, final)
    sets = final[:, skeleton.tags_start :][:, : basis.width]
    # A tag's own part can be told, not expected: fitted, it would be the noise of all of them together.
    parts = [functional.pad(sets[:, : basis.expected], (0, basis.width - basis.expected))]
    if not basis.exact:
        skeleton.get_buffer("asking").copy_(asking_map(sets))
    if view is not None:
        parts.insert(0, skeleton.embed_sets(sets)[:, : skeleton.config.jaccard_rank] / gains[:, None])
    targets = torch.cat(parts, dim=1)
    inputs = skeleton.readout_inputs(final)
    landmarks = _landmarks(skeleton, inputs, whole.tagged, seed)
    return Ground(
        skeleton, space, graph, messages, inputs, landmarks, targets, final, solved, wide, basis.expected
    )


def fit_kernel(
    features: Float32Array,
    tags_of_image: Csr,
    tag_text: Float32Array,
    preset: Preset,
    candidate: Candidate,
    *,
    recipe: NamingRecipe = SHALLOW,
    seed: int = 0,
    new_array: NewArray = in_memory,
) -> Fitted:
    """One solve with the given numbers. recipe: how perceptrons are trained; new_array: of `lay_ground`."""
    ground = lay_ground(features, tags_of_image, tag_text, preset, seed, new_array)
    return Fitted(naming_model(ground, candidate, lambda _: recipe, seed), ground.space)


def solved_model(ground: Ground, candidate: Candidate, seed: int = 0) -> KernelSage:
    """The ground's model with the readout that this candidate gives."""
    config = replace(
        ground.skeleton.config,
        neighbour_weight=candidate.neighbour_weight,
        vote_weight=candidate.vote_weight,
        length=candidate.length,
    )
    weights = KernelSage(config).input_weights()
    inputs = ground.inputs * weights
    landmarks = inputs if ground.landmarks is ground.inputs else ground.landmarks * weights
    solution = solve(inputs, ground.targets, landmarks, candidate.length, candidate.ridge)
    model = KernelSage(replace(config, num_landmarks=len(solution.landmarks)))
    state = dict(ground.skeleton.state_dict())
    state.update(landmarks=solution.landmarks, values=solution.values, bias=solution.bias)
    model.load_state_dict(state)
    return model.eval()


def naming_model(
    ground: Ground,
    candidate: Candidate,
    choose: Callable[[NamerFitting], NamingRecipe] = lambda _: SHALLOW,
    seed: int = 0,
) -> KernelSage:
    """The same, which can also name tags and leave an indexed image out of what is said of it. choose: how
    the perceptrons are trained, asked where there are any.
    """
    plain = solved_model(ground, candidate, seed)
    inputs = ground.inputs * plain.input_weights()
    landmarks = plain.get_buffer("landmarks")
    leverage = leverages(inputs, landmarks, candidate.length, candidate.ridge)
    exact = len(landmarks) == len(inputs)
    state = dict(plain.state_dict())
    config = replace(plain.config, leaves_out=exact)
    if exact:
        kept = leverage.clamp(0, MOST_LEVERAGE)
        state["own"] = candidate.ridge * kept / (1 - kept)
    if not config.size_width and len(inputs):
        fitting = NamerFitting(_naming_data(ground, plain, inputs, leverage), seed)
        namer = fitting.namer(choose(fitting))
        hidden = len(namer.get_buffer("inner_bias"))
        config = replace(config, naming_hidden=hidden, naming_deep=namer.deep)
        state.update({f"namer.{name}": tensor for name, tensor in namer.state_dict().items()})
    elif len(inputs) and ground.wide:
        likely = _likely_tags(ground, plain, inputs, leverage, seed)
        config = replace(config, likely_tags=len(likely.get_buffer("vectors")))
        state.update({f"likely.{name}": tensor for name, tensor in likely.state_dict().items()})
    model = KernelSage(config)
    model.load_state_dict(state)
    return model.eval()


def _naming_data(ground: Ground, model: KernelSage, inputs: Tensor, leverage: Tensor) -> NamingData:
    truth = ground.targets[:, model.config.jaccard_rank :]
    return NamingData(
        looks=ground.states[:, : model.config.width],
        axes=model.get_buffer("axes"),
        votes=model.votes(ground.states),
        expected=_said_apart(model, inputs, truth, leverage),
        truth=(truth > 0).float(),
    )


def _said_apart(model: KernelSage, inputs: Tensor, targets: Tensor, leverage: Tensor) -> Tensor:
    """The tag view of f(z) without the image that it is about, [n, tag_width]; targets: its own."""
    with torch.inference_mode():
        predicted = torch.cat([model.predict(part) for part in torch.split(inputs, 4096)])
    return left_out(targets, predicted[:, model.config.jaccard_rank :].clone(), leverage)


def _likely_tags(
    ground: Ground, model: KernelSage, inputs: Tensor, leverage: Tensor, seed: int
) -> LikelyTags:
    """Slopes of the commonest tags, learnt on as many images as their number allows."""
    carriers = ground.graph.images_of_tag.degrees()
    common = np.sort(np.argsort(-carriers, kind="stable")[:MOST_LIKELY_TAGS])
    chosen = calibrated_rows(len(inputs), len(common), seed)
    has = ground.graph.tags_of_image.take(ground.solved[chosen.numpy()])
    edges = np.ones(has.num_edges, dtype=np.float32), has.indices, has.indptr
    # Whole rows of 100,000 tags would take 800 MB.
    carried = sparse.csr_matrix(edges, shape=(has.num_rows, len(carriers)))[:, common].toarray()
    vectors = model.get_buffer("tag_vectors")[:, : model.config.tag_width][torch.from_numpy(common)]
    return fit_likely_tags(
        functional.pad(vectors[:, : ground.expected], (0, vectors.shape[1] - ground.expected)),
        _said_apart(model, inputs[chosen], ground.targets[chosen], leverage[chosen]),
        model.votes(ground.states[chosen]),
        torch.from_numpy(carried),
    )


def _jaccard_view(
    tags_of_image: Csr, solved: Int64Array, num_tags: int, basis: TagBasis
) -> tuple[JaccardView | None, Tensor]:
    """The view, and for each solved image what the best answers to it can gain. None for large vocabularies:
    there nearly all sets are unlike, and the tag view does better.
    """
    if not basis.exact or not len(solved):
        return None, torch.ones(len(solved))
    table = indicator_rows(tags_of_image, solved, num_tags)
    sets, counts = distinct_sets(table)
    view = JaccardView.fit(sets, counts, JACCARD_RANK)
    number = {row.tobytes(): i for i, row in enumerate(sets)}
    gains = ideal_gains(sets, counts)[[number[row.tobytes()] for row in table]]
    return view, torch.from_numpy(gains)


def _skeleton(
    features: Float32Array, space: Projection, basis: TagBasis, view: JaccardView | None
) -> KernelSage:
    """The axes are those of the space in which neighbours are searched, so a query is projected once."""
    width = space.axes.shape[1]
    config = KernelSageConfig(
        feature_dim=features.shape[1],
        width=width,
        neighbour_width=min(NEIGHBOUR_WIDTH, width),
        visual_dim=min(VISUAL_DIM, width),
        num_tags=len(basis.vectors),
        tag_width=basis.width,
        size_width=basis.sizes.shape[1],
        vote_width=min(VOTE_WIDTH, basis.width),
        num_landmark_sets=0 if view is None else len(view.landmarks),
        jaccard_rank=0 if view is None else view.projection.shape[1],
        num_landmarks=0,
        neighbour_weight=1.0,
        vote_weight=1.0,
        asking=not basis.exact,
    )
    model = KernelSage(config)
    state = dict(model.state_dict())
    state["mean"] = torch.from_numpy(space.mean)
    state["axes"] = torch.from_numpy(space.axes)
    state["tag_vectors"] = torch.from_numpy(np.concatenate([basis.vectors, basis.sizes], axis=1))
    if view is not None:
        state["landmark_sets"] = torch.from_numpy(view.landmarks)
        state["set_projection"] = torch.from_numpy(view.projection)
    model.load_state_dict(state)
    return model.eval()


def _fit_vote_axes(skeleton: KernelSage, states: Tensor) -> None:
    """Set V: the axes in which the votes of these images [n, image_dim(2)] vary most about zero."""
    if not skeleton.cuts_votes:
        return
    votes = unit(skeleton.votes(states))
    _, vectors = torch.linalg.eigh(votes.T @ votes)
    skeleton.get_buffer("vote_axes").copy_(vectors[:, -skeleton.config.vote_width :].flip(1))


def _landmarks(skeleton: KernelSage, inputs: Tensor, tagged: int, seed: int) -> Tensor:
    """Landmarks at unit weights, as suit so many tagged images. They are clustered at the usual weights, once
    for all candidates.
    """
    usual = Candidate()
    config = replace(skeleton.config, neighbour_weight=usual.neighbour_weight, vote_weight=usual.vote_weight)
    weights = KernelSage(config).input_weights()
    weighted = inputs * weights
    chosen = choose_landmarks(weighted, seed, tagged)
    return inputs if chosen is weighted else chosen / weights


def _last_states(skeleton: KernelSage, messages: Graph, layers: Layers, rows: Int64Array) -> Tensor:
    """h^2 of these images, [len(rows), image_dim(2)]."""
    states = torch.empty(len(rows), skeleton.image_dim(2))
    with torch.no_grad():
        for start, stop in blocks(len(rows)):
            below = layers.images[1], layers.tags[1]
            states[start:stop] = some_image_rows(skeleton, messages, 2, *below, rows[start:stop])
    return states
