from pathlib import Path

import numpy as np
import pytest

from graph_store.errors import BadInput, CorruptFile, EncoderMismatch, NothingToServe, Unwritable
from graph_store.features import FeatureFile


def open_features(directory: Path) -> FeatureFile:
    return FeatureFile.open(directory, "lite0-ab12", 4, create=True)


def test_rows_come_back_in_order_after_reopening(tmp_path: Path) -> None:
    features = open_features(tmp_path)
    rows = np.arange(40, dtype=np.float32).reshape(10, 4)
    features.write(0, rows[:6])
    features.write(6, rows[6:])
    view = FeatureFile.open(tmp_path, "lite0-ab12", 4).view()
    np.testing.assert_array_equal(view, rows)
    assert not view.flags.writeable
    assert FeatureFile.open(tmp_path, "lite0-ab12", 4).view(3).shape == (3, 4)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert open_features(tmp_path).view().shape == (0, 4)


def test_left_overs_of_a_killed_run_are_overwritten(tmp_path: Path) -> None:
    features = open_features(tmp_path)
    features.write(0, np.zeros((3, 4)))
    with features.path.open("ab") as file:
        file.write(b"half a row")
    assert features.num_rows == 3
    features.write(1, np.ones((1, 4)))
    np.testing.assert_array_equal(features.view(2), [[0] * 4, [1] * 4])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_number_that_is_not_finite_is_refused_by_row(tmp_path: Path, bad: float) -> None:
    rows = np.zeros((5, 4))
    rows[3, 2] = bad
    features = open_features(tmp_path)
    features.write(0, np.zeros((10, 4)))
    with pytest.raises(BadInput, match=r"Feature row 13 has .* at position 2 of 4"):
        features.write(10, rows)
    assert features.num_rows == 10


@pytest.mark.parametrize("shape", [(2, 5), (4,), (2, 4, 1)])
def test_another_dimension_is_refused_by_row_and_dimension(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"row 0 have shape .* takes dimension 4"):
        open_features(tmp_path).write(0, np.zeros(shape))


def test_a_gap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gap after the 0 rows"):
        open_features(tmp_path).write(1, np.zeros((1, 4)))


def test_an_encoder_of_another_dimension_is_refused(tmp_path: Path) -> None:
    open_features(tmp_path)
    with pytest.raises(EncoderMismatch, match="have dimension 4, and the encoder has 8"):
        FeatureFile.open(tmp_path, "lite0-ab12", 8, create=True)


def test_missing_short_or_undescribed_features_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NothingToServe, match=r"lite0-ab12\.f32"):
        FeatureFile.open(tmp_path, "lite0-ab12", 4)
    features = open_features(tmp_path)
    with pytest.raises(CorruptFile, match="holds 0 rows, and 2 are needed"):
        features.view(2)
    features.path.unlink()
    with pytest.raises(CorruptFile, match=r"lite0-ab12\.f32 is missing"):
        open_features(tmp_path)
    (tmp_path / "lite0-ab12.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"lite0-ab12\.json"):
        open_features(tmp_path)


def test_a_slug_cannot_leave_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no slug"):
        FeatureFile.open(tmp_path, "../x", 4, create=True)


def test_a_full_disk_is_reported(small_disk: Path) -> None:
    features = FeatureFile.open(small_disk, "lite0-ab12", 1000, create=True)
    features.write(0, np.ones((10, 1000)))
    with pytest.raises(Unwritable, match=r"lite0-ab12\.f32: the disk is full"):
        features.write(10, np.ones((1000, 1000)))
    np.testing.assert_array_equal(features.view(10), np.ones((10, 1000)))
