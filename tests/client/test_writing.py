"""The catalogue is changed by way of the Python client."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.application import create_app
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import Client, ImsageError
from tests.api.listening import listening
from tests.client.test_calls import HELD_OUT


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
        assert "new/one" in [hit.id for hit in client.search(image=picture, visual_weight=1.0).hits]
        assert client.image("new/one").attributes["year"] == 2026

        removed = client.delete(["new/one", "nobody"])
        assert [one.status for one in removed.results] == ["deleted", "missing"]
        with pytest.raises(ImsageError, match="404"):
            client.image("new/one")
        with pytest.raises(TypeError, match="new"):
            client.delete("new")
