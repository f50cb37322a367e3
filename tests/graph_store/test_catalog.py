import math
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graph_store import catalog_rows
from graph_store.catalog import Catalog
from graph_store.errors import BadInput, CorruptFile, DataDirBusy, NotFound, NothingToServe, Unwritable
from graph_store.records import ImageRecord, Skip, Split, Tag


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.sqlite", create=True) as opened:
        yield opened


def record(number: int, *tags: str, **more: object) -> ImageRecord:
    return ImageRecord(id=f"image-{number}", row=number, tags=tuple(Tag(tag) for tag in tags), **more)  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_went_in(catalog: Catalog) -> None:
    whole = ImageRecord(
        id="beach/día.jpg",
        path="photos/beach/día.jpg",
        tags=(Tag("sea", 0.1), Tag("Wet dog", 1 / 3)),
        split="test",
        caption="a dog, wet",
        attributes={"price": 3, "colours": ["red", None], "nested": {"ok": True, "π": 3.14159}},
        sha256="ab" * 32,
        width=640,
        height=480,
        row=7,
        fingerprint="12:34:ab",
    )
    catalog.upsert([whole])
    assert catalog.get("beach/día.jpg") == whole
    assert list(catalog.records()) == [whole]
    assert catalog.known_sources() == {"beach/día.jpg": "12:34:ab"}


def test_the_first_spelling_of_a_tag_wins_and_the_others_join_it(catalog: Catalog) -> None:
    catalog.upsert([record(0, "Hot  Dog\t", "hot dog"), record(1, "HOT DOG", "cafe\u0301")])
    catalog.upsert([record(2, "CAFÉ")])
    assert [tag.name for tag in catalog.get("image-1").tags] == ["Hot Dog", "café"]
    assert catalog.tag_counts() == {"café": 2, "Hot Dog": 2}


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_all_records_are_read_as_one_by_one_whatever_was_removed_between_them(
    catalog: Catalog, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_rows, "_IMAGES_AT_ONCE", at_once)
    catalog.upsert(
        [
            replace(record(number, "b", f"own {number}", "a"), split="test" if number % 3 else "train")
            for number in range(60)
        ]
    )
    catalog.upsert([replace(record(7), tags=(Tag("a", 0.5), Tag("b"))), record(3, "c"), record(58)])
    catalog.delete([f"image-{number}" for number in range(10, 55) if number not in (30, 31)])
    splits: tuple[Split | None, ...] = ("train", "test", None)
    for split in splits:
        found = list(catalog.records(split))
        assert [each.id for each in found] == catalog.ids(split)
        assert found == [catalog.get(each.id) for each in found]


def test_counts_and_listings_can_be_limited_to_a_split(catalog: Catalog) -> None:
    catalog.upsert([record(2, "a", "b"), record(0, "a", split="test"), record(1, "a")])
    assert catalog.ids() == ["image-0", "image-1", "image-2"]
    assert catalog.ids("train") == ["image-1", "image-2"]
    assert catalog.count() == 3 and catalog.count("test") == 1
    assert catalog.tag_counts() == {"a": 3, "b": 1}
    assert catalog.tag_counts("test") == {"a": 1}
    assert [found.id for found in catalog.records("test")] == ["image-0"]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (record(9, " \n "), "A tag is empty"),
        (record(9, "x" * 301), "301 characters; 300 are allowed"),
        (record(9, "\ud800"), "not valid Unicode"),
        (ImageRecord(id="x", row=9, tags=(Tag("a", 0.0),)), r"'a' of image 'x' has weight 0\.0"),
        (ImageRecord(id="x", row=9, tags=(Tag("a", math.nan),)), "weight nan"),
        (ImageRecord(id="x", row=9, tags=(Tag("a", 1e39),)), "not between 1e-09 and 1e\\+09"),
        (ImageRecord(id="x", row=9, tags=(Tag("a", 1e-50),)), "not between 1e-09 and 1e\\+09"),
        (ImageRecord(id="", row=9), "empty id"),
        (ImageRecord(id="\udc80", row=9), "not valid Unicode"),
        (ImageRecord(id="x", row=0), "Feature row 0 of image 'x' belongs to image 'image-0'"),
        (ImageRecord(id="x", row=-1), "feature row -1"),
        (ImageRecord(id="x", row=9, width=2**70), "64 bits"),
        (ImageRecord(id="x", row=9, split="validation"), "'validation'; it must be 'train' or 'test'"),  # type: ignore[arg-type]
        (ImageRecord(id="x", row=9, attributes={"a": math.inf}), "attributes of image 'x'"),
        (ImageRecord(id="x", row=9, attributes={"a": 2**70}), "attributes of image 'x'"),
        (ImageRecord(id="x", row=9, attributes={"a": object()}), "attributes of image 'x'"),
    ],
)
def test_a_bad_record_is_named_and_nothing_of_its_batch_is_stored(
    catalog: Catalog, bad: ImageRecord, complaint: str
) -> None:
    catalog.upsert([record(0, "kept")])
    with pytest.raises(BadInput, match=complaint):
        catalog.upsert([record(1, "lost"), bad])
    assert catalog.ids() == ["image-0"]
    assert catalog.tag_counts() == {"kept": 1}


