"""A set of tags as a vector, such that inner products say how alike two sets are.

Two views of a set, side by side, both linear to compare:

* the *Jaccard view* φ(T), kernel PCA of the Jaccard similarity J(S, T) = |S ∩ T| / |S ∪ T|, which is a
  positive definite kernel (Bouchard, Jousselme, Doré 2013). With landmark sets L_l, their frequencies C and
  the eigenpairs (V, Λ) of C^½ J(L, L) C^½: φ(T) = J(T, L) C^½ V Λ^-½ (the Nyström extension), so that
  φ(S)·φ(T) ≈ J(S, T). Being linear in the set, an expectation passes through it: E[φ(T)]·φ(S) = E[J(T, S)],
  which is the score that ranks best when the tags of a picture are uncertain and relevance is Jaccard.
* the *tag view*, the indicator vector scaled to unit norm: cosine between tag sets.

A graph layer only sees the mean of the tag vectors, m = (1/|T|) Σ_t e_t. With orthonormal e_t the size comes
back from its norm, |T| = 1/‖m‖², and the indicator is y = m/‖m‖²; for unequal weights this is the
participation ratio, the effective number of tags. Compressed vectors are not orthonormal, so each carries a
random unit vector ρ_t beside it, and |T| ≈ 1/‖(1/|T|) Σ_t ρ_t‖².
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr

EXACT_UP_TO = 512
"""Vocabularies up to this size keep one coordinate for each tag; larger ones are compressed."""

SIZE_WIDTH = 256
"""Coordinates of ρ_t: the size of a set of four comes back within about a twelfth."""

KEPT = 0.95
"""A summary of a vocabulary is wide enough when it keeps so much of the images' tag vectors."""

OWN_WIDTHS = (128, 256, 384)
"""Coordinates in which a tag says what the summary does not say of it. Those of two tags have a cosine of
0.09 in the fewest, so that among a million images of five tags one that carries a rare tag is told from all
that do not. The more tags an image has, the less is each of them heard, and the more are needed.
"""
_OWN_FOR_EACH = 20
"""So many for each tag that an image has in the mean."""

_BESIDES, _ITERATIONS = 256, 4
"""Directions iterated beyond those that are kept, and how often: with these what is kept is the best to four
digits, also where the strengths of many directions are nearly alike.
"""
_MOST_PAIRS = 20_000_000
"""Pairs of tags occurring together that are held at once, at some 60 bytes each."""
_IMAGES_AT_ONCE = 8192
_MOST_LANDMARKS = 1500
_COMPARED = 10_000
"""Sets that tell how well an image can be answered; of more, an even sample stands for all."""


@dataclass(frozen=True)
class TagBasis:
    """What tags send: `vectors` e_t [num_tags, width], unit norm, whose first `expected` coordinates say what
    goes together and can be expected of an image, and `sizes` ρ_t [num_tags, 256] ([num_tags, 0] where the
    vectors are orthonormal themselves); float32.
    """

    vectors: Float32Array
    sizes: Float32Array
    expected: int

    @property
    def width(self) -> int:
        """Coordinates of each tag's vector."""
        return int(self.vectors.shape[1])

    @property
    def exact(self) -> bool:
        """Whether each tag has a coordinate of its own."""
        return self.sizes.size == 0


def tag_basis(tags_of_image: Csr, num_tags: int, widths: Sequence[int]) -> TagBasis:
    """One coordinate a tag where the vocabulary is small; else a summary of which tags occur together, in as
    many coordinates as the first of `widths` (rising) that keeps `KEPT` of it, or the last, and `own_width`
    more.

    The summary is the truncated singular value decomposition of the unit tag vectors of the images (latent
    semantic analysis, Deerwester et al. 1990): a tag speaks by its row of right singular vectors, shorter the
    rarer it is. Where people's keywords go together it needs few coordinates; where each tag is met with any
    other, many. What a row lacks of length one is a random vector of the tag's own (a random projection,
    Achlioptas 2003): by its row alone a tag of a few images is mostly rounding, and they would not be found
    by it (docs/decisions/0018). No image can be expected to have that part.
    """
    if num_tags <= EXACT_UP_TO:
        exact = np.eye(num_tags, dtype=np.float32)
        return TagBasis(exact, np.zeros((num_tags, 0), dtype=np.float32), num_tags)
    most = max(1, min(widths[-1], min(tags_of_image.num_rows, num_tags) - 1))
    right, kept = _together(tags_of_image, num_tags, most)
    width = next((each for each in widths if each <= most and kept[each - 1] >= KEPT), most)
    shared = right[:, :width]
    lacking = np.sqrt(np.maximum(1.0 - (shared * shared).sum(axis=1, keepdims=True), 0.0))
    rng = np.random.default_rng(0)
    own = lacking * _unit(rng.standard_normal((num_tags, own_width(tags_of_image))))
    vectors = np.concatenate([shared, own], axis=1).astype(np.float32)
    sizes = _unit(rng.standard_normal((num_tags, SIZE_WIDTH)))
    return TagBasis(vectors, sizes.astype(np.float32), width)


