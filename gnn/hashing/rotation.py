"""Codes without labels: principal axes, and a rotation of them that suits signs (ITQ)."""

from __future__ import annotations

import numpy as np

from gnn.hashing.codes import CodeHead
from graph_store.arrays import Float32Array

_ROUNDS = 30


def random_head(mean: Float32Array, bits: int, seed: int) -> CodeHead:
    """Signs of the centred embedding itself, turned at random so that it has `bits` numbers.

    Orthogonal directions as far as there are dimensions (Ji et al. 2012, Super-Bit LSH), more in further
    orthogonal groups. mean: [dim].
    """
    rng = np.random.default_rng(seed)
    dim = len(mean)
    groups = [np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(-(-bits // dim))]
    return _centred(mean, np.concatenate(groups, axis=1)[:, :bits])


def principal_head(sample: Float32Array, mean: Float32Array, bits: int) -> CodeHead:
    """Signs of the leading principal coordinates. sample: [n, dim]; mean: [dim], what is centred by."""
    return _centred(mean, _axes(sample, mean, bits))


def rotated_head(sample: Float32Array, mean: Float32Array, bits: int, seed: int) -> CodeHead:
    """Iterative quantisation: the rotation R of principal coordinates V that minimises ‖sign(V R) - V R‖².

    Gong and Lazebnik, CVPR 2011: alternate B = sign(V R) and the orthogonal Procrustes solution for R. Where
    there are more bits than dimensions, the rest are random directions. sample: [n, dim]; mean: [dim].
    """
    rng = np.random.default_rng(seed)
    width = min(bits, sample.shape[1])
    axes = _axes(sample, mean, width)
    coordinates = (sample - mean).astype(np.float64) @ axes
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
    for _ in range(_ROUNDS):
        signs = np.where(coordinates @ rotation > 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(coordinates.T @ signs)
        rotation = left @ right
    weight = axes @ rotation
    if width < bits:
        weight = np.concatenate([weight, random_head(mean, bits - width, seed).weight], axis=1)
    return _centred(mean, weight)


def _axes(sample: Float32Array, mean: Float32Array, bits: int) -> np.ndarray:
    """[dim, bits] the leading principal axes of sample - mean; zeros where there are none left."""
    centred = (sample - mean).astype(np.float64)
    vectors = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :bits]
    largest = np.abs(vectors).argmax(axis=0)
    signed = vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return np.pad(signed, ((0, 0), (0, bits - signed.shape[1])))


def _centred(mean: Float32Array, weight: np.ndarray) -> CodeHead:
    return CodeHead(weight.astype(np.float32), (-(mean.astype(np.float64) @ weight)).astype(np.float32))
