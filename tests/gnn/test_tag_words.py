"""What tags mean is read once: a reindex takes from the current snapshot what its encoder has read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gnn import tag_words
from gnn.encoders.base import TextEncoder
from gnn.encoders.registry import DEFAULT_TEXT_ENCODER, text_encoder
from gnn.reindex import reindex
from gnn.tag_words import tag_vectors
from gnn.training import train
from gnn.words import name_vectors
from graph_store.arrays import Float32Array
from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot
from tests.gnn.worlds import TAGS, drawn_features, drawn_records, drawn_tags, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    chosen = drawn_tags(60)
    data_dir = write_catalogue(
        tmp_path_factory.mktemp("built"), drawn_records(chosen), drawn_features(chosen)
    )
    train(data_dir, epochs=1)
    reindex(data_dir)
    return data_dir


@pytest.fixture
def built(template: DataDir, tmp_path: Path) -> DataDir:
    shutil.copytree(template.root, tmp_path / "data")
    return DataDir(tmp_path / "data")


@pytest.fixture(scope="module")
def words() -> TextEncoder:
    return text_encoder(DEFAULT_TEXT_ENCODER)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that the encoder reads from here on."""
    names: list[str] = []

    def noting(encoder: TextEncoder, asked: Sequence[str]) -> Float32Array:
        names.extend(asked)
        return name_vectors(encoder, asked)

    monkeypatch.setattr(tag_words, "name_vectors", noting)
    return names


def test_only_names_that_the_snapshot_lacks_are_read(
    built: DataDir, words: TextEncoder, read: list[str]
) -> None:
    names = ["zebra", *TAGS[::-1], "apple"]
    vectors = tag_vectors(built, words, names)
    assert read == ["zebra", "apple"]
    np.testing.assert_allclose(vectors, name_vectors(words, names), atol=1e-5)


def test_without_a_snapshot_all_names_are_read(tmp_path: Path, words: TextEncoder, read: list[str]) -> None:
    assert tag_vectors(DataDir(tmp_path), words, TAGS).shape == (len(TAGS), words.spec.dim)
    assert read == list(TAGS)


def test_what_was_read_in_another_way_is_read_again(
    built: DataDir, words: TextEncoder, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tag_words, "NAME_PROMPT", "a photo of {}")
    tag_vectors(built, words, TAGS)
    assert read == list(TAGS)


def test_damaged_vectors_are_read_again(built: DataDir, words: TextEncoder, read: list[str]) -> None:
    path = Snapshot.open(built).path("tag_text.npy")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    np.testing.assert_array_equal(tag_vectors(built, words, TAGS), name_vectors(words, TAGS))
    assert read == list(TAGS)
