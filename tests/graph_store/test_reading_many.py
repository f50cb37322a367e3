"""What the service asks for in one go is what it would get one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graph_store import ivfpq_index
from graph_store.faiss_index import FaissIndex
from graph_store.image_table import ImageTable
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.record_table import RecordTable
from graph_store.records import ImageRecord, Tag


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivfpq"])
@pytest.mark.parametrize("share", [None, 3, 1])
def test_the_nearest_rows_are_those_of_a_search_and_perhaps_a_few_more(
    kind: str, share: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ivfpq_index, "LEAST_RANKED", 60)
    monkeypatch.setattr(ivfpq_index, "SCAN_ALLOWED_UP_TO", 8)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, 16), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = IvfPqIndex.build(vectors) if kind == "ivfpq" else FaissIndex.build(vectors, kind)  # type: ignore[arg-type]
    allowed = None if share is None else np.arange(0, 500, share)
    for k in (1, 20, 140, 500):
        query = rng.standard_normal(16, dtype=np.float32)
        found = index.nearest(query, k, allowed)
        expected = index.search(query[None, :], k, allowed).rows[0]
        assert len(set(found.tolist())) == len(found) >= min(k, len(expected[expected >= 0]))
        shared = set(found.tolist()) & set(expected.tolist())
        assert len(shared) >= 0.95 * len(expected[expected >= 0])
        assert allowed is None or set(found.tolist()) <= set(allowed.tolist())


def test_records_read_together_are_those_read_alone(tmp_path: Path) -> None:
    records = [ImageRecord(f"é{i}", tags=(Tag("a" * i),) if i else (), row=i) for i in range(5)]
    RecordTable.write(tmp_path, ImageTable.of(records).fragments())
    table = RecordTable.open(tmp_path)
    rows = [3, 0, 3, 4]
    assert table.fragments(rows) == [table.fragment(row) for row in rows]
    assert table.fragments([]) == []
    for outside in ([0, 5], [-1]):
        with pytest.raises(IndexError):
            table.fragments(outside)
