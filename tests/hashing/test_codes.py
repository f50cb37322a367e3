"""Heads and the space that they read; codes without labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn.hashing.codes import CodeHead, CodeSpace, HashCodes, unit_rows
from gnn.hashing.rotation import principal_head, random_head, rotated_head
from graph_store.arrays import Float32Array


def clustered(num: int = 400, dim: int = 12, seed: int = 0) -> Float32Array:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((8, dim))
    return unit_rows(
        (centres[np.arange(num) % 8] + 0.3 * random.standard_normal((num, dim))).astype(np.float32)
    )


def space(dim: int = 12, looks: int = 4) -> CodeSpace:
    weights = np.linspace(0.1, 1.0, dim, dtype=np.float32)
    return CodeSpace(np.sqrt(weights), (np.arange(dim) < looks).astype(np.float32))


def test_a_bit_is_the_sign_of_its_output_and_the_first_is_lowest() -> None:
    head = CodeHead(np.eye(8, dtype=np.float32), np.zeros(8, np.float32))
    assert head.codes(np.array([[1, -1, 1, -1, -1, -1, -1, 1]], np.float32)).tolist() == [[0b10000101]]


def test_in_the_middle_of_the_slider_a_query_and_an_image_of_one_embedding_have_one_code() -> None:
    own = space()
    embedding = clustered(5)
    blended = embedding * own.root**2  # what the readout makes of it in the middle
    np.testing.assert_allclose(own.of_queries(blended), own.of_index(embedding), atol=1e-6)


def test_the_share_of_looks_is_all_at_one_end_of_the_slider_and_nothing_at_the_other() -> None:
    own, vectors = space(), clustered(5)
    looks, meaning = vectors * own.looks, vectors * (1 - own.looks)
    np.testing.assert_allclose(own.share_of_looks(own.of_queries(looks)), 1.0, atol=1e-6)
    np.testing.assert_allclose(own.share_of_looks(own.of_queries(meaning)), 0.0, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(bits=st.sampled_from([8, 16, 32]), seed=st.integers(0, 5))
def test_every_kind_of_head_has_the_bits_asked_for_even_beyond_the_dimensions(bits: int, seed: int) -> None:
    sample = clustered()
    mean = sample.mean(axis=0)
    for head in (
        random_head(mean, bits, seed),
        principal_head(sample, mean, bits),
        rotated_head(sample, mean, bits, seed),
    ):
        assert head.bits == bits
        assert head.codes(sample).shape == (len(sample), bits // 8)


def test_rotating_brings_the_principal_coordinates_nearer_to_their_signs() -> None:
    sample = clustered()
    mean = sample.mean(axis=0)

    def error(head: CodeHead) -> float:
        outputs = head.outputs(sample) / np.abs(head.outputs(sample)).mean()
        return float(((np.sign(outputs) - outputs) ** 2).mean())

    assert error(rotated_head(sample, mean, 8, 0)) < 0.8 * error(principal_head(sample, mean, 8))


def test_codes_come_back_from_their_tensors() -> None:
    sample = clustered()
    head = rotated_head(sample, sample.mean(axis=0), 8, 0)
    codes = HashCodes(space(), {8: head}, head, bits=8, reranked=50)
    again = HashCodes.from_tensors(codes.tensors(), codes.meta())
    np.testing.assert_array_equal(again.heads[8].codes(sample), head.codes(sample))
    np.testing.assert_array_equal(again.space.root, codes.space.root)
    assert (again.bits, again.reranked) == (8, 50)
    with pytest.raises(KeyError):
        HashCodes.from_tensors({}, codes.meta())
