"""The catalogue is changed by way of the Python client."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.application import create_app
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import AsyncClient, Client, ImsageError, ServerPath
from tests.api.listening import listening
from tests.client.test_calls import HELD_OUT, INDEXED


def test_a_picture_is_stored_found_and_removed(built_copy: DataDir, shapes_source: Path) -> None:
    picture = shapes_source.parent / "images" / f"{HELD_OUT.id}.png"
    with (
        listening(create_app(Settings(data=built_copy.root))) as address,
        Client(address) as client,
    ):
        stored = client.upsert(
            [
                {
                    "id": "new/one",
                    "image": picture,
                    "tags": ["red", ("mine", 0.5)],
                    "attributes": {"year": 2026},
                },
                {"id": "new/two", "image": b"no picture"},
            ]
        )
        assert (stored.created, stored.failed) == (1, 1)
        assert [one.status for one in stored.results] == ["created", "failed"]
        assert stored.results[1].problem is not None and stored.results[1].problem.status == 422
        assert stored.results[1].problem.errors[0].pointer == "/images/1/image"
        assert stored.took_ms["total"] > 0
        assert "new/one" in [hit.id for hit in client.search(image=picture, visual_weight=1.0).hits]
        assert client.image("new/one").attributes["year"] == 2026

        removed = client.delete(["new/one", "nobody"])
        assert [one.status for one in removed.results] == ["deleted", "missing"]
        with pytest.raises(ImsageError, match="404"):
            client.image("new/one")
        with pytest.raises(TypeError, match="new"):
            client.delete("new")


def test_tags_and_attributes_are_changed_and_the_rest_stays(built_copy: DataDir) -> None:
    with listening(create_app(Settings(data=built_copy.root))) as address, Client(address) as client:
        before = client.image(INDEXED.id)
        changed = client.update(INDEXED.id, tags={"news": 0.5}, attributes={"year": 2024})

        assert [(tag.name, tag.weight) for tag in changed.tags] == [("news", 0.5)]
        assert changed.attributes == {**before.attributes, "year": 2024}
        assert client.update(INDEXED.id, attributes={"year": None}).attributes == before.attributes
        assert client.image(INDEXED.id).tags == changed.tags
        found = client.search(tags=["red"], filter={"must": [{"key": "tags", "match": "news"}]})
        assert [hit.id for hit in found.hits] == [INDEXED.id]


def test_a_picture_may_be_called_what_a_path_takes_for_something_else(
    built_copy: DataDir, shapes_source: Path
) -> None:
    picture = shapes_source.parent / "images" / f"{HELD_OUT.id}.png"
    ids = ["delete", ".", "..", "a/..", "%2E", "x/delete", "file"]
    with listening(create_app(Settings(data=built_copy.root))) as address, Client(address) as client:
        assert client.upsert([{"id": image_id, "image": picture} for image_id in ids]).created == len(ids)
        for image_id in ids:
            assert client.image(image_id).id == image_id
            assert client.thumbnail(image_id).media_type == "image/webp"
            assert client.update(image_id, attributes={"name": image_id}).attributes == {"name": image_id}


@pytest.mark.asyncio
async def test_the_asynchronous_client_stores_changes_and_removes(
    built_copy: DataDir, shapes_source: Path
) -> None:
    settings = Settings(data=built_copy.root, upsert_folder=shapes_source.parent)
    with listening(create_app(settings)) as address:
        async with AsyncClient(address) as client:
            picture = ServerPath(f"images/{HELD_OUT.id}.png")
            stored = await client.upsert([{"id": "there", "image": picture, "tags": ["red"]}])
            changed = await client.update("there", attributes={"seen": True})
            mean = await client.search(image=["there", (INDEXED.id, 0.5)], tags=["red"], limit=3)
            removed = await client.delete(["there"])

    assert stored.created == 1 and removed.deleted == 1
    assert changed.attributes == {"seen": True} and [tag.name for tag in changed.tags] == ["red"]
    assert len(mean.hits) == 3


def test_a_path_that_the_server_may_not_read_is_that_images_problem(client: Client) -> None:
    stored = client.upsert([{"id": "there", "image": ServerPath("images/x.png")}])

    assert stored.failed == 1
    problem = stored.results[0].problem
    assert problem is not None and problem.status == 403
