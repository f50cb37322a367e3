"""Words that are no tags are read together, on the device of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

import app.query_words
import gnn.encoders.lazy
import gnn.graph_data
from app.lookup import Lookup, Question
from app.query_words import QueryWords
from app.serving_state import ServingState
from gnn.encoders.base import TextEncoder
from gnn.encoders.registry import text_encoder
from gnn.query import Query, QueryTag
from gnn.reindex import reindex
from graph_store.arrays import Float32Array
from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot
from tests.api.conftest import serving

UNKNOWN = ["crimson", "disc", "azure", "tile", "emerald", "ball", "maroon", "cube", "olive", "teapot"]


class Counted:
    """Text encoders that note how many texts they were given in each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.devices: list[str] = []

    def __call__(self, name: str, **given: Any) -> TextEncoder:
        self.devices.append(given["device"])
        encoder, calls = text_encoder(name, device="cpu", threads=1), self.calls

        class Noted:
            spec = encoder.spec

            def encode_text(self, texts: Sequence[str]) -> Float32Array:
                calls.append(len(texts))
                return encoder.encode_text(texts)

        return Noted()


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    for module in (app.query_words, gnn.encoders.lazy, gnn.graph_data):
        monkeypatch.setattr(module, "text_encoder", counted)
    return counted


def questions() -> list[dict[str, Any]]:
    tags = [UNKNOWN[start:] + UNKNOWN[:start] for start in range(len(UNKNOWN))]
    return [{"tags": each[:7], "text": "a picture of something " + each[0], "limit": 5} for each in tags]


def test_unknown_words_of_a_batch_are_read_in_a_few_calls(built_data_dir: DataDir, encoders: Counted) -> None:
    with serving(built_data_dir.root, batch_size=16, batch_wait_ms=50) as client:
        encoders.calls.clear()
        assert client.post("/v1/search/batch", json={"queries": questions()}).status_code == 200
        # Ten names, alone and in a phrase, and ten descriptions.
        assert sum(encoders.calls) == 30 and len(encoders.calls) <= 3
        encoders.calls.clear()
        assert client.post("/v1/search", json=questions()[3]).status_code == 200
        assert not encoders.calls, "they are remembered"


def test_answers_are_those_of_words_read_one_by_one(built_data_dir: DataDir) -> None:
    with serving(built_data_dir.root, batch_size=16, batch_wait_ms=50) as client:
        together = client.post("/v1/search/batch", json={"queries": questions()}).json()["results"]
    with serving(built_data_dir.root, batch_size=1) as client:
        alone = [client.post("/v1/search", json=question).json() for question in questions()]
    for one, other in zip(together, alone, strict=True):
        scores = [[hit["score"] for hit in answer["hits"]] for answer in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_questions_of_two_snapshots_in_one_batch_are_each_answered_from_their_own() -> None:
    """As while a new snapshot comes."""

    class Engine:
        def __init__(self, name: str) -> None:
            self.name = name

        def embed_many(self, queries: Sequence[Query]) -> list[str]:
            return [f"{query.text} in {self.name}" for query in queries]

    def state(name: str) -> Any:
        return ServingState(Snapshot(Path(name), {}), cast(Any, Engine(name)), cast(Any, None))

    words, old, new = QueryWords(size=4, wait=0.0), state("the old"), state("the new")
    asked = [(old, "red"), (new, "blue"), (old, "green")]
    answers = words._embed_batch([(each, Query(text=text)) for each, text in asked])
    words.close()
    told: list[Any] = [vectors for vectors, _ in answers]
    assert told == ["red in the old", "blue in the new", "green in the old"]


def test_a_word_that_cannot_be_read_fails_by_itself(built_data_dir: DataDir) -> None:
    with serving(built_data_dir.root) as client:
        assert client.post("/v1/search", content=b'{"tags": ["\\ud800"]}').status_code == 422
        assert client.post("/v1/search", json=questions()[0]).status_code == 200


def test_a_service_reads_words_on_the_device_of_its_settings(
    built_data_dir: DataDir, encoders: Counted
) -> None:
    with serving(built_data_dir.root, device="cpu") as client:
        assert client.post("/v1/search", json=questions()[0]).status_code == 200
    assert encoders.devices == ["cpu"]


def test_a_command_reads_words_on_the_device_that_it_is_told(
    built_data_dir: DataDir, encoders: Counted
) -> None:
    lookup = Lookup(built_data_dir, max_bytes=1, max_pixels=1, device="cpu")
    lookup.ask(Question(tags=(QueryTag("crimson"),)))
    assert encoders.devices == ["cpu"]


def test_a_reindex_reads_names_on_the_device_that_it_is_told(built_copy: DataDir, encoders: Counted) -> None:
    reindex(built_copy, device="cpu")
    assert encoders.devices == ["cpu"]