def test_a_tag_of_300_characters_and_any_script_is_fine(catalog: Catalog) -> None:
    tags = ("x" * 300, "猫", "🦄", "מים", "ß")
    catalog.upsert([record(0, *tags)])
    assert tuple(tag.name for tag in catalog.get("image-0").tags) == tags


def test_an_unknown_id_is_not_found_and_is_left_out_of_find(catalog: Catalog) -> None:
    catalog.upsert([record(i) for i in range(1200)])
    with pytest.raises(NotFound, match="'nobody'"):
        catalog.get("nobody")
    asked = ["image-7", "nobody", *(f"image-{i}" for i in range(1200))]
    assert list(catalog.find(asked)) == ["image-7", *(f"image-{i}" for i in range(1200) if i != 7)]
    assert catalog.delete(["image-7", "nobody"]) == 1


def test_ingested_images_that_a_removal_remembers_are_told_by_the_upsert_that_stores_them_again(
    catalog: Catalog,
) -> None:
    catalog.upsert([*(record(row, fingerprint="1:2:x") for row in range(2)), record(2)])
    catalog.delete(["image-0"])
    assert catalog.delete(["image-1", "image-2", "nobody"], remember=True) == 2

    assert catalog.upsert([record(row) for row in range(3)]) == {"image-1"}
    assert catalog.upsert([record(row) for row in range(3)]) == frozenset()


def test_a_feature_row_is_never_given_to_a_second_image_until_an_empty_one_begins_anew(
    catalog: Catalog,
) -> None:
    assert catalog.next_row() == 0
    catalog.upsert([record(0), record(4)])
    catalog.delete(["image-4"])
    catalog.begin_anew()
    assert catalog.next_row() == 5
    catalog.delete(["image-0"])
    assert catalog.next_row() == 5
    catalog.begin_anew()
    assert catalog.next_row() == 0


def test_rows_may_change_hands_inside_one_batch(catalog: Catalog) -> None:
    catalog.upsert([ImageRecord(id="a", row=0), ImageRecord(id="b", row=1)])
    catalog.upsert([ImageRecord(id="a", row=1), ImageRecord(id="b", row=0)])
    assert catalog.ids() == ["b", "a"]


