from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gnn.encoders.precomputed import Precomputed
from graph_store.errors import BadInput


def _save(folder: Path, vectors: np.ndarray, ids: list[str], ids_name: str = "ids.txt") -> Path:
    path = folder / "features.npy"
    np.save(path, vectors)
    text = json.dumps(ids) if ids_name.endswith("json") else "\n".join(ids) + "\n"
    (folder / ids_name).write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ids_name", ["ids.txt", "ids.json", "features.ids.txt", "features.ids.json"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_come_by_id_as_float32_of_length_1(tmp_path: Path, ids_name: str, dtype: type) -> None:
    path = _save(tmp_path, np.array([[3, 4], [0, 2]], dtype=dtype), ["a", "ü/b.jpg"], ids_name)

    features = Precomputed.load(path)

    np.testing.assert_allclose(features.vector("a"), [0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(features.vector("ü/b.jpg"), [0, 1], atol=1e-6)
    assert features.vector("a").dtype == np.float32
    assert features.spec.dim == 2


def test_ids_with_windows_line_ends_are_the_same_ids(tmp_path: Path) -> None:
    path = _save(tmp_path, np.eye(2), [])
    (tmp_path / "ids.txt").write_bytes(b"a\r\nb\r\n")

    assert list(Precomputed.load(path).rows) == ["a", "b"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [([np.nan, 1], "NaN"), ([np.inf, 1], "infinite"), ([0, 0], "all zeros")],
)
def test_a_useless_vector_is_refused_with_its_row(tmp_path: Path, row: list[float], reason: str) -> None:
    path = _save(tmp_path, np.array([[1, 0], row], dtype=np.float32), ["a", "b"])

    with pytest.raises(BadInput, match=rf"row 1 .*{reason}"):
        Precomputed.load(path).vector("b")


def test_an_id_without_features_is_refused_by_name_and_so_is_the_list_that_lacks_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'z'.* ids\.txt"):
        Precomputed.load(_save(tmp_path, np.eye(2), ["a", "b"])).vector("z")


@pytest.mark.parametrize(
    ("vectors", "ids", "reason"),
    [
        (np.eye(2), ["a"], "1 ids"),
        (np.eye(2), ["a", "a"], "more than once"),
        (np.zeros(4), ["a"], "not one floating-point array"),
        (np.zeros((2, 3), dtype=np.int64), ["a", "b"], "not one floating-point array"),
        (np.zeros((1, 0)), ["a"], "dimension 0"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, vectors: np.ndarray, ids: list[str], reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        Precomputed.load(_save(tmp_path, vectors, ids))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = _save(tmp_path, np.array([{"a": 1}], dtype=object), ["a"])

    with pytest.raises(BadInput, match="cannot be read"):
        Precomputed.load(path)


def test_missing_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.npy"):
        Precomputed.load(tmp_path / "gone.npy")
    np.save(tmp_path / "alone.npy", np.eye(2))
    with pytest.raises(BadInput, match=r"alone\.ids\.txt"):
        Precomputed.load(tmp_path / "alone.npy")


def test_an_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", a=np.eye(2))

    with pytest.raises(BadInput, match="archive"):
        Precomputed.load(tmp_path / "many.npz")
