"""What the names of a catalogue's tags mean: vectors that the current snapshot holds, or newly read ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnn.encoders.base import TextEncoder
from gnn.words import NAME_PROMPT, name_vectors
from graph_store.arrays import Float32Array
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError
from graph_store.snapshot import Snapshot

PROMPT = "name_prompt"
"""The parameter of a snapshot that says how its names were read."""


def tag_vectors(data_dir: DataDir, words: TextEncoder, names: Sequence[str]) -> Float32Array:
    """[len(names), text_dim] unit norm. Names that the current snapshot has, read by the same encoder in the
    same way, are taken from it: ten thousand take the encoder a quarter of a minute.
    """
    vectors = np.zeros((len(names), words.spec.dim), dtype=np.float32)
    known, kept = _of_current(data_dir, words)
    place = {name: i for i, name in enumerate(known)}
    at = np.array([place.get(name, -1) for name in names], dtype=np.int64)
    vectors[at >= 0] = kept[at[at >= 0]]
    new = np.flatnonzero(at < 0)
    if len(new):
        vectors[new] = name_vectors(words, [names[int(i)] for i in new])
    return vectors


def _of_current(data_dir: DataDir, words: TextEncoder) -> tuple[list[str], Float32Array]:
    """The names and vectors of the current snapshot, none where it is damaged, or another encoder's."""
    nothing: tuple[list[str], Float32Array] = [], np.zeros((0, words.spec.dim), dtype=np.float32)
    try:
        snapshot = Snapshot.open(data_dir, verify=False)
        same = snapshot.manifest["text_encoder"] == words.spec.to_dict()
        if not same or snapshot.manifest["parameters"].get(PROMPT) != NAME_PROMPT:
            return nothing
        snapshot.check("tags.json", "tag_text.npy")
        return snapshot.json("tags")["names"], np.asarray(snapshot.array("tag_text"), dtype=np.float32)
    except ImsageError:
        return nothing
