from __future__ import annotations

import warnings

import numpy as np

from gnn.encoders.minilm import MiniLM, model_dir

TEXTS = ["dog", "puppy", "a red sofa by a window", "naïve café 北京 🐕", "", "word " * 400, "carburettor"]


def test_features_are_unit_vectors_of_384_dimensions(minilm: MiniLM) -> None:
    features = minilm.encode_text(TEXTS)

    assert features.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)


def test_a_text_has_the_same_features_alone_and_in_a_batch(minilm: MiniLM) -> None:
    alone = np.concatenate([minilm.encode_text([text]) for text in TEXTS])

    np.testing.assert_allclose(minilm.encode_text(TEXTS), alone, atol=1e-5)


def test_it_gives_what_sentence_transformers_gives(minilm: MiniLM) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        reference = SentenceTransformer(str(model_dir()), device="cpu", local_files_only=True)
        expected = reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)

    np.testing.assert_allclose(minilm.encode_text(TEXTS), expected, atol=1e-4)


def test_near_words_are_nearer_than_far_ones(minilm: MiniLM) -> None:
    dog, puppy, carburettor = minilm.encode_text(["dog", "puppy", "carburettor"])

    assert dog @ puppy > dog @ carburettor + 0.2


def test_no_texts_give_no_features(minilm: MiniLM) -> None:
    assert minilm.encode_text([]).shape == (0, 384)
