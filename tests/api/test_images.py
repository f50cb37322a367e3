"""Pictures by id: facts, files, thumbnails, edges."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.catalogue_reader import media_type_of
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.records import ImageRecord, Tag
from tests.api.conftest import problem, serving
from tests.shapes import Shape


def test_an_indexed_and_a_held_out_picture_are_described(
    client: TestClient, indexed: list[Shape], held_out: list[Shape]
) -> None:
    for shape, is_indexed in ((indexed[0], True), (held_out[0], False)):
        body = client.get(f"/v1/images/{shape.id}").json()
        assert body["id"] == shape.id and body["indexed"] is is_indexed
        assert [tag["name"] for tag in body["tags"]] == shape.tags
        assert (body["width"], body["height"]) == (96, 96)
        assert body["attributes"]["area"] == round(shape.radius**2, 4)
        assert body["caption"] == f"a {shape.size} {shape.colour} {shape.shape}"


def test_an_unknown_picture_is_a_problem_everywhere(client: TestClient) -> None:
    for part in ("", "/file", "/thumbnail", "/neighbors"):
        problem(client.get(f"/v1/images/no/such{part}"), 404, "not-found")
    problem(client.get("/v1/images/"), 404, "not-found")


def test_the_picture_itself_comes_with_its_type_and_may_not_run_anything(
    client: TestClient, indexed: list[Shape]
) -> None:
    response = client.get(f"/v1/images/{indexed[0].id}/file")
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert Image.open(io.BytesIO(response.content)).size == (96, 96)


def test_a_thumbnail_is_not_sent_twice_to_who_has_it(client: TestClient, indexed: list[Shape]) -> None:
    path = f"/v1/images/{indexed[0].id}/thumbnail"
    response = client.get(path)
    assert response.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(response.content)).format == "WEBP"
    etag = response.headers["etag"]
    for known in (etag, f'"another", {etag}', f"W/{etag}", "*"):
        again = client.get(path, headers={"if-none-match": known})
        assert again.status_code == 304 and again.content == b"", known
    assert client.get(path, headers={"if-none-match": 'W/"another"'}).status_code == 200


def test_a_picture_is_told_from_another_of_the_same_size_and_time(
    ingested_copy: DataDir, indexed: list[Shape], tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("red.bmp", "blue.bmp")]
    for file in files:
        Image.new("RGB", (8, 8), file.stem).save(file)
        os.utime(file, (10**9, 10**9))
    assert files[0].stat().st_size == files[1].stat().st_size
    path, etags = f"/v1/images/{indexed[0].id}/file", []
    with serving(ingested_copy.root) as client, Catalog.open(ingested_copy.catalog_path) as catalog:
        for file in files:
            record = catalog.get(indexed[0].id)
            catalog.upsert([replace(record, path=str(file), sha256=sha256_of_file(file))])
            etags.append(client.get(path).headers["etag"])
        assert client.get(path, headers={"if-none-match": etags[0]}).content == files[1].read_bytes()
        part = client.get(path, headers={"range": "bytes=0-3", "if-range": etags[0]})
        assert part.status_code == 200 and part.content == files[1].read_bytes()


def test_the_edges_of_a_picture_are_told(
    client: TestClient, indexed: list[Shape], held_out: list[Shape]
) -> None:
    body = client.get(f"/v1/images/{indexed[0].id}/neighbors").json()
    assert body["id"] == indexed[0].id
    assert {tag["name"] for tag in body["tags"]} == set(indexed[0].tags)
    weights = [edge["weight"] for edge in body["similar"]]
    assert weights == sorted(weights, reverse=True) and indexed[0].id not in [
        e["id"] for e in body["similar"]
    ]
    assert set(body["related"]) == set(indexed[0].tags)
    problem(client.get(f"/v1/images/{held_out[0].id}/neighbors"), 404, "not-found")


@pytest.mark.parametrize(
    "image_id",
    ["a/b/c.png", "ein Bär?.png", "100%", "x#y", "日本/猫 & 犬", "ends/file", "thumbnail", "a/neighbors"],
)
def test_any_id_can_be_asked_for(ingested_copy: DataDir, image_id: str) -> None:
    with Catalog.open(ingested_copy.catalog_path) as catalog:
        catalog.upsert([ImageRecord(image_id, tags=(Tag("odd"),), row=catalog.next_row())])
    with serving(ingested_copy.root) as client:
        body = client.get(f"/v1/images/{quote(image_id, safe='')}").json()
        assert body["id"] == image_id
        assert not body["indexed"]
        problem(client.get(f"/v1/images/{quote(image_id, safe='')}/thumbnail"), 404, "not-found")


def test_an_original_that_is_gone_is_a_problem_and_its_thumbnail_stays(
    built_copy: DataDir, indexed: list[Shape], tmp_path: Path
) -> None:
    gone = indexed[0].id
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.upsert([replace(catalog.get(gone), path=str(tmp_path / "gone.png"))])
    with serving(built_copy.root) as client:
        problem(client.get(f"/v1/images/{gone}/file"), 404, "not-found")
        assert client.get(f"/v1/images/{gone}/thumbnail").status_code == 200


def test_another_picture_than_the_one_that_was_ingested_is_never_sent(
    built_copy: DataDir, indexed: list[Shape], tmp_path: Path
) -> None:
    # As in a catalogue that was imported from elsewhere: the path may be that of any picture of this machine.
    private = tmp_path / "private.png"
    Image.new("RGB", (8, 8)).save(private)
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.upsert([replace(catalog.get(indexed[0].id), path=str(private))])
    with serving(built_copy.root) as client:
        problem(client.get(f"/v1/images/{indexed[0].id}/file"), 404, "not-found")


def test_a_file_that_is_no_picture_is_never_sent(
    built_copy: DataDir, indexed: list[Shape], tmp_path: Path
) -> None:
    page = tmp_path / "page.png"
    page.write_text("<script>alert(1)</script>")
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.upsert([replace(catalog.get(indexed[0].id), path=str(page))])
    with serving(built_copy.root) as client:
        problem(client.get(f"/v1/images/{indexed[0].id}/file"), 404, "not-found")


@pytest.mark.parametrize("form", ["JPEG2000", "PPM", "ICO"])
def test_an_original_that_browsers_do_not_show_is_sent_as_bytes(built_copy: DataDir, form: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, form)
    with serving(built_copy.root) as client:
        data = base64.b64encode(buffer.getvalue()).decode()
        stored = client.post("/v1/images", json={"images": [{"id": "x", "image": {"data": data}}]}).json()
        assert stored["created"] == 1, stored
        answer = client.get("/v1/images/x/file")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content == buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_pictures_are_known_by_their_first_bytes(form: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, form)
    assert media_type_of(buffer.getvalue()[:16]) == f"image/{form.lower()}"
    assert media_type_of(b"<svg xmlns='http") is None