def test_facts_and_skips_survive_reopening(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    skip = Skip("tags.jsonl", 3, "the picture is cut short", "a.jpg")
    with Catalog.open(path, create=True) as catalog:
        catalog.set_meta("image_encoder", {"dim": 1280})
        catalog.set_meta("image_encoder", {"dim": 4})
        catalog.add_skips("run 1", [skip, skip])
        catalog.add_skips("run 2", [skip])
        with pytest.raises(BadInput, match="'x' is no valid JSON"):
            catalog.set_meta("x", math.nan)
    with Catalog.open(path) as catalog:
        assert catalog.meta("image_encoder") == {"dim": 4}
        assert catalog.meta("nothing") is None
        assert catalog.skips("run 1") == [skip, skip]
        assert len(catalog.skips()) == 3


def test_there_is_nothing_to_serve_before_a_catalogue_is_made(tmp_path: Path) -> None:
    with pytest.raises(NothingToServe, match="imsage ingest"):
        Catalog.open(tmp_path / "catalog.sqlite")
    (tmp_path / "catalog.sqlite").touch()
    with pytest.raises(NothingToServe, match="imsage ingest"):
        Catalog.open(tmp_path / "catalog.sqlite")
    assert Catalog.open(tmp_path / "catalog.sqlite", create=True).count() == 0


def filled(path: Path) -> bytes:
    with Catalog.open(path, create=True) as catalog:
        catalog.upsert([record(i, f"tag {i}", caption="x" * 200) for i in range(200)])
    return path.read_bytes()


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"not a database at all, but long enough to look at" * 100)
    with pytest.raises(CorruptFile, match=r"catalog\.sqlite is damaged: file is not a database") as caught:
        Catalog.open(path, create)
    assert caught.value.path == path


@pytest.mark.parametrize("create", [True, False])
def test_a_truncated_catalogue_is_refused_by_name(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "catalog.sqlite"
    data = filled(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptFile, match=r"catalog\.sqlite is damaged"):
        Catalog.open(path, create)


def test_a_damaged_page_is_found_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    data = bytearray(filled(path))
    data[8 * 4096 : 8 * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"catalog\.sqlite is damaged"):
        Catalog.open(path)


def read_all(path: Path) -> None:
    """Everything that a catalogue can be asked for."""
    with Catalog.open(path) as catalog:
        catalog.find(catalog.ids())
        list(catalog.records())
        catalog.places(), catalog.known_sources(), catalog.tag_counts(), catalog.skips()
        catalog.changes(0), catalog.next_row(), catalog.count("test"), catalog.meta("image_encoder")


@pytest.mark.parametrize(
    ("whole", "damaged", "complaint"),
    [
        (b"caption of the first", b"caption\xffof the first", "Could not decode to UTF-8 column 'caption'"),
        (b'{"area":1}', b'{"area":1]', "no JSON any more"),
        (b'{"dim": 4}', b'{"dim"; 4}', "no JSON any more"),
        (b"revision INTEGER NOT NULL", b"revisiom INTEGER NOT NULL", "no such column"),
        (b"CREATE TABLE tag", b"CREATE TABLE\xectag", "not valid Unicode"),
    ],
    ids=["text", "attributes", "fact", "column", "table"],
)
def test_what_no_check_of_sqlite_finds_is_damage_when_it_is_met(
    tmp_path: Path, whole: bytes, damaged: bytes, complaint: str
) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        catalog.upsert([record(0, "red", caption="caption of the first", attributes={"area": 1})])
        catalog.set_meta("image_encoder", {"dim": 4})
    read_all(path)
    data = path.read_bytes()
    assert whole in data
    path.write_bytes(data.replace(whole, damaged))
    with pytest.raises(CorruptFile, match=rf"catalog\.sqlite is damaged: .*{complaint}"):
        read_all(path)


def test_a_catalogue_with_flipped_bits_is_read_or_damaged_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    whole = filled(path)
    chosen = random.Random(5)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chosen.choice([1, 8])):
            data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(data)
        try:
            read_all(path)
        except (CorruptFile, BadInput) as error:  # a flipped version is one of a newer imsage
            assert "catalog.sqlite" in str(error)
            refused += 1
    assert 30 < refused < 150


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(CorruptFile, match="not a catalogue of imsage"):
        Catalog.open(path)


def test_a_catalogue_of_a_newer_imsage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BadInput, match="schema version 99"):
        Catalog.open(path)


def test_a_full_disk_is_reported_and_what_was_stored_stays(small_disk: Path) -> None:
    with Catalog.open(small_disk / "catalog.sqlite", create=True) as catalog:
        catalog.upsert([record(0, "kept")])
        with pytest.raises(Unwritable, match=r"catalog\.sqlite: the disk"):
            catalog.upsert([record(i, caption="x" * 4000) for i in range(1, 600)])
        assert catalog.ids() == ["image-0"]
        catalog.upsert([record(1, "more")])
    with Catalog.open(small_disk / "catalog.sqlite") as catalog:
        assert catalog.tag_counts() == {"kept": 1, "more": 1}


