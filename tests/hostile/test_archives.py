"""Archives made to do harm: an import takes nothing that is not listed, and writes nothing elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.archive import import_archive
from app.archive_contents import LISTING
from app.ingest.blobs import original_path, thumbnail_path
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, ImsageError
from graph_store.progress import SilentProgress
from graph_store.records import ImageRecord
from tests.hostile.fuzzing import fuzzing

GOOD = {
    "features/a.f32": b"\0" * 64,
    "blobs/thumbnails/ab/abc.webp": b"RIFF",
    "models/default/config.json": b"{}",
}


def listing(files: dict[str, bytes], **changes: Any) -> bytes:
    """The list of an archive; `changes` replace what it says of each file."""
    told = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **changes}
        for name, data in files.items()
    }
    return json.dumps({"format": 1, "files": told}).encode()


def member(name: str, data: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One member of a tar."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for attribute, value in attributes.items():
        setattr(entry, attribute, value)
    return entry, data


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of these members."""
    with tarfile.open(path, "w", format=format) as archive:
        for entry, data in members:
            archive.addfile(entry, io.BytesIO(data))
    return path


def good(path: Path) -> Path:
    """A small archive that may be imported."""
    return tar(path, member(LISTING, listing(GOOD)), *(member(name, data) for name, data in GOOD.items()))


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def imported(archive: Path, root: Path) -> int:
    return import_archive(archive, DataDir(root), SilentProgress())


def test_a_good_archive_is_imported(tmp_path: Path) -> None:
    assert imported(good(tmp_path / "good.tar"), tmp_path / "data") == len(GOOD)
    assert files_below(tmp_path / "data") == {*GOOD, "imsage.lock"}


@pytest.mark.parametrize(
    "name",
    [
        "features/../../outside",
        "/etc/outside",
        "features//a",
        "./features/a",
        "features/a/",
        "features/.",
        "CURRENT/a",
        "catalog.sqlite/a",
        "features",
        "keys.json",
        "features/a\0b",
        "features/a\nb",
        "features/\x1b[31m",
        "features/" + "a" * 300,
        "features/" + "ü" * 150,
        "",
        "..",
        ".",
    ],
)
def test_a_name_that_export_would_never_write_is_refused(tmp_path: Path, name: str) -> None:
    hostile = tar(tmp_path / "a.tar", member(LISTING, listing({name: b""})))
    with pytest.raises(CorruptFile, match="not allowed"):
        imported(hostile, tmp_path / "data")
    assert files_below(tmp_path) == {"a.tar", "data/imsage.lock"}


