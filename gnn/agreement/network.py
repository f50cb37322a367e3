"""The agreement network: from two images' features to the probability that they share a tag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from graph_store.arrays import Float32Array, Int64Array

_CHUNK = 65_536


@dataclass(frozen=True)
class AgreementConfig:
    """``pairs``: at most so many edges, and as many random pairs, are learnt from."""

    hidden: int = 64
    pairs: int = 30_000
    passes: int = 4
    batch: int = 1024
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2


class AgreementNetwork(nn.Module):
    """One hidden layer over [(a - b)², a ⊙ b, a·b], which does not tell the two ends apart."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * width + 1, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """[n, width] each → logits [n]."""
        product = left * right
        inputs = torch.cat([(left - right).square(), product, product.sum(dim=1, keepdim=True)], dim=1)
        result: Tensor = self.layers(inputs).squeeze(1)
        return result


def shared(truth: sparse.csr_matrix, left: Int64Array, right: Int64Array) -> Float32Array:
    """[n]: 1 where two images share a tag, else 0. truth: [images, tags] 0/1."""
    common = truth[left].multiply(truth[right]).sum(axis=1)
    result: Float32Array = (np.asarray(common).ravel() > 0).astype(np.float32)
    return result


def train_agreement(
    vectors: Float32Array,
    truth: sparse.csr_matrix,
    edges: tuple[Int64Array, Int64Array],
    rng: np.random.Generator,
    config: AgreementConfig | None = None,
) -> AgreementNetwork:
    """Learn from edges between tagged images and from as many random pairs of those.

    vectors: [images, width]; edges: their two ends. Stretcu et al. 2019, Eq. 2, with "share a tag" for "are
    of one class". The same generator gives the same network.
    """
    config = config or AgreementConfig()
    tagged = np.diff(truth.indptr) > 0
    usable = np.flatnonzero(tagged[edges[0]] & tagged[edges[1]])
    chosen = rng.permutation(usable)[: config.pairs]
    images = np.flatnonzero(tagged)
    drawn = rng.choice(images, size=(2, len(chosen)))
    left = np.concatenate([edges[0][chosen], drawn[0]])
    right = np.concatenate([edges[1][chosen], drawn[1]])
    wanted = torch.from_numpy(shared(truth, left, right))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = AgreementNetwork(vectors.shape[1], config.hidden)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    table = torch.from_numpy(vectors)
    for _ in range(config.passes):
        order = rng.permutation(len(left))
        for start in range(0, len(order), config.batch):
            part = order[start : start + config.batch]
            logits = network(table[left[part]], table[right[part]])
            loss = functional.binary_cross_entropy_with_logits(logits, wanted[part])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
            optimiser.step()
    return network.eval()


@torch.inference_mode()
def agreement_of(
    network: AgreementNetwork, vectors: Float32Array, left: Int64Array, right: Int64Array
) -> Float32Array:
    """[n] in (0, 1): how probably the two ends share a tag."""
    table = torch.from_numpy(vectors)
    parts = [
        torch.sigmoid(network(table[left[at : at + _CHUNK]], table[right[at : at + _CHUNK]]))
        for at in range(0, len(left), _CHUNK)
    ]
    if not parts:
        return np.zeros(0, dtype=np.float32)
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)
