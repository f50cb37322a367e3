"""A snapshot is published whole or not at all, and each time only what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, NothingToServe
from graph_store.snapshot import Snapshot
from graph_store.snapshot_fetch import fetch_current
from graph_store.snapshot_store import SnapshotStore, StoreUnreachable
from tests.replica.conftest import Frail, contents

Commit = Callable[[], Snapshot]


def folder_of(store: SnapshotStore) -> Path:
    return Path(store.files[1])


def test_what_is_published_is_what_a_replica_has(
    store: SnapshotStore, commit: Commit, writer: DataDir, replica: DataDir
) -> None:
    published = store.publish(commit(), keep=3)
    fetched = fetch_current(store, replica, keep=3)

    assert fetched is not None and fetched.version == published.version == store.current()
    assert contents(replica) == contents(writer)
    assert len(contents(replica)) == published.files == fetched.files + 2  # manifest and seal
    assert fetch_current(store, replica, keep=3) is None


def test_nothing_published_is_said_to_be_so(store: SnapshotStore, replica: DataDir) -> None:
    assert store.current() is None
    with pytest.raises(NothingToServe, match="Nothing has been published"):
        fetch_current(store, replica, keep=3)


def test_publishing_again_puts_nothing_and_mends_what_was_lost(
    store: SnapshotStore, commit: Commit, replica: DataDir
) -> None:
    snapshot = commit()
    store.publish(snapshot, keep=3)
    assert store.publish(snapshot, keep=3).files == 0
    system, _ = store.files
    system.rm(store.path("snapshots", snapshot.version, "tags.json"))

    with pytest.raises(CorruptFile, match=r"snapshots/.*/tags\.json is missing in the store"):
        fetch_current(store, replica, keep=3)
    assert store.publish(snapshot, keep=3).files == 2  # with the seal, which is always last
    assert fetch_current(store, replica, keep=3) is not None


def test_old_ones_go_and_the_current_one_never(store: SnapshotStore, commit: Commit) -> None:
    made = [commit() for _ in range(3)]
    for snapshot in made:
        store.publish(snapshot, keep=2)
    system, root = store.files

    def there() -> set[str]:
        return {path.rpartition("/")[2] for path in system.ls(f"{root}/snapshots", detail=False)}

    assert there() == {snapshot.version for snapshot in made[1:]}
    # Back to an older one: it is current, so it stays, although others are newer.
    removed = store.publish(made[0], keep=1).removed
    assert removed == (made[1].version,)
    assert there() == {made[0].version, made[2].version} and store.current() == made[0].version


def test_a_publication_that_is_cut_short_anywhere_leaves_the_old_one_and_is_completed(
    commit: Commit, writer: DataDir, tmp_path: Path
) -> None:
    first = commit()
    before = contents(writer)
    second = commit()
    after = contents(writer)
    struck = []
    for number in range(1, 100):
        store = SnapshotStore(f"frail://{tmp_path / f'store-{number}'}")
        reader = DataDir(tmp_path / f"reader-{number}")
        Frail.set_up()
        store.publish(first, keep=1)
        Frail.set_up(strike_at=number)
        try:
            store.publish(second, keep=1)
        except StoreUnreachable as error:
            struck.append(str(error))
        else:
            break
        was_removing = "was removed" in struck[-1]
        assert store.current() == (second if was_removing else first).version
        fetch_current(store, reader, keep=1)
        assert contents(reader) == (after if was_removing else before)

        Frail.set_up()
        store.publish(second, keep=1)
        assert store.current() == second.version
        assert [path.name for path in (folder_of(store) / "snapshots").iterdir()] == [second.version]
        fetch_current(store, reader, keep=1)
        assert contents(reader) == after
    # Each file, the pointer aside, its renaming, and the removal of the old one.
    assert len(struck) == len(after) + 3 and "was removed" in struck[-1]


def test_what_an_interruption_has_brought_is_not_put_again(frail: SnapshotStore, commit: Commit) -> None:
    snapshot = commit()
    Frail.set_up(strike_at=3)
    with pytest.raises(StoreUnreachable):
        frail.publish(snapshot, keep=1)
    assert len(Frail.put) == 2 and frail.current() is None
    Frail.set_up()
    frail.publish(snapshot, keep=1)
    assert len(Frail.put) == len(contents_of(snapshot)) - 2


def contents_of(snapshot: Snapshot) -> list[Path]:
    return [path for path in snapshot.directory.rglob("*") if path.is_file()]


def test_a_broken_pointer_is_refused_and_mended_by_publishing(
    store: SnapshotStore, commit: Commit, replica: DataDir
) -> None:
    snapshot = commit()
    store.publish(snapshot, keep=1)
    store.files[0].pipe_file(store.path("CURRENT"), b"0000")
    with pytest.raises(CorruptFile, match=r"CURRENT in the store .* does not name a snapshot"):
        fetch_current(store, replica, keep=1)
    store.publish(snapshot, keep=1)
    assert store.current() == snapshot.version


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/imsage", "s3://bucket/imsage"),
        ("ftp://me:hunter2@host:2121/a/b?token=s3cr3t", "ftp://host:2121/a/b"),
        ("file:///mnt/store", "file:///mnt/store"),
    ],
)
def test_a_name_shows_no_log_in(url: str, shown: str) -> None:
    assert SnapshotStore(url).name == shown
    assert "hunter2" not in repr(SnapshotStore(url))


def test_what_a_library_quotes_is_blacked_out() -> None:
    store = SnapshotStore("ftp://me:h%40nter2@host/a?token=s3cr3t")
    quoted = store.without_secrets("cannot log in as me:h@nter2 to ftp://me:h%40nter2@host/a?token=s3cr3t")
    assert "nter2" not in quoted and "s3cr3t" not in quoted and "cannot log in as" in quoted


def test_an_unknown_protocol_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="nosuch://x cannot be used"):
        _ = SnapshotStore("nosuch://me:hunter2@x").files
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(BadInput, match=r's3://bucket needs a package.*pip install -e "\.\[s3\]"'):
        _ = SnapshotStore("s3://bucket").files


def test_a_store_that_cannot_be_written_says_so(commit: Commit, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("in the way")
    store = SnapshotStore(f"file://{tmp_path / 'a-file' / 'store'}")
    with pytest.raises(StoreUnreachable, match="cannot be written"):
        store.publish(commit(), keep=1)
