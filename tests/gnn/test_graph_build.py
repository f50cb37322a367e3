"""Tags that training has not seen, joined to those that it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gnn.graph_build import nearest_seen
from gnn.words import nearest_in_meaning
from graph_store.arrays import Float32Array
from graph_store.csr import Csr


def texts(num: int) -> Float32Array:
    drawn = np.random.default_rng(0).standard_normal((num, 16))
    unit: Float32Array = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.mark.parametrize("at_once", [1, 3, 256])
def test_an_unseen_tag_without_seen_relations_hears_of_those_that_mean_most_alike(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnn.graph_build._AT_ONCE", at_once)
    tag_text, seen = texts(30), np.arange(30) % 3 > 0
    related = Csr.from_edges([3, 6], [4, 9], [0.7, 0.6], 30)  # 4 is seen, 9 is not
    found = nearest_seen(tag_text, seen, related)
    known = np.flatnonzero(seen)
    for tag in np.flatnonzero(~seen).tolist():
        others, weights = found.row(tag)
        old, old_weights = related.row(tag)
        if tag == 3:
            assert (others.tolist(), weights.tolist()) == (old.tolist(), old_weights.tolist())
            continue
        nearest, shares = nearest_in_meaning(tag_text[known] @ tag_text[tag])
        wanted = dict(zip(known[nearest].tolist(), shares.tolist(), strict=True))
        wanted |= dict(zip(old.tolist(), old_weights.tolist(), strict=True))
        assert dict(zip(others.tolist(), weights.tolist(), strict=True)) == pytest.approx(wanted, abs=1e-5)
    for tag in known.tolist():
        assert len(found.row(tag)[0]) == 0


def test_the_texts_of_seen_tags_are_copied_once_however_many_tags_are_unseen() -> None:
    copied = []

    class Noting(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            found = np.asarray(self)[key]
            copied.append(len(found))
            return found

    tag_text, seen = texts(400), np.arange(400) >= 200
    nearest_seen(tag_text.view(Noting), seen, Csr.empty(400))
    assert sum(copied) <= 400