@pytest.mark.parametrize("digest", ["/etc/passwd", "../../outside", "a" * 63, "A" * 64, "*" * 64, b"a" * 64])
def test_a_catalogue_that_names_a_picture_otherwise_than_by_its_checksum_is_refused(
    tmp_path: Path, digest: str | bytes
) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        catalog.upsert([ImageRecord("a"), ImageRecord("b", row=1)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE image SET sha256 = ? WHERE id = 'b'", (digest,))
    files = {"catalog.sqlite": path.read_bytes()}
    hostile = tar(tmp_path / "a.tar", member(LISTING, listing(files)), member(*files.popitem()))
    with pytest.raises(CorruptFile, match="in place of a picture's SHA-256"):
        imported(hostile, tmp_path / "data")
    assert files_below(tmp_path / "data") == {"imsage.lock"}


@pytest.mark.parametrize("digest", ["/etc/passwd", "../../outside", "a" * 63])
def test_no_file_is_named_after_what_is_no_checksum(tmp_path: Path, digest: str) -> None:
    for path_of in (thumbnail_path, original_path):
        with pytest.raises(CorruptFile, match="in place of the SHA-256"):
            path_of(DataDir(tmp_path), digest)


def test_a_name_cannot_be_a_file_and_a_folder(tmp_path: Path) -> None:
    files = {"features/a/b": b"", "features/a": b""}
    hostile = tar(tmp_path / "a.tar", member(LISTING, listing(files)), *map(member, files))
    with pytest.raises(CorruptFile, match="not allowed"):
        imported(hostile, tmp_path / "data")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_devices_and_folders_are_refused(tmp_path: Path, kind: bytes) -> None:
    hostile = tar(
        tmp_path / "a.tar",
        member(LISTING, listing({"features/a": b""})),
        member("features/a", type=kind, linkname="/etc/passwd"),
    )
    with pytest.raises(CorruptFile, match="not in its list"):
        imported(hostile, tmp_path / "data")


def holes(name: str, size: int) -> tuple[tarfile.TarInfo, bytes]:
    """A file of `size` zero bytes that takes one block in the archive (GNU's form 1.0 of sparse files)."""
    described = f"1\n{size}\n0\n".encode().ljust(512, b"\0")
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(size),
    }
    return member(name, described, pax_headers=headers)


@pytest.mark.parametrize("place", ["list", "file"])
def test_a_file_of_holes_does_not_fill_the_disk(tmp_path: Path, place: str) -> None:
    size = 1 << 40
    told = json.dumps({"format": 1, "files": {"features/a": {"size": size, "sha256": "0" * 64}}}).encode()
    members = (
        [holes(LISTING, 1 << 29)] if place == "list" else [member(LISTING, told), holes("features/a", size)]
    )
    hostile = tar(tmp_path / "a.tar", *members)
    with pytest.raises(
        (BadInput, CorruptFile), match="no imsage archive" if place == "list" else "not in its list"
    ):
        imported(hostile, tmp_path / "data")
    assert files_below(tmp_path / "data") == {"imsage.lock"}


@pytest.mark.parametrize(
    "changes",
    [{"size": -1}, {"size": True}, {"size": "1"}, {"size": 10**30}, {"size": 1.0}, {"sha256": None}],
)
def test_a_list_with_impossible_numbers_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    hostile = tar(
        tmp_path / "a.tar", member(LISTING, listing({"features/a": b""}, **changes)), member("features/a")
    )
    with pytest.raises(CorruptFile):
        imported(hostile, tmp_path / "data")


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b"{}", b"[]", b"null", b'{"format":1,"files":[]}', b"\xff", b'{"files":{"a":1}}']
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises((BadInput, CorruptFile)):
        imported(tar(tmp_path / "a.tar", member(LISTING, text)), tmp_path / "data")


def test_a_member_that_claims_more_or_less_than_it_has_is_refused(tmp_path: Path) -> None:
    archive = good(tmp_path / "a.tar")
    data = bytearray(archive.read_bytes())
    sizes = [at + 124 for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    for at in sizes:
        for size in (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"00000000000\0"):
            changed = bytearray(data)
            changed[at : at + 12] = size
            header = changed[at - 124 : at + 388]
            header[148:156] = b" " * 8
            changed[at + 24 : at + 32] = f"{sum(header):06o}\0 ".encode()
            archive.write_bytes(changed)
            with pytest.raises(ImsageError):
                imported(archive, tmp_path / "data")


@fuzzing(60)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4
    )
)
def test_an_altered_archive_is_imported_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("altered")
    archive = good(folder / "a.tar")
    data = bytearray(archive.read_bytes())
    for place, new in changes:
        at = place % len(data)
        data[at : at + len(new)] = new
    archive.write_bytes(data)
    check_import(archive, folder)


def check_import(archive: Path, folder: Path) -> None:
    """What is imported has the bytes that were exported; or it is refused and nothing of it is there."""

    try:
        imported(archive, folder / "data")
    except ImsageError:
        assert files_below(folder) == {"a.tar", "data/imsage.lock"}
    else:
        names = files_below(folder / "data") - {"imsage.lock"}
        assert all(name not in GOOD or (folder / "data" / name).read_bytes() == GOOD[name] for name in names)
        assert len(names) == len(GOOD)
