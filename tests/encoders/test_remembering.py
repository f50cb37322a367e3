"""A text encoder that remembers gives what the encoder itself gives, in fewer calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gnn.encoders.base import EncoderSpec, TextEncoder
from gnn.encoders.minilm import MiniLM
from gnn.encoders.openclip import OpenClip
from gnn.encoders.remembering import RememberingTextEncoder
from graph_store.arrays import Float32Array

TEXTS = [
    "puppy",
    "the word puppy",
    "antidisestablishmentarianism",
    "a red sofa by a window",
    "北京",
    "two people ride a very old tandem along the beach in the last light of an evening in autumn",
]


class Counting:
    """An encoder whose vectors say how long a text is, and which remembers its calls."""

    spec = EncoderSpec("counting", "ab" * 32, 2, "")

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        self.calls.append(list(texts))
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.mark.parametrize("at_once", [1, 3, 16])
@pytest.mark.parametrize("kind", ["minilm", "tiny_clip"])
def test_texts_read_together_are_what_each_is_alone(
    kind: str, at_once: int, minilm: MiniLM, tiny_clip: OpenClip
) -> None:
    encoder: TextEncoder = minilm if kind == "minilm" else tiny_clip
    together = RememberingTextEncoder(encoder, at_once=at_once).encode_text(TEXTS)
    alone = np.concatenate([encoder.encode_text([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6, rtol=0)


def test_vectors_are_in_the_order_of_the_texts_each_of_which_is_read_once(counting: Counting) -> None:
    encoder = RememberingTextEncoder(counting, at_once=16)
    vectors = encoder.encode_text(["ccc", "a", "ccc", "bb"])
    assert vectors[:, 0].tolist() == [3, 1, 3, 2]
    assert encoder.encode_text(["bb", "dddd", "a"])[:, 0].tolist() == [2, 4, 1]
    assert counting.calls == [["ccc", "a", "bb"], ["dddd"]]


def test_no_call_has_more_texts_than_it_may(counting: Counting) -> None:
    RememberingTextEncoder(counting, at_once=3).encode_text([str(number) for number in range(8)])
    assert [len(texts) for texts in counting.calls] == [3, 3, 2]


def test_what_was_not_asked_for_longest_is_forgotten(counting: Counting) -> None:
    encoder = RememberingTextEncoder(counting, at_once=1, most=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        encoder.encode_text([text])
    assert counting.calls == [["a"], ["b"], ["c"], ["b"]]


def test_more_texts_than_are_remembered_are_answered_all_the_same(counting: Counting) -> None:
    texts = ["x" * length for length in range(1, 9)]
    vectors = RememberingTextEncoder(counting, at_once=3, most=2).encode_text(texts)
    assert vectors[:, 0].tolist() == list(range(1, 9))


def test_no_more_is_read_ahead_than_is_remembered(counting: Counting) -> None:
    RememberingTextEncoder(counting, at_once=16, most=2).read_ahead(["a", "b", "a", "c"])
    assert counting.calls == [["a", "b"]]


def test_nothing_is_read_where_nothing_is_asked(counting: Counting) -> None:
    assert RememberingTextEncoder(counting, at_once=3).encode_text([]).shape == (0, 2)
    assert not counting.calls
