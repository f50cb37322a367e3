"""Damage to any file is found and said by its name, while what is whole is served on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import run
from app.cli.errors import FAILURE
from app.jobs.job import Order
from app.jobs.places import jobs_path
from app.jobs.store import JobStore
from app.keys import create_key
from app.serving_state import ServingStates
from gnn.checkpoint import load_checkpoint, save_checkpoint
from gnn.reindex import reindex
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.errors import CorruptFile
from graph_store.snapshot import Snapshot, verify_all
from graph_store.snapshot_files import versions
from tests.api.conftest import problem, serving
from tests.api.test_snapshot_swap import commit_copy, wait_until
from tests.shapes import Shape

pytestmark = pytest.mark.usefixtures("kept_text_encoder")


def damaged_forms(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file cut to three lengths, and with one bit flipped at its beginning, middle and end."""
    for length in sorted({0, len(data) // 2, len(data) - 1}):
        yield f"cut to {length} bytes", data[:length]
    for place in {0, len(data) // 2, len(data) - 1}:
        yield f"byte {place} flipped", data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


def replaced(path: Path, data: bytes) -> None:
    """Other bytes under the same name; who has the old file open keeps it, as after damage to the disk that
    is met later.
    """
    aside = path.with_name("aside")
    aside.write_bytes(data)
    aside.replace(path)


def test_each_damaged_file_of_a_snapshot_is_refused_by_name_and_the_last_good_one_is_served(
    built_copy: DataDir,
) -> None:
    good, bad = Snapshot.open(built_copy), commit_copy(built_copy)
    newest = built_copy.current_path.read_bytes()
    files = sorted(path for path in bad.directory.rglob("*") if path.is_file())
    assert len(files) == len(bad.manifest["files"]) + 2 > 25
    running = ServingStates(built_copy, lambda _: None)
    write_bytes(built_copy.current_path, f"{good.version}\n".encode())
    running.refresh()
    write_bytes(built_copy.current_path, newest)
    for number, path in enumerate(files):
        whole = path.read_bytes()
        named = "manifest.json" if path.name == "manifest.sha256" else path.name
        forms = list(damaged_forms(whole))
        for form, (how, data) in enumerate(forms):
            replaced(path, data)
            # As in a service that moves over; and once a file, since it takes longer, in one that starts.
            looking = [running]
            if form == number % len(forms):
                looking.append(ServingStates(built_copy, lambda _: None))
            for states in looking:
                states.refresh()
                assert states.current.version == good.version, (path.name, how)
                assert f"{bad.version}/" in states.problem and named in states.problem, (path.name, how)
            assert [found.path.name for found in verify_all(built_copy)] == [named]
        replaced(path, whole)
    running.refresh()
    assert running.current.version == bad.version and running.problem == ""


def test_a_reindex_heals_whatever_file_verify_has_found_damaged(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(built_copy.root)]
    names = [*Snapshot.open(built_copy).manifest["files"], "manifest.json", "manifest.sha256"]
    for number, name in enumerate(names):
        path = Snapshot.open(built_copy).directory / name
        whole = path.read_bytes()
        path.unlink()
        if number % 3:  # every third is gone
            path.write_bytes(whole[:-1] if number % 3 == 1 else bytes([whole[0] ^ 1]) + whole[1:])
        assert run(["verify", *data]) == FAILURE, name
        assert str(path.parent) in capsys.readouterr().out, name
        assert run(["reindex", *data]) == 0, name
        assert run(["verify", *data]) == 0, name


def test_so_many_snapshots_are_kept_as_the_setting_says(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMSAGE_KEEP_SNAPSHOTS", "2")
    for _ in range(3):
        assert run(["reindex", "--full", "--data", str(built_copy.root)]) == 0
    assert len(versions(built_copy)) == 2


def test_verify_names_every_damaged_file_beside_the_snapshots(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    model = built_copy.models_dir / "default" / "model.safetensors"
    create_key(built_copy, "reader", "read")
    store = JobStore(jobs_path(built_copy))
    store.add(Order("reindex", {"full": False, "preset": None}))
    store.close()
    files = [model, model.with_name("config.json"), built_copy.models_dir / "LAST"]
    files += [built_copy.root / "keys.json", *sorted(built_copy.features_dir.iterdir())]
    assert len(files) == 7
    for path in files:
        whole = path.read_bytes()
        for how, data in damaged_forms(whole):
            path.write_bytes(data)
            assert run(["verify", "--data", str(built_copy.root)]) == FAILURE, (path, how)
            told = capsys.readouterr().out
            # The checksum of a row and the row itself look alike when they do not fit.
            assert path.with_suffix("").name in told, (path, how, told)
        path.unlink()
        # There may never have been keys, nor an imsage that noted which model was the last.
        missed = path.name not in ("keys.json", "LAST")
        assert run(["verify", "--data", str(built_copy.root)]) == (FAILURE if missed else 0), path
        assert not missed or path.with_suffix("").name in capsys.readouterr().out, path
        path.write_bytes(whole)
    jobs = jobs_path(built_copy)
    jobs.write_bytes(jobs.read_bytes()[:4096] + os.urandom(jobs.stat().st_size - 4096))
    assert run(["verify", "--data", str(built_copy.root)]) == FAILURE
    assert f"history of jobs {jobs}" in capsys.readouterr().out


def test_any_flipped_byte_of_a_model_is_refused(tmp_path: Path, built_data_dir: DataDir) -> None:
    path = tmp_path / "model.safetensors"
    whole = (built_data_dir.models_dir / "default" / path.name).read_bytes()
    tensors, meta = load_checkpoint(built_data_dir.models_dir / "default" / path.name)
    save_checkpoint(path, tensors, meta)
    assert load_checkpoint(path).meta == meta
    header = 8 + int.from_bytes(whole[:8], "little")
    places = {*range(0, header, 997), *range(header, len(whole), max(1, (len(whole) - header) // 40))}
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        with pytest.raises(CorruptFile, match=r"model\.safetensors"):
            load_checkpoint(path)


def test_a_damaged_catalogue_is_said_by_every_command_and_costs_no_search(
    built_copy: DataDir, indexed: list[Shape], capsys: pytest.CaptureFixture[str]
) -> None:
    path = built_copy.catalog_path
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    for command in ("verify", "info", "train", "reindex"):
        assert run([command, "--data", str(built_copy.root)]) == FAILURE
        told = capsys.readouterr()
        assert f"The catalogue {path} is damaged" in told.out + told.err, command
    with serving(built_copy.root) as client:
        wait_until(lambda: client.get("/readyz").json()["status"] == "degraded")
        ready = client.get("/readyz")
        assert ready.status_code == 200 and str(path) in ready.json()["detail"]
        assert client.post("/v1/search", json={"image": {"id": indexed[0].id}}).status_code == 200
        refused = problem(client.get(f"/v1/images/{indexed[0].id}"), 500, "corrupt-file")
        assert str(path) in refused["detail"] and "Restore it" in refused["detail"]


def test_an_index_of_the_catalogue_that_differs_from_its_table_is_found(
    built_copy: DataDir, indexed: list[Shape], capsys: pytest.CaptureFixture[str]
) -> None:
    path = built_copy.catalog_path
    with built_copy.lock("test"):
        data = path.read_bytes()
        name = indexed[0].id.encode()
        assert data.count(name) >= 2  # in the table, and in the index of ids
        at = data.index(name)
        path.write_bytes(data[:at] + bytes([name[0] ^ 1]) + data[at + 1 :])
    assert run(["verify", "--data", str(built_copy.root)]) == FAILURE
    assert f"The catalogue {path} is damaged" in capsys.readouterr().out


def test_damaged_features_cost_only_the_pictures_that_they_are_of(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    (path,) = built_copy.features_dir.glob("*.f32")
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.upsert([catalog.get(indexed[0].id)])  # so that its features are those of a change
        at = catalog.get(indexed[0].id).row * 1280 * 4
    data = path.read_bytes()
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with serving(built_copy.root) as client:
        found = client.post("/v1/search", json={"image": {"id": indexed[1].id}, "limit": 1000})
        ids = {hit["id"] for hit in found.json()["hits"]}
        assert indexed[2].id in ids and indexed[0].id not in ids
        assert client.get("/readyz").json()["status"] == "ok"
    reindex(built_copy, full=True)
    assert run(["verify", "--data", str(built_copy.root)]) == 0
