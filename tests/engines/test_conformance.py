"""One suite for every engine of a reindex: what the local one computes, all compute."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gnn.embedding import GraphStates, embed_graph
from gnn.engines.engine import EmbeddingWork, Engine, LocalEngine
from gnn.engines.ray_engine import RayEngine
from gnn.graph_index import GraphIndex, messages_of
from gnn.query import Query, QueryEngine
from gnn.reindex import build_index, reindex
from gnn.trained_model import tag_numbers
from gnn.training import train
from graph_store.array_files import new_mapped_array
from graph_store.arrays import Float32Array
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.graph import Graph
from graph_store.progress import Advance, SilentProgress
from tests.gnn.worlds import (
    TAGS,
    drawn_data,
    drawn_features,
    drawn_records,
    drawn_tags,
    trained,
    write_catalogue,
)

NUM = 90


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "local":
        return LocalEngine()
    request.getfixturevalue("cluster")
    return RayEngine(rows=32, edges=100)  # small, so that there are several parts


@pytest.fixture(scope="module", params=["default", "paper", "graph-rise"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GraphIndex:
    data = drawn_data(NUM)
    return build_index(trained(data, tmp_path_factory.mktemp(request.param), request.param, epochs=1), data)


def work_of(index: GraphIndex) -> EmbeddingWork:
    return EmbeddingWork(
        index.trained,
        messages_of(index.trained, index.graph),
        index.features,
        index.tag_text,
        tag_numbers(index.trained, index.tag_names),
    )


def embedded(engine: Engine, work: EmbeddingWork, folder: Path) -> GraphStates:
    def mapped(name: str, shape: tuple[int, int]) -> Float32Array:
        return new_mapped_array(folder / f"{name}.npy", shape)

    states = engine.embed(work, mapped, folder / "scratch", SilentProgress())
    shutil.rmtree(folder / "scratch", ignore_errors=True)  # what is kept must not lie there
    return states


def expected(work: EmbeddingWork) -> GraphStates:
    return embed_graph(work.trained.model, work.messages, work.features, work.tag_text, work.tag_numbers)


def assert_alike(states: GraphStates, wanted: GraphStates) -> None:
    for ours, theirs in zip(arrays_of(states), arrays_of(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def arrays_of(states: GraphStates) -> list[Float32Array]:
    return [*states.image_states, *states.tag_states, states.embeddings, states.tag_embeddings]


def test_an_engine_computes_the_states_of_all_nodes(
    engine: Engine, index: GraphIndex, tmp_path: Path
) -> None:
    work = work_of(index)
    assert_alike(embedded(engine, work, tmp_path), expected(work))


def test_what_an_engine_computed_is_in_the_files(engine: Engine, index: GraphIndex, tmp_path: Path) -> None:
    states = embedded(engine, work_of(index), tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings.npy"), states.embeddings)
    np.testing.assert_array_equal(np.load(tmp_path / "image_1.npy"), states.image_states[1])


def test_features_that_enter_as_they_are_are_not_held_open_in_another_file(
    engine: Engine, index: GraphIndex, tmp_path: Path
) -> None:
    work = work_of(index)
    if work.trained.model.images_enter_raw:
        assert embedded(engine, work, tmp_path).image_states[0] is work.features


def test_a_graph_without_tags_is_embedded(engine: Engine, index: GraphIndex, tmp_path: Path) -> None:
    work, graph = work_of(index), index.graph
    none = Graph(NUM, 0, graph.similar, Csr.empty(NUM), Csr.empty(0), Csr.empty(0))
    bare = replace(
        work,
        messages=messages_of(index.trained, none),
        tag_text=work.tag_text[:0],
        tag_numbers=work.tag_numbers[:0],
    )
    assert_alike(embedded(engine, bare, tmp_path), expected(bare))


def test_progress_reaches_its_end(engine: Engine, index: GraphIndex, tmp_path: Path) -> None:
    class Counting:
        done, total = 0, 0

        @contextmanager
        def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
            self.total += total or 0

            def advance(by: int) -> None:
                self.done += by

            yield advance

    progress = Counting()
    engine.embed(
        work_of(index),
        lambda name, shape: new_mapped_array(tmp_path / f"{name}.npy", shape),
        tmp_path / "s",
        progress,
    )
    assert progress.done == progress.total > 0


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """A catalogue with a trained model, not indexed yet."""
    chosen = drawn_tags(NUM)
    data_dir = write_catalogue(
        tmp_path_factory.mktemp("ready"), drawn_records(chosen), drawn_features(chosen)
    )
    train(data_dir, epochs=1)
    return data_dir


def test_a_snapshot_of_an_engine_answers_as_any_other(engine: Engine, ready: DataDir, tmp_path: Path) -> None:
    copy = DataDir(tmp_path / "copy")
    shutil.copytree(ready.root, copy.root)
    ours = reindex(copy, engine=engine)
    wanted = reindex(copy, full=True)
    assert set(ours.manifest["files"]) == set(wanted.manifest["files"])
    query = Query(images=drawn_features(np.array([[tag == "red" for tag in TAGS]]), seed=3))
    answers = []
    for snapshot in (ours, wanted):
        searcher = QueryEngine.open(snapshot)
        answers.append(searcher.search(searcher.embed(query), 0.5, 10))
    np.testing.assert_array_equal(answers[0].rows, answers[1].rows)
    np.testing.assert_allclose(answers[0].score, answers[1].score, atol=1e-5)
