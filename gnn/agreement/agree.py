"""Graph agreement: noisy `similar` and `has` edges are reweighted or pruned, and confident tags added.

Stretcu et al. 2019 alternate between an agreement network, which says whether the ends of an edge share
labels, and a classifier, whose confident predictions become labels. Here, in each round,

1. the agreement network learns from the tags believed so far, and its output for each `similar` edge is
   compared with its output for random pairs: the edge is right with a probability, and weighs by it;
2. each image's tags are predicted from its features and by the neighbours that agree with it, without its own
   edges; a `has` edge is right with a probability that comes of the same comparison;
3. edges that are more probably wrong than right are pruned, and confident predictions become tags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gnn.agreement.network import agreement_of, shared, train_agreement
from gnn.agreement.posterior import believe
from gnn.agreement.tag_evidence import TagEvidence
from gnn.common_tags import telling
from gnn.projection import principal_projection
from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph

CONFIDENT = 0.75
BELIEVED = 0.5
_WIDTH = 64
_REGRESSED_WIDTH = 256
_CHANCE = 20_000
_FAINT = 1e-3
_STILL_TAGGED = 0.9
"""Common tags are left out where so many of the tagged images carry another."""


@dataclass(frozen=True, eq=False)
class Agreed:
    """``wrong_similar``, ``wrong_has``: the estimated shares of wrong edges; ``extended``: tags added."""

    graph: Graph
    wrong_similar: float
    wrong_has: float
    extended: int


def agree(graph: Graph, features: Float32Array, rounds: int, seed: int = 0) -> Agreed:
    """The graph with the edges that are believed after so many rounds. Its weights are as stored: a `similar`
    edge's cosine and a tag's weight, each times the probability that the edge is right; a tag that is added
    weighs its probability times the image's heaviest.

    features: [num_images, dim] unit norm. With 0 rounds, or without edges to compare, the graph is as it was.
    """
    rng = np.random.default_rng(seed)
    result = Agreed(graph, 0.0, 0.0, 0)
    if not graph.similar.num_edges or not graph.tags_of_image.num_edges:
        return result
    looks = _projected(features, _WIDTH)
    inputs = _projected(features, _REGRESSED_WIDTH)
    for _ in range(rounds):
        result = _round(graph, result.graph, looks, inputs, rng)
    return result


def _round(
    given: Graph, believed: Graph, looks: Float32Array, inputs: Float32Array, rng: np.random.Generator
) -> Agreed:
    """Each round judges the edges that were given, in the light of those that are believed so far."""
    tags = _matrix(believed.tags_of_image, believed.num_tags)
    similar, wrong_similar = _believed_similar(given, _told_apart(_binary(tags)), looks, rng)
    # Weights are in units of each image's own, and the evidence is of probabilities.
    units = _units(given.tags_of_image)
    tags.data /= np.repeat(units, np.diff(tags.indptr))
    evidence = TagEvidence.gather(inputs, tags, _matrix(similar, given.num_images), rng)
    has, wrong_has, extended = _believed_has(given, evidence, units, rng)
    graph = Graph(
        given.num_images, given.num_tags, similar, has, has.transpose(given.num_tags), given.related
    )
    return Agreed(graph, wrong_similar, wrong_has, extended)


def _believed_similar(
    given: Graph, truth: sparse.csr_matrix, looks: Float32Array, rng: np.random.Generator
) -> tuple[Csr, float]:
    rows, cols = given.similar.edge_rows(), given.similar.indices
    network = train_agreement(looks, truth, (rows, cols), rng)
    chance = _strangers(given, truth, rng)
    belief = believe(
        agreement_of(network, looks, rows, cols), agreement_of(network, looks, chance[0], chance[1])
    )
    kept = belief.right >= BELIEVED
    weights = given.similar.weights[kept] * belief.right[kept]
    return Csr.from_edges(rows[kept], cols[kept], weights, given.num_images), belief.wrong_share


def _strangers(given: Graph, truth: sparse.csr_matrix, rng: np.random.Generator) -> Int64Array:
    """[2, n] pairs at random that neither are an edge nor share a believed tag: what a wrong edge joins. Any
    pairs would look like right edges where many images share a tag.
    """
    one, other = rng.integers(0, given.num_images, size=(2, _CHANCE))
    joined = np.asarray(_matrix(given.similar, given.num_images)[one, other]).ravel() > 0
    apart = (one != other) & ~joined & (shared(truth, one, other) == 0)
    return np.stack([one[apart], other[apart]])


def _believed_has(
    given: Graph, evidence: TagEvidence, units: Float32Array, rng: np.random.Generator
) -> tuple[Csr, float, int]:
    has = given.tags_of_image
    rows, cols = has.edge_rows(), has.indices
    carried = _binary(_matrix(has, given.num_tags))
    share = given.images_of_tag.degrees() / max(given.num_images, 1)

    def lift(images: Int64Array, tags: Int64Array) -> AnyArray:
        """How much likelier the tag is here than anywhere."""
        likely: AnyArray = np.log(evidence.probability(images, tags) + _FAINT)
        lifts: AnyArray = likely - np.log(share[tags] + _FAINT)
        return lifts

    images, tags = rng.integers(0, given.num_images, _CHANCE), rng.choice(cols, _CHANCE)
    # A random pair that is an edge would speak for the edges twice.
    apart = np.asarray(carried[images, tags]).ravel() == 0
    belief = believe(lift(rows, cols), lift(images[apart], tags[apart]))
    kept = (belief.right >= BELIEVED) | (has.weights <= 0)
    new_rows, new_cols, chance = _confident(evidence, carried)
    edges = Csr.from_edges(
        np.concatenate([rows[kept], new_rows]),
        np.concatenate([cols[kept], new_cols]),
        np.concatenate([has.weights[kept] * belief.right[kept], chance * units[new_rows]]),
        given.num_images,
    )
    return edges, belief.wrong_share, len(new_rows)


def _confident(
    evidence: TagEvidence, carried: sparse.csr_matrix
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Tags that images probably lack. Only what some neighbour carries is looked at."""
    likely = evidence.votes.tocoo()
    # The mean with a regression of at most one cannot be confident below this vote.
    near = likely.data >= 2 * CONFIDENT - 1
    rows, cols = likely.row[near].astype(np.int64), likely.col[near].astype(np.int64)
    absent = np.asarray(carried[rows, cols]).ravel() == 0 if len(rows) else np.zeros(0, dtype=np.bool_)
    rows, cols = rows[absent], cols[absent]
    chance = evidence.probability(rows, cols)
    sure = chance >= CONFIDENT
    return rows[sure], cols[sure], chance[sure]