def test_a_read_only_disk_can_still_be_read(small_disk: Path) -> None:
    path = small_disk / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        catalog.upsert([record(0, "kept")])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Catalog.open(path) as catalog:
        assert catalog.tag_counts() == {"kept": 1}
        assert [found.id for found in catalog.records()] == ["image-0"]
        with pytest.raises(Unwritable, match="read-only"):
            catalog.upsert([record(1)])
    with pytest.raises(Unwritable, match="read-only"):
        Catalog.open(path, create=True)


def test_a_disk_that_was_read_only_is_written_to_again_whoever_read_it_meanwhile(small_disk: Path) -> None:
    path = small_disk / "catalog.sqlite"
    logs = [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]
    with Catalog.open(path, create=True) as catalog:
        catalog.upsert([record(0, "kept")])
        left = [log.read_bytes() for log in logs]
    for log, content in zip(logs, left, strict=True):  # as a kill would leave them
        log.write_bytes(content)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    read, go_on = threading.Event(), threading.Event()

    def reader() -> None:
        assert catalog.ids() == ["image-0"]
        read.set()
        go_on.wait()

    with Catalog.open(path) as catalog, Catalog.open(path) as another:
        thread = threading.Thread(target=reader, daemon=True)
        thread.start()
        assert read.wait(10)
        assert another.ids() == ["image-0"]
        with pytest.raises(Unwritable, match="read-only"):
            catalog.upsert([record(1)])
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        catalog.upsert([record(1)])
        assert another.ids() == ["image-0", "image-1"]
        go_on.set()
        thread.join()


def test_readers_see_whole_batches_while_a_writer_writes(catalog: Catalog) -> None:
    catalog.upsert([record(i, "round 0") for i in range(20)])
    done = threading.Event()
    seen: list[set[str]] = []
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                seen.append({tag.name for found in catalog.records() for tag in found.tags})
                seen.append(
                    {tag.name for found in catalog.find(catalog.ids()).values() for tag in found.tags}
                )
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 40):
        catalog.upsert([record(i, f"round {number}") for i in range(20)])
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert {len(names) for names in seen} == {1}


def test_many_threads_may_write(catalog: Catalog) -> None:
    def write(worker: int) -> None:
        for i in range(10):
            catalog.upsert([record(worker * 10 + i, "shared", f"worker {worker}")])

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert catalog.count() == 60
    assert catalog.tag_counts()["shared"] == 60


def test_an_iteration_sees_the_moment_it_began(catalog: Catalog) -> None:
    catalog.upsert([record(i) for i in range(5)])
    iteration = catalog.records()
    next(iteration)
    catalog.delete(["image-3"])
    assert [found.id for found in iteration] == ["image-1", "image-2", "image-3", "image-4"]
    assert catalog.count() == 4


WRITER = """
import sys
from pathlib import Path
from graph_store.catalog import Catalog
from graph_store.records import ImageRecord, Tag
catalog = Catalog.open(Path(sys.argv[1]), create=True)
for n in range(100_000):
    catalog.upsert([ImageRecord(id=f"{n}-{part}", row=2 * n + part, tags=(Tag("t"),)) for part in range(2)])
    print(n, flush=True)
"""


def test_every_acknowledged_write_survives_a_kill_and_none_is_half_done(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    with Catalog.open(path) as catalog:
        ids = set(catalog.ids())
        assert {f"{n}-{part}" for n in acknowledged for part in range(2)} <= ids
        assert len(ids) % 2 == 0
        assert catalog.tag_counts() == {"t": len(ids)}


def test_a_catalogue_locked_by_another_process_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_store.sqlite._BUSY_TIMEOUT_SECONDS", 0.05)
    path = tmp_path / "catalog.sqlite"
    filled(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Catalog.open(path) as catalog, pytest.raises(DataDirBusy, match=r"catalog\.sqlite is locked"):
        catalog.upsert([record(0)])
    other.close()
