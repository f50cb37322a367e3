"""`imsage keys`: made, shown once, listed, revoked."""

from __future__ import annotations

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
