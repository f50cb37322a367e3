"""The Python client against the real service."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.schemas import SearchRequest
from imsage import Client, DeltaCounts, ImsageError, Question, Url
from tests.shapes import all_shapes, is_test

INDEXED = next(shape for shape in all_shapes() if not is_test(shape.id) and shape.size == "large")
HELD_OUT = next(shape for shape in all_shapes() if is_test(shape.id))


@pytest.fixture
def picture(shapes_source: Path) -> Path:
    """A file with a shape that is not in the index."""
    return shapes_source.parent / "images" / f"{HELD_OUT.id}.png"


def test_a_picture_of_the_catalogue_is_asked_by_its_id(client: Client) -> None:
    answer = client.search(image=INDEXED.id, limit=5)

    assert len(answer.hits) == 5 and INDEXED.id not in [hit.id for hit in answer.hits]
    for hit in answer.hits:
        assert hit.score == pytest.approx(hit.visual + hit.conceptual, abs=1e-6)
        assert {tag.name for tag in hit.tags} <= {tag for shape in all_shapes() for tag in shape.tags}
        assert hit.attributes["shape_group"] in ("round", "corners") and hit.explain is None
    assert answer.took_ms["total"] > 0


def test_a_file_its_bytes_and_an_upload_are_one_question(client: Client, picture: Path) -> None:
    by_path = client.search(image=picture, limit=5)
    by_bytes = client.search(image=picture.read_bytes(), limit=5)
    uploaded = client.upload(picture, limit=5)

    assert by_path.hits == by_bytes.hits == uploaded.hits


def test_several_pictures_are_asked_at_once(client: Client, picture: Path) -> None:
    alone = client.search(image=INDEXED.id, limit=5)
    same = client.search(image=[INDEXED.id], limit=5)
    away = client.search(image=[INDEXED.id, (picture, -0.5)], limit=5)

    assert [hit.id for hit in same.hits] == [hit.id for hit in alone.hits]
    assert [hit.score for hit in away.hits] != [hit.score for hit in alone.hits]


def test_an_address_is_sent_as_one(client: Client) -> None:
    with pytest.raises(ImsageError) as refused:
        client.search(image=Url("https://example.org/cat.jpg"))

    assert refused.value.status == 403 and refused.value.errors[0].pointer == "/image/url"


def test_tags_have_weights_in_either_way_of_writing_them(client: Client) -> None:
    listed = client.search(tags=["red", ("circle", -0.5)], visual_weight=0.0)
    mapped = client.search(tags={"red": 1.0, "circle": -0.5}, visual_weight=0.0)
    without = client.search(tags=["red"], visual_weight=0.0)

    assert listed.hits == mapped.hits != without.hits


def test_the_client_knows_every_field_of_a_question() -> None:
    assert Question.__annotations__.keys() == SearchRequest.model_fields.keys()


def test_one_string_is_no_list_of_tags(client: Client) -> None:
    with pytest.raises(TypeError, match="red"):
        client.search(tags="red")


def test_a_question_may_have_words_a_filter_and_its_reasons(client: Client) -> None:
    answer = client.search(
        text="a crimson disc",
        filter={
            "must": [{"key": "shape_group", "match": "round"}],
            "must_not": [{"key": "tags", "match": "ring"}],
        },
        explain=True,
        limit=4,
    )

    assert len(answer.hits) == 4
    assert {hit.attributes["shape_group"] for hit in answer.hits} == {"round"}
    assert answer.explain is not None and answer.explain.tags
    assert answer.hits[0].explain is not None and answer.hits[0].explain.tags


def test_the_pictures_that_spoke_for_a_result_are_told(client: Client) -> None:
    answer = client.search(image=INDEXED.id, visual_weight=0.0, explain=True, limit=4)

    assert answer.explain is not None
    joined = {edge.id for edge in answer.explain.images}
    for hit in answer.hits:
        assert hit.explain is not None and hit.explain.neighbors
        assert {neighbour.id for neighbour in hit.explain.neighbors} <= joined


def test_pages_follow_one_another_to_the_end(client: Client) -> None:
    whole = client.search(image=INDEXED.id, limit=1000)
    pages = list(client.pages(image=INDEXED.id, limit=30))

    assert [hit.id for page in pages for hit in page.hits] == [hit.id for hit in whole.hits]
    assert len(pages) > 2 and {page.index_version for page in pages} == {whole.index_version}


def test_a_batch_is_answered_in_order(client: Client) -> None:
    first, second = client.batch([{"tags": ["red"], "limit": 3}, {"image": INDEXED.id, "limit": 4}])

    assert len(first.hits) == 3 and len(second.hits) == 4


def test_tags_are_predicted_and_completed(client: Client, picture: Path) -> None:
    prediction = client.predict_tags(picture, limit=4)
    completed = client.complete_tags("re")

    assert len(prediction.tags) == 4 and all(0 <= tag.score <= 1 for tag in prediction.tags)
    assert [tag.name for tag in completed] == ["red"] and completed[0].count > 0


def test_only_tags_that_a_picture_does_not_carry_are_predicted_where_that_is_asked(client: Client) -> None:
    carried = set(INDEXED.tags)

    assert carried & {tag.name for tag in client.predict_tags(INDEXED.id, limit=1000).tags}
    assert not carried & {tag.name for tag in client.predict_tags(INDEXED.id, limit=1000, missing=True).tags}


def test_a_picture_is_described_with_its_edges_and_files(client: Client, picture: Path) -> None:
    described = client.image(INDEXED.id)
    edges = client.neighbors(INDEXED.id)

    assert (described.id, described.split, described.indexed) == (INDEXED.id, "train", True)
    assert {tag.name for tag in edges.tags} == set(INDEXED.tags) and edges.similar
    assert client.thumbnail(INDEXED.id).media_type == "image/webp"
    original = client.file(HELD_OUT.id)
    assert (original.content, original.media_type) == (picture.read_bytes(), "image/png")


def test_the_service_tells_what_it_serves(client: Client) -> None:
    assert client.ready().status == "ok"
    assert client.index().counts["images"] > 50
    assert client.index().index_version == client.ready().index_version
    assert client.index().delta == DeltaCounts(images=0, replaced=0, deleted=0)


def test_a_refusal_has_the_fields_of_its_problem(client: Client) -> None:
    with pytest.raises(ImsageError) as refused:
        client.search(tags=["red"], visual_weight=1.5)

    error = refused.value
    assert (error.status, error.type) == (422, "urn:imsage:problem:invalid-request")
    assert error.instance == "/v1/search" and error.title == "Invalid request"
    assert error.errors[0].pointer == "/visual_weight" and error.request_id
    assert "/visual_weight" in str(error) and str(error).startswith("422")


@pytest.mark.parametrize("image_id", ["no/such picture?#%", "..", ".", "delete", "ü/é"])
def test_any_id_may_be_asked_for(client: Client, image_id: str) -> None:
    with pytest.raises(ImsageError) as refused:
        client.image(image_id)

    assert refused.value.status == 404
