"""Pictures that are stored, changed and removed while the service runs are found, or not, at once."""

from __future__ import annotations

import base64
import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.ingest.blobs import original_path, thumbnail_path
from gnn.reindex import reindex
from graph_store.catalog import Catalog
from graph_store.catalog_changes import Changes
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord
from tests.api.conftest import png, problem, serving
from tests.api.test_snapshot_swap import version, wait_until
from tests.ingest.conftest import with_features
from tests.shapes import Shape

NEW = Shape("red", "circle", "large", 7, (0.52, 0.49), 0.36)
OTHER = Shape("blue", "square", "small", 8, (0.5, 0.5), 0.2)


@pytest.fixture
def live(built_copy: DataDir) -> Iterator[TestClient]:
    """A service whose catalogue the test may change."""
    with serving(built_copy.root) as client:
        yield client


def entry(image_id: str, shape: Shape, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(png(shape)).decode()
    return {"id": image_id, "image": {"data": data}, "tags": shape.tags, **more}


def upsert(client: TestClient, *images: dict[str, Any]) -> dict[str, Any]:
    response = client.post("/v1/images", json={"images": list(images)})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def catalogued(data_dir: DataDir, image_id: str) -> ImageRecord:
    with Catalog.open(data_dir.catalog_path) as catalog:
        return catalog.get(image_id)


def search(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def found(client: TestClient, **body: Any) -> list[str]:
    return [hit["id"] for hit in search(client, **body)["hits"]]


def everything(client: TestClient, **body: Any) -> list[str]:
    return found(client, tags=["red"], limit=1000, **body)


def index(client: TestClient) -> dict[str, Any]:
    body: dict[str, Any] = client.get("/v1/index").json()
    return body


# -- upsert


def test_a_new_picture_is_found_at_once_by_what_it_shows_and_carries(
    live: TestClient, indexed: list[Shape]
) -> None:
    before = everything(live)
    answer = upsert(live, entry("new/one.png", NEW, attributes={"year": 2024}))
    assert answer["results"] == [{"id": "new/one.png", "status": "created"}]
    assert (answer["created"], answer["replaced"], answer["failed"]) == (1, 0, 0)
    assert answer["index_version"] == version(live)
    data = base64.b64encode(png(NEW)).decode()
    assert found(live, image={"data": data}, tags=NEW.tags, visual_weight=1, limit=3)[0] == "new/one.png"
    assert "new/one.png" in found(live, tags=["red", "circle"], limit=8)
    assert set(everything(live)) == {*before, "new/one.png"}
    hit = next(hit for hit in search(live, tags=["red"], limit=1000)["hits"] if hit["id"] == "new/one.png")
    assert [tag["name"] for tag in hit["tags"]] == NEW.tags and hit["attributes"] == {"year": 2024}
    assert hit["score"] == hit["visual"] + hit["conceptual"]


def test_a_new_pictures_own_id_works_as_a_query_at_once(live: TestClient) -> None:
    upsert(live, entry("new", NEW))
    hits = search(live, image={"id": "new"}, limit=5, explain=True)
    assert "new" not in [hit["id"] for hit in hits["hits"]]
    assert any("red" in hit["id"] and "circle" in hit["id"] for hit in hits["hits"])
    assert {tag["name"] for tag in hits["explain"]["tags"]} == set(NEW.tags)
    assert hits["explain"]["images"]
    assert any(hit["explain"]["tags"] for hit in hits["hits"])
    assert found(live, image={"id": "new"}, tags=["blue"], limit=5)
    assert found(live, image={"id": "new"}, attach="image", limit=5)
    predicted = live.post("/v1/tags/predict", json={"image": {"id": "new"}, "limit": 5}).json()["tags"]
    assert predicted


def test_a_tag_that_a_new_pictures_own_may_mean_is_not_one_that_it_carries(live: TestClient) -> None:
    """The snapshot has no *scarlet*: it is read as tags that are near to it in meaning."""
    upsert(live, {**entry("new", NEW), "tags": ["scarlet", "circle"]})

    def lacking() -> set[str]:
        asked = {"image": {"id": "new"}, "missing": True, "limit": 1000}
        return {tag["name"] for tag in live.post("/v1/tags/predict", json=asked).json()["tags"]}

    every = live.post("/v1/tags/predict", json={"image": {"id": "new"}, "limit": 1000}).json()["tags"]
    assert {tag["name"] for tag in every} - lacking() == {"circle"}
    hits = search(live, tags=["red", "circle"], limit=1000, explain=True)["hits"]
    (own,) = [hit for hit in hits if hit["id"] == "new"]
    assert {tag["name"] for tag in own["explain"]["tags"]} <= {"circle"}


def test_an_indexed_picture_finds_a_new_copy_of_itself_first(live: TestClient, indexed: list[Shape]) -> None:
    upsert(live, entry("copy", indexed[3]))
    assert found(live, image={"id": indexed[3].id}, visual_weight=1, limit=3)[0] == "copy"


def test_a_replaced_picture_is_found_by_what_it_is_and_no_more_by_what_it_was(
    live: TestClient, indexed: list[Shape]
) -> None:
    old = next(shape for shape in indexed if shape.colour == "red" and shape.shape == "circle")
    before = everything(live)
    assert upsert(live, entry(old.id, OTHER))["results"][0]["status"] == "replaced"
    assert sorted(everything(live)) == sorted(before)
    data = base64.b64encode(png(OTHER)).decode()
    assert found(live, image={"data": data}, tags=OTHER.tags, visual_weight=1, limit=1) == [old.id]
    assert old.id not in found(
        live, tags=["red"], filter={"must": [{"key": "tags", "match": "red"}]}, limit=99
    )
    was = base64.b64encode(png(old)).decode()
    assert old.id not in found(live, image={"data": was}, visual_weight=1, limit=20)


def test_one_bad_picture_does_not_sink_the_others(live: TestClient) -> None:
    bad = base64.b64encode(b"no picture at all").decode()
    answer = upsert(
        live,
        entry("good", NEW),
        {"id": "broken", "image": {"data": bad}},
        {"id": "not base64", "image": {"data": "###"}},
        {"id": "address", "image": {"url": "https://example.org/a.png"}},
        {"id": "path", "image": {"path": "a.png"}},
        entry("too large", NEW, attributes={"n": 2**70}),
        entry("fine", OTHER),
    )
    assert [result["status"] for result in answer["results"]] == ["created"] + 5 * ["failed"] + ["created"]
    problems = [result["problem"] for result in answer["results"][1:6]]
    assert [each["status"] for each in problems] == [422, 422, 403, 403, 422]
    assert [each["errors"][0]["pointer"] for each in problems[:4]] == [
        "/images/1/image",
        "/images/2/image/data",
        "/images/3/image/url",
        "/images/4/image/path",
    ]
    assert (answer["created"], answer["failed"]) == (2, 5)
    assert {"good", "fine"} <= set(everything(live))
    problem(live.get("/v1/images/broken"), 404)


def test_of_one_id_that_comes_twice_the_last_picture_counts(live: TestClient) -> None:
    answer = upsert(live, entry("twice", NEW), entry("twice", OTHER))
    assert [result["status"] for result in answer["results"]] == ["failed", "created"]
    assert answer["results"][0]["problem"]["errors"][0]["pointer"] == "/images/0/id"
    assert [tag["name"] for tag in live.get("/v1/images/twice").json()["tags"]] == OTHER.tags


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"images": []}, "/images"),
        ({"images": [{"id": "", "image": {"data": ""}}]}, "/images/0/id"),
        ({"images": [{"id": "a\0", "image": {"data": ""}}]}, "/images/0/id"),
        ({"images": [{"id": "a", "image": {"data": "", "url": "x"}}]}, "/images/0/image"),
        ({"images": [{"id": "a", "image": {"data": ""}, "tags": [{"name": "x", "weight": 0}]}]}, None),
        ({"images": [{"id": "a", "image": {"data": ""}, "split": "test"}]}, "/images/0/split"),
    ],
)
def test_an_upsert_that_is_not_valid_is_refused_whole(
    live: TestClient, body: dict[str, Any], pointer: str | None
) -> None:
    told = problem(live.post("/v1/images", json=body), 422, "invalid-request")
    assert pointer is None or told["errors"][0]["pointer"] == pointer