def _projected(features: Float32Array, width: int) -> Float32Array:
    """Half-whitened principal components, unit norm, scaled to a root mean square of about one."""
    width = min(width, features.shape[1])
    return principal_projection(features, width, 0.5)(features) * np.float32(width**0.5)


def _matrix(csr: Csr, columns: int) -> sparse.csr_matrix:
    """Positive weights as a sparse matrix."""
    weights = np.maximum(csr.weights, 0.0).astype(np.float32)
    matrix = sparse.csr_matrix((weights, csr.indices, csr.indptr), shape=(csr.num_rows, columns))
    matrix.eliminate_zeros()
    return matrix


def _units(has: Csr) -> Float32Array:
    """[images]: what a sure tag of each weighs, its heaviest; the usual such weight where it has none."""
    heaviest = np.zeros(has.num_rows, dtype=np.float32)
    np.maximum.at(heaviest, has.edge_rows(), has.weights)
    told = heaviest > 0
    usual = np.float32(np.median(heaviest[told])) if told.any() else np.float32(1)
    result: Float32Array = np.where(told, heaviest, usual)
    return result


def _told_apart(carried: sparse.csr_matrix) -> sparse.csr_matrix:
    """Without the tags that most images carry, which say little of a pair that shares them; as it was where
    other tags do not tell nearly all tagged images apart. Of two folders, the larger's images would be as if
    they had no tag, and nothing be learnt but that those of the smaller agree. carried: [images, tags] 0/1.
    """
    apart = carried.copy()
    apart.data *= telling(carried)[apart.indices]
    apart.eliminate_zeros()
    still = np.count_nonzero(np.diff(apart.indptr))
    return apart if still >= _STILL_TAGGED * np.count_nonzero(np.diff(carried.indptr)) else carried


def _binary(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    ones = matrix.copy()
    ones.data[:] = 1.0
    return ones
