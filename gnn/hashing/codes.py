"""From vectors to binary codes.

A head is linear: bit b of a vector x is 1 where w_b · x + c_b > 0. Codes are compared by Hamming distance,
the number of bits in which they differ; with bits in {-1, 1} that is (k - code · code') / 2.

The vectors of the index and the blended vector of a query are first brought into one space. With the slider
in its middle the score of a query's embedding e and an image's z is Σ_d m_d e_d z_d, where m_d is what
dimension d weighs there. So an image enters a head as unit(√m ∘ z), and the blended vector q of a query,
which holds the weights of its own place of the slider, as unit(q / √m): in the middle both are the same map,
and away from it the query leans to one side as the slider says.

Two codes lie beside each other. The *meaning* code is learnt (:mod:`gnn.hashing.objective`), from the whole
vector, for the middle of the slider. It cannot know what an image looks like at the end of the slider where
looks alone count, so a shorter *looks* code is made of the visual block alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graph_store.arrays import Float32Array
from graph_store.binary_index import Codes

LENGTHS = (16, 32, 64, 128, 256)
"""Lengths in bits for which heads are trained; the last one serves."""

LOOKS_BITS = 128
RERANKED = 200


@dataclass(frozen=True, eq=False)
class CodeHead:
    """weight: [dim, bits]; bias: [bits]; both float32."""

    weight: Float32Array
    bias: Float32Array

    @property
    def bits(self) -> int:
        """The length of a code."""
        return int(self.weight.shape[1])

    def outputs(self, inputs: Float32Array) -> Float32Array:
        """[n, dim] → [n, bits], of which only the sign counts."""
        result: Float32Array = inputs @ self.weight + self.bias
        return result

    def codes(self, inputs: Float32Array) -> Codes:
        """[n, dim] → [n, bits / 8] packed."""
        packed: Codes = np.packbits(self.outputs(inputs) > 0, axis=1, bitorder="little")
        return packed


@dataclass(frozen=True, eq=False)
class CodeSpace:
    """The space that heads read. root: [dim] √m; looks: [dim] 1 on the visual dimensions, else 0."""

    root: Float32Array
    looks: Float32Array

    def of_index(self, vectors: Float32Array) -> Float32Array:
        """unit(√m ∘ z): index vectors [n, dim] → [n, dim]."""
        return unit_rows(vectors * self.root)

    def of_queries(self, blended: Float32Array) -> Float32Array:
        """unit(q / √m): blended vectors [n, dim] → [n, dim], without what weighs nothing in the middle."""
        heard = self.root > 1e-6
        inverse = np.divide(1.0, self.root, out=np.zeros_like(self.root), where=heard)
        return unit_rows(blended * inverse)

    def looks_of(self, inputs: Float32Array) -> Float32Array:
        """The visual part alone, of unit length: [n, dim] → [n, dim]."""
        return unit_rows(inputs * self.looks)

    def share_of_looks(self, inputs: Float32Array) -> Float32Array:
        """[n] in [0, 1]: how much of the squared length of inputs [n, dim] is visual."""
        part = inputs * self.looks
        share: Float32Array = np.clip(np.einsum("nd,nd->n", part, part), 0.0, 1.0)
        return share


@dataclass(frozen=True, eq=False)
class HashCodes:
    """What a trained model adds for hashing. heads: meaning codes by length; looks: the head of the looks
    code; bits: the length that serves; reranked: how many of the nearest codes are ranked by their vectors.
    """

    space: CodeSpace
    heads: Mapping[int, CodeHead]
    looks: CodeHead
    bits: int
    reranked: int = RERANKED

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is learnt, by name; `from_tensors` is the inverse."""
        arrays = {"root": self.space.root, "visual": self.space.looks}
        named = {str(bits): head for bits, head in self.heads.items()}
        for name, head in {**named, "looks": self.looks}.items():
            arrays[f"{name}/weight"], arrays[f"{name}/bias"] = head.weight, head.bias
        return {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()}

    def meta(self) -> dict[str, Any]:
        """The plain numbers, as JSON."""
        return {"lengths": sorted(self.heads), "bits": self.bits, "reranked": self.reranked}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> HashCodes:
        """Raises KeyError when one is missing."""

        def head(name: str) -> CodeHead:
            return CodeHead(tensors[f"{name}/weight"].numpy(), tensors[f"{name}/bias"].numpy())

        return cls(
            CodeSpace(tensors["root"].numpy(), tensors["visual"].numpy()),
            {int(bits): head(str(bits)) for bits in meta["lengths"]},
            head("looks"),
            int(meta["bits"]),
            int(meta["reranked"]),
        )


def unit_rows(vectors: Float32Array) -> Float32Array:
    """Rows of length one, zero rows as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: Float32Array = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result