def test_a_path_is_read_below_the_folder_and_nowhere_else(built_copy: DataDir, tmp_path: Any) -> None:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "new.png").write_bytes(png(NEW))
    (tmp_path / "outside.png").write_bytes(png(NEW))
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    with serving(built_copy.root, upsert_folder=folder) as client:
        names = ["../outside.png", str(tmp_path / "outside.png"), "link.png", "missing.png", "deep", "a\0b"]
        answer = upsert(
            client,
            {"id": "inside", "image": {"path": "deep/new.png"}},
            *({"id": f"bad {n}", "image": {"path": name}} for n, name in enumerate(names)),
        )
        assert [result["status"] for result in answer["results"]] == ["created"] + 6 * ["failed"]
        told = [result["problem"]["detail"] for result in answer["results"][1:]]
        assert all("no file" in detail for detail in told)
        assert client.get("/v1/images/inside/file").content == png(NEW)


# -- delete


def test_a_deleted_picture_is_found_no_more(live: TestClient, indexed: list[Shape]) -> None:
    gone = indexed[0].id
    assert live.delete(f"/v1/images/{gone}").json() == {"id": gone, "status": "deleted"}
    assert gone not in everything(live)
    assert gone not in everything(live, filter={"must": [{"key": "area", "exists": True}]})
    assert gone not in everything(live, diversity=0.5)
    for path in ("", "/file", "/thumbnail", "/neighbors"):
        problem(live.get(f"/v1/images/{gone}{path}"), 404)
    problem(live.post("/v1/search", json={"image": {"id": gone}}), 404)
    problem(live.delete(f"/v1/images/{gone}"), 404)
    assert index(live)["delta"] == {"images": 0, "replaced": 0, "deleted": 1}
    for other in indexed[1:20]:
        assert gone not in {
            edge["id"] for edge in live.get(f"/v1/images/{other.id}/neighbors").json()["similar"]
        }
        explained = search(live, image={"id": other.id}, explain=True)["explain"]["images"]
        assert gone not in {edge["id"] for edge in explained}