def own_width(tags_of_image: Csr) -> int:
    """How many coordinates a tag has that say what a summary of the vocabulary does not."""
    degrees = tags_of_image.degrees()
    mean = degrees.sum() / max(np.count_nonzero(degrees), 1)
    return next((width for width in OWN_WIDTHS if width >= _OWN_FOR_EACH * mean), OWN_WIDTHS[-1])


def _together(tags_of_image: Csr, num_tags: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading right singular vectors of the images' unit tag vectors, [num_tags, rank], and which share
    of all their squares the first 1, 2, … of them keep. By block iteration (Halko, Martinsson, Tropp 2011) on
    which tags occur together, whose size does not grow with the images; where too many pairs do, on the
    images, some at a time.
    """
    from scipy import sparse

    degrees = np.maximum(tags_of_image.degrees(), 1)
    values = np.repeat(1.0 / np.sqrt(degrees), tags_of_image.degrees())
    table = sparse.csr_matrix(
        (values, tags_of_image.indices, tags_of_image.indptr), shape=(tags_of_image.num_rows, num_tags)
    )
    if min(int((degrees**2).sum()), num_tags**2) <= _MOST_PAIRS:
        times = _times_pairs(table)
    else:
        times = partial(_times_in_turn, table.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        basis = torch.randn(num_tags, min(rank + _BESIDES, num_tags))
    for _ in range(2 * _ITERATIONS + 1):
        basis = torch.linalg.qr(times(basis)).Q
    _, strengths, right = torch.linalg.svd(times(basis).T, full_matrices=False)
    whole = float(table.multiply(table).sum())
    kept = np.cumsum(strengths.numpy().astype(np.float64)) / max(whole, 1e-12)
    return _signed(right.numpy()[:rank]).T, kept


def _times_pairs(table: Any) -> Callable[[Tensor], Tensor]:
    """x [num_tags, q] → tableᵀ·table·x, by the pairs of tags that occur together. table: sparse, [images,
    num_tags].
    """
    pairs = (table.T @ table).tocoo()
    gram = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([pairs.row, pairs.col]).astype(np.int64)),
        torch.from_numpy(pairs.data.astype(np.float32)),
        pairs.shape,
        check_invariants=False,
    ).coalesce()
    return lambda x: torch.sparse.mm(gram, x)


def _times_in_turn(table: Any, x: Tensor) -> Tensor:
    """The same without the pairs, which may be many more than the tags of all images."""
    result = np.zeros((table.shape[1], x.shape[1]), dtype=np.float32)
    for start in range(0, table.shape[0], _IMAGES_AT_ONCE):
        part = table[start : start + _IMAGES_AT_ONCE]
        result += part.T @ (part @ x.numpy())
    return torch.from_numpy(result)


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _signed(rows: np.ndarray) -> np.ndarray:
    """Singular vectors with a fixed sign: the largest entry is positive."""
    largest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    signed: np.ndarray = rows * np.where(largest < 0, -1.0, 1.0)[:, None]
    return signed


@dataclass(frozen=True)
class JaccardView:
    """φ of the module's docstring. landmarks: [l, num_tags] 0/1; projection: [l, rank]."""

    landmarks: Float32Array
    projection: Float32Array

    @classmethod
    def fit(cls, sets: Float32Array, counts: Int64Array, rank: int) -> JaccardView:
        """sets: [s, num_tags] distinct 0/1 rows, none empty; counts: [s] how often each occurs."""
        order = np.argsort(-counts, kind="stable")[:_MOST_LANDMARKS]
        landmarks, weight = sets[order], np.sqrt(counts[order].astype(np.float64))
        gram = jaccard(landmarks, landmarks).astype(np.float64) * weight[:, None] * weight[None, :]
        values, vectors = np.linalg.eigh(gram)
        kept = np.flatnonzero(values > 1e-6 * values[-1])[-rank:][::-1]
        signed = _signed(vectors[:, kept].T).T
        projection = weight[:, None] * signed / np.sqrt(values[kept])
        return cls(landmarks, projection.astype(np.float32))


def jaccard(left: Float32Array, right: Float32Array) -> Float32Array:
    """J between rows of non-negative indicators: [n, t], [m, t] → [n, m]; 0 where both are empty."""
    both = left @ right.T
    either = left.sum(axis=1)[:, None] + right.sum(axis=1)[None, :] - both
    result: Float32Array = (both / np.maximum(either, 1e-9)).astype(np.float32)
    return result


def indicator(mean: Tensor, mean_size: Tensor | None = None) -> Tensor:
    """y = m/‖s‖² [n, width] from the means of e_t, [n, width], and of ρ_t, [n, 64] (None: e_t themselves); a
    zero message (no tags) stays zero.
    """
    sized = mean if mean_size is None else mean_size
    norm = (sized * sized).sum(dim=1, keepdim=True)
    return torch.where(norm > 1e-12, mean / norm.clamp_min(1e-12), torch.zeros_like(mean))


def jaccard_features(sets: Tensor, landmarks: Tensor, projection: Tensor) -> Tensor:
    """φ of indicators [n, num_tags] → [n, rank]."""
    both = sets @ landmarks.T
    either = sets.sum(dim=1, keepdim=True) + landmarks.sum(dim=1)[None, :] - both
    return (both / either.clamp_min(1e-9)) @ projection


def distinct_sets(table: Float32Array) -> tuple[Float32Array, Int64Array]:
    """The distinct rows of 0/1 indicators [n, num_tags], and how often each occurs."""
    sets, counts = np.unique(table, axis=0, return_counts=True)
    return sets.astype(np.float32), counts.astype(np.int64)


def indicator_rows(tags_of_image: Csr, rows: Int64Array, num_tags: int) -> Float32Array:
    """[len(rows), num_tags] 0/1: which tags these images carry."""
    table = np.zeros((len(rows), num_tags), dtype=np.float32)
    degrees = tags_of_image.degrees()[rows]
    starts = np.repeat(tags_of_image.indptr[:-1][rows], degrees)
    within = np.arange(degrees.sum()) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    table[np.repeat(np.arange(len(rows)), degrees), tags_of_image.indices[starts + within]] = 1.0
    return table


def ideal_gains(sets: Float32Array, counts: Int64Array, k: int = 5) -> Float32Array:
    """[s]: the discounted gain of the best k other images for an image with each of these sets.

    Dividing a Jaccard target by it makes each picture count equally in nDCG, where one that has nothing like
    it would otherwise hardly count. Never below the gain of one image that shares a fifth of its tags. Above
    10,000 sets the images beside its copies are an even sample, each for as many as it stands for.
    """
    discounts = 1.0 / np.log2(np.arange(k) + 2.0)
    result = np.empty(len(sets), dtype=np.float32)
    some, images = _sampled(counts) if len(sets) > _COMPARED else (np.arange(len(sets)), counts)
    others = sets[some]
    width = min(k + 1, len(some))
    for start in range(0, len(sets), 1024):
        part = jaccard(sets[start : start + 1024], others)
        best = np.argpartition(-part, width - 1, axis=1)[:, :width]
        for place in range(len(part)):
            own = start + place
            copies = np.where(some[best[place]] == own, 0, images[best[place]])
            gains = np.repeat(part[place, best[place]], np.minimum(copies, k))
            gains = np.append(gains, np.ones(min(int(counts[own]) - 1, k), dtype=np.float32))
            gains = -np.sort(-gains)[:k]
            result[own] = max(float((gains * discounts[: len(gains)]).sum()), 0.2)
    return result


def _sampled(counts: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Sets of an even sample of images, and how many images each stands for. counts: [s]."""
    each = counts.sum() / _COMPARED
    middles = (np.arange(_COMPARED) + 0.5) * each
    some, times = np.unique(np.searchsorted(np.cumsum(counts), middles, side="right"), return_counts=True)
    return some, np.rint(times * each).astype(np.int64)
