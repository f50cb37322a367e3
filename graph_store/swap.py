"""How a snapshot that was written aside becomes the current one, and what happens when that is cut short.

    .CURRENT.next written → directory renamed → .CURRENT.next renamed to CURRENT

The note `.CURRENT.next` comes first and becomes CURRENT at the end. So whoever comes after a kill can tell a
snapshot that was about to be current, which is whole and checked, from one that somebody moved back from.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from graph_store.data_dir import DataDir
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable, remove_aside
from graph_store.errors import CorruptFile
from graph_store.snapshot_files import (
    TEMPORARY,
    VERSION_PATTERN,
    UnreadableFile,
    check_files,
    current_version,
    manifest_of,
)

_NEXT = ".CURRENT.next"


def make_current(data_dir: DataDir, directory: Path, version: str) -> None:
    """Give a finished `directory` its name and name it in CURRENT. For the holder of the lock.

    When anything is raised, the old snapshot is current and the new one is gone, or the new one is current
    and whole. Raises Unwritable.
    """
    final = data_dir.snapshots_dir / version
    note = data_dir.root / _NEXT
    with refusing_unwritable(final):
        try:
            note.write_text(f"{version}\n", encoding="ascii")
            fsync_file(note)
            directory.rename(final)
            fsync_dir(data_dir.snapshots_dir)
            note.replace(data_dir.current_path)
            fsync_dir(data_dir.root)
        except BaseException:
            # An interruption may come after the last rename: what CURRENT names must stay.
            if _named(data_dir) != version:
                shutil.rmtree(final, ignore_errors=True)
                note.unlink(missing_ok=True)
            raise


def swap_is_noted(data_dir: DataDir) -> bool:
    """Whether a swap is under way, or was cut short and will be finished by the next writer."""
    return (data_dir.root / _NEXT).exists()


def finish_interrupted(data_dir: DataDir) -> None:
    """Bring to its end what a killed writer has begun: a swap that was under way is completed, what was half
    written is removed. For the holder of the lock. Raises Unwritable.
    """
    note = data_dir.root / _NEXT
    with refusing_unwritable(data_dir.snapshots_dir):
        if note.exists():
            version = note.read_text(encoding="ascii", errors="replace").removesuffix("\n")
            directory = data_dir.snapshots_dir / version
            if VERSION_PATTERN.fullmatch(version) and directory.is_dir():
                if _is_whole(directory):
                    note.replace(data_dir.current_path)
                    fsync_dir(data_dir.root)
                else:
                    directory.rename(data_dir.snapshots_dir / f"{TEMPORARY}{version}")
            note.unlink(missing_ok=True)
        for left_over in data_dir.snapshots_dir.glob(f"{TEMPORARY}*"):
            remove_aside(left_over)


def _named(data_dir: DataDir) -> str | None:
    try:
        return current_version(data_dir)
    except UnreadableFile:
        raise
    except CorruptFile:
        return None


def _is_whole(directory: Path) -> bool:
    try:
        check_files(directory, manifest_of(directory), hashes=True)
    except UnreadableFile:
        raise
    except CorruptFile:
        return False
    return True
