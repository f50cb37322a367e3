"""Search: what is asked is what is answered."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import png, problem, serving
from tests.shapes import Shape


def search(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def names(hit: dict[str, Any]) -> list[str]:
    return [tag["name"] for tag in hit["tags"]]


# -- pictures


def test_an_indexed_picture_is_attached_by_its_own_edges_and_is_not_its_own_result(
    client: TestClient, indexed: list[Shape]
) -> None:
    shape = indexed[0]
    answer = search(client, image={"id": shape.id}, limit=10)
    assert answer["attach"] == "mixed"
    assert len(answer["hits"]) == 10 and shape.id not in ids(answer)
    assert set(answer["took_ms"]) == {"attach", "search", "total"}
    assert answer["index_version"] == client.get("/v1/index").json()["index_version"]


@pytest.mark.parametrize("visual_weight", [0.0, 0.3, 0.5, 1.0])
def test_the_score_is_exactly_the_sum_of_its_parts_and_falls(
    client: TestClient, indexed: list[Shape], visual_weight: float
) -> None:
    hits = search(client, image={"id": indexed[3].id}, visual_weight=visual_weight)["hits"]
    assert all(hit["score"] == hit["visual"] + hit["conceptual"] for hit in hits)
    assert all(first["score"] >= second["score"] for first, second in pairwise(hits))
    parts = {0.0: "visual", 1.0: "conceptual"}
    if visual_weight in parts:
        assert all(hit[parts[visual_weight]] == 0 for hit in hits)


def test_a_bare_picture_asks_otherwise_than_the_picture_with_its_edges(
    client: TestClient, indexed: list[Shape]
) -> None:
    bare = search(client, image={"id": indexed[0].id}, attach="image")
    assert bare["attach"] == "image" and indexed[0].id not in ids(bare)


def test_a_picture_held_out_of_the_index_is_found_by_id_through_its_stored_features(
    client: TestClient, held_out: list[Shape]
) -> None:
    by_id = search(client, image={"id": held_out[0].id}, limit=20)
    assert by_id["attach"] == "image"
    data = base64.b64encode(png(held_out[0])).decode()
    by_data = search(client, image={"data": data}, limit=20)
    assert set(ids(by_id)[:5]) & set(ids(by_data)[:5])
    assert {"decode", "encode", "attach", "search", "total"} == set(by_data["took_ms"])


def test_an_uploaded_picture_is_answered_like_the_same_bytes_in_the_body(
    client: TestClient, held_out: list[Shape]
) -> None:
    data = png(held_out[1])
    options = {"visual_weight": 0.7, "limit": 7, "tags": [{"name": "red", "weight": 0.3}]}
    in_body = search(client, image={"data": base64.b64encode(data).decode()}, **options)
    import json

    response = client.post(
        "/v1/search/upload",
        files={"image": ("a.png", data, "image/png")},
        data={"query": json.dumps(options)},
    )
    assert response.status_code == 200, response.text
    assert response.json()["hits"] == in_body["hits"]


def test_an_upload_needs_no_query(client: TestClient, held_out: list[Shape]) -> None:
    response = client.post("/v1/search/upload", files={"image": ("a.png", png(held_out[1]), "image/png")})
    assert len(response.json()["hits"]) == 20


def test_an_unknown_picture_is_pointed_at(client: TestClient) -> None:
    body = problem(client.post("/v1/search", json={"image": {"id": "no/such"}}), 404, "not-found")
    assert body["errors"][0]["pointer"] == "/image/id" and "no/such" in body["detail"]


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n truncated"])
def test_a_picture_that_cannot_be_used_is_refused(client: TestClient, data: bytes) -> None:
    body = {"image": {"data": base64.b64encode(data).decode()}}
    answer = problem(client.post("/v1/search", json=body), 422, "bad-input")
    assert answer["errors"][0]["pointer"] == "/image/data"


def test_what_is_not_base64_is_refused(client: TestClient) -> None:
    answer = problem(client.post("/v1/search", json={"image": {"data": "#"}}), 422, "invalid-request")
    assert answer["errors"][0]["pointer"] == "/image/data"


def test_addresses_are_not_fetched_unless_the_setting_says_so(
    client: TestClient, built_data_dir: Any
) -> None:
    asked = {"image": {"url": "http://127.0.0.1/a.png"}}
    body = problem(client.post("/v1/search", json=asked), 403, "setting-off")
    assert "url_fetch" in body["detail"]
    with serving(built_data_dir.root, url_fetch=True) as fetching:
        refused = problem(fetching.post("/v1/search", json=asked), 422, "bad-input")
    assert "public internet" in refused["detail"]
    assert refused["errors"][0]["pointer"] == "/image/url"


# -- tags and words


def test_a_tag_finds_pictures_that_carry_it(client: TestClient) -> None:
    answer = search(client, tags=["red", "star"], visual_weight=0, limit=4)
    assert answer["attach"] == "tags"
    assert sum("red" in names(hit) or "star" in names(hit) for hit in answer["hits"]) >= 3


def test_a_negative_tag_leads_away_from_it(client: TestClient) -> None:
    towards = search(client, tags=["red", "round"], visual_weight=0, limit=100)
    away = search(client, tags=["red", {"name": "round", "weight": -1}], visual_weight=0, limit=100)

    def place(answer: dict[str, Any]) -> float:
        places = [i for i, hit in enumerate(answer["hits"]) if "round" in names(hit)]
        return sum(places) / len(places)

    assert place(away) > place(towards)


def test_words_nobody_tagged_with_are_understood(client: TestClient) -> None:
    answer = search(client, text="a crimson disc", explain=True, limit=5)
    assert len(answer["hits"]) == 5 and answer["explain"]["tags"]
    unknown = search(client, tags=["crimson"], explain=True, limit=5)
    assert {edge["asked_as"] for edge in unknown["explain"]["tags"]} == {"crimson"}


def test_parts_that_cancel_are_refused(client: TestClient) -> None:
    tags = [{"name": "red", "weight": 1}, {"name": "red", "weight": -1}]
    problem(client.post("/v1/search", json={"tags": tags, "visual_weight": 0}), 422, "empty-query")
    only_zero = {"tags": [{"name": "red", "weight": 0}]}
    problem(client.post("/v1/search", json=only_zero), 422, "empty-query")


# -- attachment that is spelt out


def test_a_picture_that_is_attached_by_tags_is_joined_to_the_named_tags_alone(
    client: TestClient, indexed: list[Shape]
) -> None:
    shape = next(shape for shape in indexed if shape.colour == "red")
    answer = search(client, image={"id": shape.id}, tags=["blue"], attach="tags", explain=True)
    assert answer["attach"] == "tags" and answer["explain"]["images"] == []
    assert {edge["name"] for edge in answer["explain"]["tags"]} == {"blue"}
    assert answer["hits"] and shape.id not in ids(answer)


def test_a_picture_that_is_attached_by_both_is_joined_to_its_likes_and_to_the_named_tags(
    client: TestClient, indexed: list[Shape]
) -> None:
    shape = next(shape for shape in indexed if shape.colour == "red")
    answer = search(client, image={"id": shape.id}, tags=["blue"], attach="mixed", explain=True)
    assert answer["attach"] == "mixed" and answer["explain"]["images"]
    assert {edge["name"] for edge in answer["explain"]["tags"]} == {"blue"}


@pytest.mark.parametrize(
    ("asked", "lacking"),
    [
        ({"image": {"id": "an image"}, "attach": "tags"}, "needs a tag"),
        ({"image": {"id": "an image"}, "attach": "mixed"}, "needs a tag"),
        ({"tags": ["red"], "attach": "mixed"}, "needs an image"),
        ({"tags": ["red"], "attach": "image"}, "needs an image"),
    ],
)
def test_an_attachment_without_what_it_joins_is_refused(
    client: TestClient, indexed: list[Shape], asked: dict[str, Any], lacking: str
) -> None:
    if "image" in asked:
        asked = {**asked, "image": {"id": indexed[0].id}}
    assert lacking in problem(client.post("/v1/search", json=asked), 422, "bad-input")["detail"]


# -- which and how many


def test_a_filter_is_applied_inside_the_search(client: TestClient, indexed: list[Shape]) -> None:
    wanted = next(shape for shape in indexed if shape.shape == "circle" and shape.size == "small")
    asked = {
        "must": [
            {"key": "tags", "match": wanted.colour.upper()},
            {"key": "area", "range": {"lt": 0.1}},
        ],
        "should": [{"key": "shape_group", "any": ["round", "other"]}],
        "must_not": [{"key": "tags", "match": "ring"}],
    }
    answer = search(client, image={"id": indexed[-1].id}, filter=asked, limit=100)
    expected = {
        shape.id
        for shape in indexed
        if (shape.colour, shape.shape) == (wanted.colour, "circle") and round(shape.radius**2, 4) < 0.1
    }
    assert expected and set(ids(answer)) == expected - {indexed[-1].id}


def test_a_filter_that_nothing_passes_gives_an_empty_answer(client: TestClient, indexed: list[Shape]) -> None:
    nothing = {"must": [{"key": "nowhere", "exists": True}]}
    answer = search(client, image={"id": indexed[0].id}, filter=nothing)
    assert answer["hits"] == [] and answer["next_cursor"] is None


def test_a_threshold_cuts_where_it_says(client: TestClient, indexed: list[Shape]) -> None:
    asked: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 50}
    everything = search(client, **asked)["hits"]
    threshold = everything[7]["score"]
    kept = search(client, **asked, score_threshold=threshold)["hits"]
    assert kept == [hit for hit in everything if hit["score"] >= threshold]


def test_diversity_keeps_the_first_and_spreads_the_rest(client: TestClient, indexed: list[Shape]) -> None:
    asked: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 10}
    plain, diverse = search(client, **asked), search(client, **asked, diversity=0.8)
    assert ids(plain)[0] == ids(diverse)[0]
    assert set(ids(plain)) != set(ids(diverse))
    assert len({tag for hit in diverse["hits"] for tag in names(hit)}) >= len(
        {tag for hit in plain["hits"] for tag in names(hit)}
    )


@pytest.mark.parametrize("diversity", [0.0, 0.5])
@pytest.mark.parametrize("limit", [1, 7, 30])
def test_pages_are_the_whole_list_cut_in_pieces(
    client: TestClient, indexed: list[Shape], diversity: float, limit: int
) -> None:
    asked: dict[str, Any] = {"image": {"id": indexed[5].id}, "diversity": diversity, "limit": limit}
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(200):
        answer = search(client, **asked, **cursor)
        found += ids(answer)
        if answer["next_cursor"] is None:
            break
        assert len(answer["hits"]) == limit
        cursor = {"cursor": answer["next_cursor"]}
    whole = search(client, **{**asked, "limit": 1000})
    assert len(found) == len(set(found)) == len(whole["hits"])
    assert found == ids(whole)


def all_pages(client: TestClient, **asked: Any) -> list[list[str]]:
    """The ids of every page, to where there is no cursor."""
    answer = search(client, **asked)
    pages = [ids(answer)]
    while answer["next_cursor"] is not None:
        answer = search(client, **asked, cursor=answer["next_cursor"])
        pages.append(ids(answer))
    return pages


@pytest.mark.parametrize(("limit", "found"), [(3, 14), (4, 16), (7, 21)])
def test_with_diversity_pages_end_with_what_there_is_to_choose_from(
    client: TestClient, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch, limit: int, found: int
) -> None:
    monkeypatch.setattr("app.ranking.LEAST_POOL", 14)
    monkeypatch.setattr("app.ranking.MOST_POOL", 21)
    asked: dict[str, Any] = {"image": {"id": indexed[5].id}}
    pages = all_pages(client, **asked, limit=limit, diversity=0.5)
    best = ids(search(client, **asked, limit=found))

    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert sorted(image_id for page in pages for image_id in page) == sorted(best)
    assert len(ids(search(client, **asked, limit=1000))) > found


def test_no_cursor_leads_deeper_than_the_greatest_depth(
    client: TestClient, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ranking.MAX_DEPTH", 20)
    asked: dict[str, Any] = {"image": {"id": indexed[5].id}}
    pages = all_pages(client, **asked, limit=8)

    assert [len(page) for page in pages] == [8, 8, 4]
    assert [image_id for page in pages for image_id in page] == ids(search(client, **asked, limit=20))


def test_a_cursor_serves_its_own_question_only(client: TestClient, indexed: list[Shape]) -> None:
    asked: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 3}
    cursor = search(client, **asked)["next_cursor"]
    other = {**asked, "visual_weight": 0.9, "cursor": cursor}
    body = problem(client.post("/v1/search", json=other), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "/cursor"
    problem(client.post("/v1/search", json={**asked, "cursor": "nonsense"}), 422, "invalid-request")
    assert len(search(client, **{**asked, "limit": 5, "cursor": cursor})["hits"]) == 5


def test_an_answer_explains_its_edges_and_the_tags_that_spoke(
    client: TestClient, indexed: list[Shape]
) -> None:
    answer = search(client, image={"id": indexed[0].id}, explain=True, limit=5)
    assert {edge["name"] for edge in answer["explain"]["tags"]} == set(indexed[0].tags)
    assert all(set(edge) == {"id", "weight"} for edge in answer["explain"]["images"])
    for hit in answer["hits"]:
        spoke = hit["explain"]["tags"]
        assert {tag["name"] for tag in spoke} <= set(names(hit))
        assert all(set(tag) == {"name", "contribution"} for tag in spoke)
    assert "explain" not in search(client, image={"id": indexed[0].id})


def test_an_answer_explains_which_neighbours_of_the_question_spoke(
    client: TestClient, indexed: list[Shape]
) -> None:
    answer = search(client, image={"id": indexed[0].id}, explain=True, limit=5, visual_weight=0.3)
    edges = {edge["id"] for edge in answer["explain"]["images"]}
    for hit in answer["hits"]:
        spoke = hit["explain"]["neighbors"]
        sizes = [abs(neighbour["contribution"]) for neighbour in spoke]
        assert spoke and {neighbour["id"] for neighbour in spoke} <= edges
        assert sizes == sorted(sizes, reverse=True)
    by_looks = search(client, image={"id": indexed[0].id}, explain=True, limit=5, visual_weight=1.0)
    assert all(hit["explain"] == {"tags": [], "neighbors": []} for hit in by_looks["hits"])


def test_the_neighbours_of_a_refused_picture_speak_against(client: TestClient, indexed: list[Shape]) -> None:
    like = next(shape for shape in indexed if (shape.colour, shape.shape) == ("red", "circle"))
    unlike = next(shape for shape in indexed if (shape.colour, shape.shape) == ("black", "star"))
    image = [{"id": like.id}, {"id": unlike.id, "weight": -0.8}]
    answer = search(client, image=image, explain=True, limit=1000, visual_weight=0)
    last = answer["hits"][-1]["explain"]["neighbors"]
    refused = {edge["id"] for edge in answer["explain"]["images"] if edge["weight"] < 0}
    assert last[0]["id"] in refused and last[0]["contribution"] < 0


def test_words_that_are_no_tags_are_counted_as_encoding(client: TestClient) -> None:
    took = search(client, text="something scarlet and round")["took_ms"]
    assert took["encode"] > 0 and took["attach"] >= 0
    assert took["encode"] + took["attach"] + took["search"] <= took["total"] + 0.01


def test_a_batch_answers_in_order_from_one_snapshot(client: TestClient, indexed: list[Shape]) -> None:
    queries = [{"image": {"id": shape.id}, "limit": 3} for shape in indexed[:4]] + [
        {"tags": ["blue"], "limit": 2}
    ]
    response = client.post("/v1/search/batch", json={"queries": queries})
    results = response.json()["results"]
    assert [ids(result) for result in results] == [ids(search(client, **query)) for query in queries]
    assert len({result["index_version"] for result in results}) == 1


def test_the_query_that_spoils_a_batch_is_named(client: TestClient, indexed: list[Shape]) -> None:
    queries = [{"image": {"id": indexed[0].id}}, {"image": {"id": "no/such"}}]
    body = problem(client.post("/v1/search/batch", json={"queries": queries}), 404, "not-found")
    assert body["errors"][0]["pointer"] == "/queries/1/image/id" and "Query 1" in body["detail"]


# -- predicted tags


def test_tags_of_a_new_picture_are_predicted_with_scores_up_to_one(
    client: TestClient, held_out: list[Shape]
) -> None:
    shape = held_out[0]
    data = base64.b64encode(png(shape)).decode()
    tags = client.post("/v1/tags/predict", json={"image": {"data": data}, "limit": 5}).json()["tags"]
    assert len(tags) == 5 and all(0 <= tag["score"] <= 1 for tag in tags)
    assert [tag["score"] for tag in tags] == sorted((tag["score"] for tag in tags), reverse=True)
    assert {tag["name"] for tag in tags} & set(shape.tags)


def test_tags_are_predicted_for_pictures_of_the_catalogue(
    client: TestClient, indexed: list[Shape], held_out: list[Shape]
) -> None:
    for shape in (indexed[0], held_out[0]):
        response = client.post("/v1/tags/predict", json={"image": {"id": shape.id}, "limit": 3})
        assert len(response.json()["tags"]) == 3


def test_missing_tags_of_an_indexed_picture_are_none_of_its_own(
    client: TestClient, indexed: list[Shape]
) -> None:
    asked = {"image": {"id": indexed[0].id}, "limit": 100}
    every, missing = (
        {
            tag["name"]
            for tag in client.post("/v1/tags/predict", json={**asked, "missing": only}).json()["tags"]
        }
        for only in (False, True)
    )
    assert every - missing == set(indexed[0].tags)


def test_tags_are_completed_with_counts(client: TestClient) -> None:
    found = client.get("/v1/tags", params={"prefix": "RE"}).json()["tags"]
    assert found[0]["name"] == "red" and found[0]["count"] > 10
    everything = client.get("/v1/tags").json()["tags"]
    assert [tag["count"] for tag in everything] == sorted((tag["count"] for tag in everything), reverse=True)
    assert len(client.get("/v1/tags", params={"limit": 2}).json()["tags"]) == 2
