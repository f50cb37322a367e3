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
        FeatureFile.open(tmp_path, "lite0-ab12", 4)
    for told in (
        "{",
        "[]",
        '{"dim": 4, "dtype": "float64"}',
        '{"dim": 4, "dtype": "float32", "chacksums": ""}',
    ):
        (tmp_path / "lite0-ab12.json").write_text(told)
        with pytest.raises(CorruptFile, match=r"lite0-ab12\.json"):
            FeatureFile.open(tmp_path, "lite0-ab12", 4)


def flip(path: Path, byte: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def test_any_flipped_bit_of_a_row_is_found(tmp_path: Path) -> None:
    features = open_features(tmp_path)
    features.write(0, np.random.default_rng(0).normal(size=(3, 4)))
    assert features.damaged(range(3)) == []
    for place in range(3 * 16 * 8):
        flip(features.path, place // 8, place % 8)
        assert features.damaged(range(3)) == [place // 128]
        flip(features.path, place // 8, place % 8)
    flip(tmp_path / "lite0-ab12.crc32", 5)
    assert features.damaged([0, 2]) == [] and features.damaged(range(3)) == [1]


def test_a_row_is_restored_by_what_was_written_and_by_nothing_else(tmp_path: Path) -> None:
    features = open_features(tmp_path)
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    features.write(0, rows)
    features.path.write_bytes(features.path.read_bytes()[:30])
    assert features.damaged(range(5)) == [1, 2, 3, 4]
    assert features.restore(np.array([3, 9]), rows[[2, 2]]).tolist() == [False, False]
    assert features.restore(np.array([2, 3]), rows[[4, 3]]).tolist() == [False, True]
    assert features.damaged(range(5)) == [1, 2, 4]
    np.testing.assert_array_equal(features.view()[3], rows[3])


def test_a_row_whose_checksum_was_lost_is_vouched_for_by_a_copy_of_it(tmp_path: Path) -> None:
    features = open_features(tmp_path)
    rows = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    features.write(0, rows)
    (tmp_path / "lite0-ab12.crc32").unlink()
    copies = rows.copy()
    copies[0] += 1
    assert features.damaged(range(4)) == [0, 1, 2, 3]
    assert features.restore(np.arange(4), copies).tolist() == [False, True, True, True]
    assert features.damaged(range(4)) == [0]
    assert features.restore(np.array([0]), rows[:1]).tolist() == [True]
    assert features.damaged(range(4)) == []


def test_rows_that_follow_one_another_are_restored_with_one_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = open_features(tmp_path)
    rows = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    features.write(0, rows)
    features.path.write_bytes(bytes(500 * 16))
    waits: list[int] = []
    monkeypatch.setattr("os.fsync", waits.append)
    damaged = np.delete(np.arange(500), [100, 300])
    assert features.restore(damaged, rows[damaged]).all()
    assert len(waits) == 3 * 2  # the rows and the checksums of three runs
    assert features.damaged(range(500)) == [100, 300]


def test_rows_that_were_lost_count_as_damaged_when_others_follow(tmp_path: Path) -> None:
    features = open_features(tmp_path)
    features.write(0, np.zeros((5, 4)))
    features.path.write_bytes(b"")
    again = open_features(tmp_path)
    again.extend(5)
    again.write(5, np.ones((1, 4)))
    # Zeros are what was written, so nothing but the end of the file was lost.
    assert again.damaged(range(6)) == []
    for lost in ("f32", "crc32"):
        (tmp_path / f"lite0-ab12.{lost}").unlink()
    again = open_features(tmp_path)
    again.extend(6)
    again.write(6, np.ones((1, 4)))
    assert again.damaged(range(7)) == [0, 1, 2, 3, 4, 5]


def test_features_without_checksums_are_taken_as_sound_until_the_first_write(tmp_path: Path) -> None:
    open_features(tmp_path).write(0, np.zeros((3, 4)))
    (tmp_path / "lite0-ab12.crc32").unlink()
    (tmp_path / "lite0-ab12.json").write_text('{"dim": 4, "dtype": "float32"}')
    older = FeatureFile.open(tmp_path, "lite0-ab12", 4)
    assert older.damaged(range(3)) == []
    assert older.damaged([3]) == [3]
    older.write(3, np.ones((1, 4)))
    flip(older.path, 0)
    assert FeatureFile.open(tmp_path, "lite0-ab12", 4).damaged(range(4)) == [0]


def test_what_no_image_refers_to_is_cut_off(tmp_path: Path) -> None:
    features = open_features(tmp_path)
    features.write(0, np.ones((5, 4)))
    with features.path.open("ab") as file:
        file.write(b"half a row")
    features.cut(2)
    assert (features.path.stat().st_size, features.damaged(range(3))) == (32, [2])
    features.write(2, np.zeros((1, 4)))
    assert features.damaged(range(3)) == []


def test_a_slug_cannot_leave_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no slug"):
        FeatureFile.open(tmp_path, "../x", 4, create=True)


def test_a_full_disk_is_reported(small_disk: Path) -> None:
    features = FeatureFile.open(small_disk, "lite0-ab12", 1000, create=True)
    features.write(0, np.ones((10, 1000)))
    with pytest.raises(Unwritable, match=r"lite0-ab12\.f32: the disk is full"):
        features.write(10, np.ones((1000, 1000)))
    np.testing.assert_array_equal(features.view(10), np.ones((10, 1000)))