@pytest.mark.parametrize("image_id", ["delete", "a/file", "100% ü/é"])
def test_any_id_can_be_stored_changed_and_deleted(live: TestClient, image_id: str) -> None:
    upsert(live, entry(image_id, NEW))
    address = "/v1/images/" + "".join(f"%{byte:02X}" for byte in image_id.encode())
    assert live.get(address).json()["id"] == image_id
    assert live.patch(address, json={"tags": ["odd"]}).json()["tags"] == [{"name": "odd", "weight": 1.0}]
    assert live.delete(address).status_code == 200
    assert image_id not in everything(live)


@pytest.mark.parametrize("path", ["x/file", "x/thumbnail", "x/neighbors", "delete"])
def test_a_part_of_a_picture_is_no_picture(live: TestClient, path: str) -> None:
    refused = live.delete(f"/v1/images/{path}")
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == ("POST" if path == "delete" else "GET, HEAD")


def test_several_are_deleted_and_those_that_are_missing_are_named(
    live: TestClient, indexed: list[Shape]
) -> None:
    upsert(live, entry("new", NEW))
    ids = [indexed[0].id, "nobody", "new"]
    body = live.post("/v1/images/delete", json={"ids": ids}).json()
    assert [result["status"] for result in body["results"]] == ["deleted", "missing", "deleted"]
    assert (body["deleted"], body["missing"]) == (2, 1)
    assert not {*ids} & set(everything(live))


def test_limit_results_come_back_whatever_was_deleted(live: TestClient, indexed: list[Shape]) -> None:
    query = {"image": {"id": indexed[0].id}, "limit": 10}
    expected = found(live, **{**query, "limit": 30})
    live.post("/v1/images/delete", json={"ids": expected[:15]})
    assert found(live, **query) == expected[15:25]


