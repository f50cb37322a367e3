"""Room on the disk that goes with the job that needed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnn.scratch_room import scratch_room


@pytest.mark.parametrize("needed", [True, False])
def test_what_a_killed_run_left_goes_first(tmp_path: Path, needed: bool) -> None:
    left = tmp_path / "room" / "states.npy"
    left.parent.mkdir()
    left.write_bytes(b"of a run that was killed")
    with scratch_room(tmp_path / "room", needed=needed):
        assert not left.exists()


def test_room_is_there_for_the_block_only_even_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch_room(tmp_path / "of" / "a" / "model", needed=True) as room:
        assert room is not None and room.is_dir()
        raise KeyError
    assert not (tmp_path / "of" / "a" / "model").exists()


def test_where_none_is_needed_nothing_is_made(tmp_path: Path) -> None:
    with scratch_room(tmp_path / "room", needed=False) as room:
        assert room is None
        assert not list(tmp_path.iterdir())
