from pathlib import Path

import pytest

from graph_store.checksums import sha256_of_file, sha256_of_files


def test_several_files_have_the_checksums_of_each_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.bin" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * (1 << number))
    assert list(sha256_of_files(paths)) == [sha256_of_file(path) for path in paths]
    assert list(sha256_of_files([])) == []


def test_those_before_a_missing_file_are_told_first(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"x")
    told = sha256_of_files([there, tmp_path / "missing", there])
    assert next(told) == sha256_of_file(there)
    with pytest.raises(FileNotFoundError):
        next(told)