def test_files_of_a_deleted_picture_are_removed_unless_another_has_the_same(
    built_copy: DataDir, live: TestClient
) -> None:
    upsert(live, entry("one", NEW), entry("two", NEW))
    blobs = {path for path in built_copy.blobs_dir.rglob("*") if path.is_file()}
    live.delete("/v1/images/one")
    assert live.get("/v1/images/two/file").content == png(NEW)
    assert live.get("/v1/images/two/thumbnail").status_code == 200
    live.delete("/v1/images/two")
    assert len(blobs - {path for path in built_copy.blobs_dir.rglob("*") if path.is_file()}) == 2


def test_files_that_were_cut_are_written_again_with_the_same_picture(
    built_copy: DataDir, live: TestClient
) -> None:
    upsert(live, entry("one", NEW))
    sha256 = str(catalogued(built_copy, "one").sha256)
    blobs = [of(built_copy, sha256) for of in (thumbnail_path, original_path)]
    whole = [blob.read_bytes() for blob in blobs]
    for blob in blobs:
        blob.write_bytes(blob.read_bytes()[:30])
    upsert(live, entry("two", NEW))
    assert [blob.read_bytes() for blob in blobs] == whole


def test_a_file_that_cannot_be_removed_does_not_take_back_what_was_stored(
    built_copy: DataDir, live: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert(live, entry("one", NEW), entry("two", OTHER))
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.is_relative_to(built_copy.blobs_dir) and not path.name.startswith("."):
            raise OSError(errno.EBUSY, "in use", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    assert live.delete("/v1/images/one").status_code == 200
    assert upsert(live, entry("two", NEW))["replaced"] == 1
    assert "one" not in everything(live) and "two" in everything(live)


# -- tags and attributes


def test_tags_and_attributes_are_edited_without_the_picture(live: TestClient, indexed: list[Shape]) -> None:
    image_id = next(shape.id for shape in indexed if shape.colour == "red")
    changed = live.patch(
        f"/v1/images/{image_id}",
        json={"tags": ["Blue", {"name": "brand new", "weight": 0.5}], "attributes": {"area": None, "x": 1}},
    )
    assert changed.status_code == 200, changed.text
    record = changed.json()
    assert [tag["name"] for tag in record["tags"]] == ["blue", "brand new"] and record["indexed"]
    assert "area" not in record["attributes"] and record["attributes"]["x"] == 1
    assert record["attributes"]["shape_group"]
    assert live.get(f"/v1/images/{image_id}").json() == record
    by_tag = {"must": [{"key": "tags", "match": "brand new"}]}
    assert found(live, tags=["brand new"], filter=by_tag) == [image_id]
    assert image_id not in everything(live, filter={"must": [{"key": "tags", "match": "red"}]})
    assert found(live, tags=["red"], filter={"must": [{"key": "x", "match": 1}]}) == [image_id]
    # It has its looks still, and asks with what it is now.
    own = search(live, image={"id": image_id}, visual_weight=0, limit=5, explain=True)
    assert "blue" in {tag["name"] for tag in own["explain"]["tags"]}
    assert all("blue" in hit["id"] for hit in own["hits"][:3])
    shown = live.get(f"/v1/images/{image_id}/neighbors").json()
    assert [tag["name"] for tag in shown["tags"]] == ["blue", "brand new"]


def test_new_attributes_for_all_pictures_change_no_answer(live: TestClient) -> None:
    """As of a shop that writes its prices every night: a picture that looks and is tagged as before scores as
    before, and is still a neighbour of what is asked.
    """
    picture = {"data": base64.b64encode(png(NEW)).decode()}
    questions: list[dict[str, Any]] = [
        {"image": picture, "explain": True},
        {"image": picture, "visual_weight": 0, "tags": ["blue"]},
        {"tags": ["red"]},
    ]
    ids = everything(live)

    def scores() -> list[dict[str, float]]:
        return [
            {hit["id"]: hit["score"] for hit in search(live, **question)["hits"]} for question in questions
        ]

    def edges() -> list[list[str]]:
        heard = search(live, **questions[0])["explain"]["images"]
        shown = [live.get(f"/v1/images/{image_id}/neighbors").json()["similar"] for image_id in ids[:5]]
        return [[edge["id"] for edge in each] for each in (heard, *shown)]

    scores_before, edges_before = scores(), edges()
    for number, image_id in enumerate(ids):
        edited = live.patch(f"/v1/images/{image_id}", json={"attributes": {"price": number}})
        assert edited.status_code == 200
    assert index(live)["delta"]["replaced"] == index(live)["counts"]["images"]
    assert scores() == [pytest.approx(one, abs=1e-5) for one in scores_before]
    assert edges() == edges_before
    assert all(hit["attributes"]["price"] >= 0 for hit in search(live, tags=["red"])["hits"])


def test_a_picture_with_other_tags_is_no_neighbour_before_the_next_reindex(live: TestClient) -> None:
    picture = {"data": base64.b64encode(png(NEW)).decode()}

    def heard() -> list[str]:
        return [edge["id"] for edge in search(live, image=picture, explain=True)["explain"]["images"]]

    first, *others = heard()
    edited = live.patch(f"/v1/images/{first}", json={"tags": ["something else"]})
    assert edited.status_code == 200
    assert first not in heard()
    assert set(others) <= set(heard())


@pytest.mark.parametrize("body", [{}, {"tags": None}, {"tags": [""]}, {"image": {"data": ""}}])
def test_an_edit_that_is_not_valid_is_refused(
    live: TestClient, indexed: list[Shape], body: dict[str, Any]
) -> None:
    problem(live.patch(f"/v1/images/{indexed[0].id}", json=body), 422, "invalid-request")


def test_an_edit_of_an_unknown_picture_is_refused(live: TestClient) -> None:
    problem(live.patch("/v1/images/nobody", json={"tags": []}), 404, "not-found")


def test_counts_and_completion_know_the_delta(live: TestClient, indexed: list[Shape]) -> None:
    def counts() -> dict[str, int]:
        tags = live.get("/v1/tags", params={"limit": 1000}).json()["tags"]
        return {tag["name"]: tag["count"] for tag in tags}

    before, images = counts(), index(live)["counts"]["images"]
    upsert(live, entry("a", NEW), {**entry("b", OTHER), "tags": ["zebra crossing"]})
    gone = indexed[0]
    live.delete(f"/v1/images/{gone.id}")
    expected = dict(before)
    for tag in NEW.tags:
        expected[tag] += 1
    for tag in gone.tags:
        expected[tag] -= 1
    assert counts() == {**expected, "zebra crossing": 1}
    assert live.get("/v1/tags", params={"prefix": "cross"}).json()["tags"][0]["name"] == "zebra crossing"
    told = index(live)
    assert told["counts"]["images"] == images + 1
    assert told["counts"]["tags"] == len(before) + 1
    assert told["delta"] == {"images": 2, "replaced": 0, "deleted": 1}


# -- filters, thresholds, pages


def test_filters_hold_inside_the_search_over_the_snapshot_and_the_delta(live: TestClient) -> None:
    upsert(live, *(entry(f"new {n}", NEW, attributes={"year": 2000 + n}) for n in range(6)))
    recent = {"must": [{"key": "year", "range": {"gte": 2003}}]}
    assert set(everything(live, filter=recent)) == {"new 3", "new 4", "new 5"}
    either = {"should": [{"key": "year", "match": 2001}, {"key": "tags", "match": "blue"}]}
    mixed = everything(live, filter=either)
    assert "new 1" in mixed and len(mixed) > 5
    without = everything(live, filter={"must_not": [{"key": "year", "exists": True}]})
    assert without and not any(image_id.startswith("new") for image_id in without)
    assert everything(live, filter={"must": [{"key": "year", "match": 1}]}) == []


def pages(client: TestClient, between: Any, **body: Any) -> list[str]:
    """All ids by page; `between` is called after the first page."""
    answer = search(client, **body)
    ids = [hit["id"] for hit in answer["hits"]]
    between()
    while answer["next_cursor"]:
        answer = search(client, **body, cursor=answer["next_cursor"])
        ids += [hit["id"] for hit in answer["hits"]]
    return ids


@pytest.mark.parametrize("diversity", [0, 0.4])
def test_pages_neither_repeat_nor_skip_what_did_not_change(live: TestClient, diversity: float) -> None:
    upsert(live, *(entry(f"new {n}", NEW) for n in range(4)))
    body = {"tags": ["red"], "limit": 9, "diversity": diversity}
    expected = everything(live, diversity=diversity)
    assert pages(live, lambda: None, **body) == expected
    gone, moved = expected[30], expected[40]

    def change() -> None:
        live.delete(f"/v1/images/{gone}")
        live.patch(f"/v1/images/{moved}", json={"tags": ["black"]})
        upsert(live, *(entry(f"later {n}", NEW) for n in range(12)))

    seen = pages(live, change, **body)
    later = {f"later {n}" for n in range(12)}
    unchanged = [image_id for image_id in seen if image_id not in {*later, moved}]
    assert sorted(unchanged) == sorted(set(expected) - {gone, moved})


def test_a_score_threshold_holds_for_new_pictures_too(live: TestClient) -> None:
    upsert(live, entry("alike", NEW), entry("unlike", OTHER))
    data = base64.b64encode(png(NEW)).decode()
    body = {"image": {"data": data}, "limit": 1000}
    scores = {hit["id"]: hit["score"] for hit in search(live, **body)["hits"]}
    between = (scores["alike"] + scores["unlike"]) / 2
    above = found(live, **body, score_threshold=between)
    assert "alike" in above and "unlike" not in above


# -- reindex, restart, other writers


def test_the_next_reindex_takes_the_delta_in(
    built_copy: DataDir, live: TestClient, indexed: list[Shape]
) -> None:
    upsert(live, entry("new", NEW), entry(indexed[1].id, OTHER))
    live.delete(f"/v1/images/{indexed[0].id}")
    before, first = set(everything(live)), version(live)
    second = reindex(built_copy).version
    assert second != first
    wait_until(lambda: version(live) == second)
    assert index(live)["delta"] == {"images": 0, "replaced": 0, "deleted": 0}
    assert set(everything(live)) == before
    assert "new" in found(live, tags=["red", "circle"], limit=10)


def test_a_write_while_a_reindex_runs_is_neither_lost_nor_doubled(
    built_copy: DataDir, live: TestClient, indexed: list[Shape]
) -> None:
    upsert(live, entry("before", NEW))
    written = False

    class WriteInBetween:
        """Progress that writes when the reindex has read the catalogue."""

        def phase(self, name: str, total: int | None) -> Any:
            nonlocal written
            if not written:
                written = True
                upsert(live, entry("meanwhile", NEW), entry("before", OTHER))
                live.delete(f"/v1/images/{indexed[0].id}")
            from graph_store.progress import SilentProgress

            return SilentProgress().phase(name, total)

    second = reindex(built_copy, progress=WriteInBetween()).version
    wait_until(lambda: version(live) == second)
    assert index(live)["delta"] == {"images": 2, "replaced": 1, "deleted": 1}
    ids = everything(live)
    assert len(ids) == len(set(ids)) and {"before", "meanwhile"} <= set(ids)
    assert indexed[0].id not in ids
    data = base64.b64encode(png(OTHER)).decode()
    assert found(live, image={"data": data}, visual_weight=1, limit=1) == ["before"]
    third = reindex(built_copy).version
    wait_until(lambda: version(live) == third)
    assert sorted(everything(live)) == sorted(ids)
    assert index(live)["delta"]["images"] == 0


def test_what_was_written_is_found_after_a_restart_with_the_same_scores(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    query = {"image": {"id": indexed[2].id}, "limit": 50}
    with serving(built_copy.root) as client:
        upsert(client, entry("a", NEW))
        upsert(client, entry("b", OTHER), entry(indexed[1].id, NEW))
        client.patch("/v1/images/a", json={"tags": ["green"]})
        client.delete(f"/v1/images/{indexed[0].id}")
        before = search(client, **query)["hits"]
    with serving(built_copy.root) as client:
        after = search(client, **query)["hits"]
    assert [hit["id"] for hit in after] == [hit["id"] for hit in before]
    assert [hit["score"] for hit in after] == pytest.approx([hit["score"] for hit in before], abs=1e-5)


def test_another_worker_sees_a_write_soon(built_copy: DataDir) -> None:
    with serving(built_copy.root) as one, serving(built_copy.root) as other:
        upsert(one, entry("new", NEW))
        assert "new" in everything(one)
        wait_until(lambda: "new" in everything(other))
        other.delete("/v1/images/new")
        wait_until(lambda: "new" not in everything(one))


def test_a_running_ingest_or_training_does_not_hold_writes_up(built_copy: DataDir, live: TestClient) -> None:
    with built_copy.lock("ingest"):
        assert upsert(live, entry("new", NEW))["created"] == 1


def test_a_writer_that_keeps_the_directory_to_itself_is_named_and_waited_for(
    built_copy: DataDir, live: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.live.writer.WAIT_SECONDS", 0.05)
    with built_copy.writing("export"):
        refused = live.delete("/v1/images/x")
    assert "export" in problem(refused, 503, "data-directory-busy")["detail"]
    assert refused.headers["retry-after"]


def test_upserts_are_refused_where_nothing_is_served(tmp_path: Any) -> None:
    with serving(tmp_path / "nothing") as client:
        problem(client.post("/v1/images", json={"images": [entry("a", NEW)]}), 503, "nothing-to-serve")
        problem(client.delete("/v1/images/a"), 503, "nothing-to-serve")


def test_without_changes_the_snapshots_own_state_answers(
    live: TestClient, built_copy: DataDir, indexed: list[Shape]
) -> None:
    from app.live.state import LiveState
    from tests.api.conftest import service_of

    service = service_of(live)
    assert not isinstance(service.states.current, LiveState)
    upsert(live, entry("new", NEW))
    assert isinstance(service.states.current, LiveState)
    live.delete("/v1/images/new")
    assert not isinstance(service.states.current, LiveState)


def test_changes_that_make_no_difference_to_searches_are_read_once(
    live: TestClient, built_copy: DataDir, held_out: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.api.conftest import service_of

    states = service_of(live).states
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.upsert([replace(catalog.get(held_out[0].id), caption="another")])
        states.revise()
        read: list[int] = []
        changes = Catalog.changes

        def noted(self: Catalog, since: int) -> Changes:
            read.append(since)
            return changes(self, since)

        monkeypatch.setattr(Catalog, "changes", noted)
        states.revise()
        assert read == []
        known = catalog.revision()
    upsert(live, entry("new", NEW))
    assert set(read) == {known} and "new" in everything(live)


def test_no_removed_picture_comes_back_where_another_encoder_fills_the_catalogue_anew(
    live: TestClient, built_copy: DataDir, indexed: list[Shape], tmp_path: Path
) -> None:
    with Catalog.open(built_copy.catalog_path) as catalog:
        assert catalog.delete(place.id for place in catalog.places())
    source = tmp_path / "tags.jsonl"
    source.write_text("".join(f'{{"id": "{name}", "tags": ["red"]}}\n' for name in ("new", indexed[0].id)))
    with_features(source, built_copy, ["new", indexed[0].id])
    with serving(built_copy.root) as restarted:
        for client in (live, restarted):
            wait_until(lambda client=client: everything(client) == [])
            told = problem(client.post("/v1/search", json={"image": {"id": "new"}}), 409, "encoder-mismatch")
            assert "precomputed" in told["detail"]
            wait_until(lambda client=client: "precomputed" in client.get("/readyz").text)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("it broke")])
def test_changes_that_cannot_be_read_for_whatever_reason_cost_no_search_and_are_read_later(
    live: TestClient, built_copy: DataDir, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    gone, *rest = everything(live)

    def failing(*_: Any, **__: Any) -> FeatureFile:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr("app.live.keeper.FeatureFile.open", failing)
        with Catalog.open(built_copy.catalog_path) as catalog:
            catalog.delete([gone])
        wait_until(lambda: live.get("/readyz").json()["status"] == "degraded")
        assert everything(live) == [gone, *rest]
    wait_until(lambda: everything(live) == rest)
    assert live.get("/readyz").json()["status"] == "ok"


def test_lost_features_cost_their_picture_and_no_search(built_copy: DataDir, live: TestClient) -> None:
    before = everything(live)
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.upsert([ImageRecord("lost", row=catalog.next_row())])
    assert live.delete("/v1/images/nobody").status_code == 404
    assert everything(live) == before
    problem(live.post("/v1/images", json={"images": [entry("new", NEW)]}), 500, "corrupt-file")
