"""`imsage keys`: made, shown once, listed, revoked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.cli import run
from app.keys import keys_path, matching, read_keys
from graph_store.data_dir import DataDir


def test_a_key_is_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "D")]
    assert run(["keys", "create", "shop", "--scope", "write", *data]) == 0
    made = capsys.readouterr().out.strip()
    key = matching(read_keys(keys_path(DataDir(tmp_path / "D"))), made.encode())
    assert key is not None and key.name == "shop"

    assert run(["keys", "list", *data]) == 0
    listed = capsys.readouterr().out
    assert "shop" in listed and "read, write" in listed and made not in listed

    assert run(["keys", "revoke", "shop", *data]) == 0
    assert "open to all" in capsys.readouterr().err
    assert run(["keys", "list", *data]) == 0
    assert "There are no keys" in capsys.readouterr().out


def test_a_wrong_scope_is_a_usage_error_and_a_wrong_name_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path)]
    assert run(["keys", "create", "shop", "--scope", "admin", *data]) == 2
    assert "There are: read, write" in capsys.readouterr().err
    assert run(["keys", "revoke", "shop", *data]) == 1


def test_keys_belong_to_whom_the_data_directory_does_whoever_made_them(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "D")
    data_dir.create()
    data_dir.root.chmod(0o2770)
    path = keys_path(data_dir)
    before = os.umask(0o077)
    try:
        assert run(["keys", "create", "shop", "--data", str(data_dir.root)]) == 0
        for made in (path, path.with_suffix(".lock")):
            assert stat.S_IMODE(made.stat().st_mode) == 0o660
        path.chmod(0o644)  # somebody's own choice stays
        assert run(["keys", "create", "other", "--data", str(data_dir.root)]) == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_keys_that_root_makes_are_given_to_the_owner_of_the_data_directory(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "D")
    data_dir.create()
    os.chown(data_dir.root, 10001, 10002)
    for name in ("shop", "other"):
        assert run(["keys", "create", name, "--data", str(data_dir.root)]) == 0
        told = keys_path(data_dir).stat()
        assert (told.st_uid, told.st_gid) == (10001, 10002)
