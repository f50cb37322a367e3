"""What a whole question is given is what its nodes would be in the graph, for every preset and option that
changes the layers: with tags of unequal weights, and with tags that training has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.live.delta import Delta
from gnn.graph_index import GraphIndex, messages_of
from gnn.live import LiveEngine
from gnn.model.aggregate import full_states
from gnn.query import Attach, Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from gnn.trained_model import tag_numbers
from graph_store.arrays import Float32Array
from graph_store.catalog_changes import Change, Changes
from graph_store.csr import Csr
from graph_store.graph import Graph
from graph_store.records import ImageRecord, Tag
from tests.gnn.test_attachment import one_row, with_node
from tests.gnn.worlds import TAGS, data_of, drawn_features, drawn_tags, trained

NUM = 160
ALL_TAGS = (*TAGS, "crimson", "tiny")
ATOL = 1e-5
WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("default", {}),
    "paper": ("paper", {}),
    "graph-rise": ("graph-rise", {}),
    "graph-rise with attention": ("graph-rise", {"attention": "2"}),
}


@pytest.fixture(scope="module", params=WORLDS)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GraphIndex:
    """Images of before training, some of which have got two tags since: one means nearly what *red* does, the
    other is used beside *large*. No two tags of an image weigh the same.
    """
    rng = np.random.default_rng(4)
    chosen = drawn_tags(NUM)
    chosen[::9] = False
    later = np.stack([chosen[:, 4] & (rng.random(NUM) < 0.5), chosen[:, 3] & (rng.random(NUM) < 0.5)], axis=1)
    data, grown = data_of(chosen), data_of(np.concatenate([chosen, later], axis=1), ALL_TAGS)
    text = grown.tag_text.copy()
    text[: len(TAGS)] = data.tag_text
    text[6] = text[4] + 0.2 * text[6]
    text[6] /= np.linalg.norm(text[6])
    weights = [rng.uniform(0.1, 5, each.tags_of_image.num_edges).astype(np.float32) for each in (data, grown)]
    data, grown = (
        replace(each, tags_of_image=Csr(each.tags_of_image.indptr, each.tags_of_image.indices, weighed))
        for each, weighed in zip((data, grown), weights, strict=True)
    )
    preset, options = WORLDS[request.param]
    model = trained(data, tmp_path_factory.mktemp("model"), preset, **options)
    # What is guessed beside told tags is no part of the layers: tests/gnn/test_told_pictures.py is about it.
    model = replace(model, balance=replace(model.balance, guess=0.0))
    index = build_index(model, replace(grown, features=data.features, tag_text=text))
    assert tag_numbers(model, index.tag_names).tolist() == [0, 1, 2, 3, 4, 5, -1, -1]
    assert not model.preset.graph.related or index.graph.related.degrees()[6:].all()
    return index


def pictures(num: int) -> Float32Array:
    """[num, 24] unit norm: new ones."""
    return drawn_features(drawn_tags(num, seed=3), seed=3)


def node(
    index: GraphIndex, features: Float32Array, tags: Mapping[str, float], *, looks: bool = True
) -> tuple[Float32Array, Float32Array]:
    """The visual and the conceptual vector [dim] of a node of the graph with these features [24] and tags;
    looks: whether it has `similar` images.
    """
    how, graph, model = index.trained.preset.graph, index.graph, index.trained.model
    rows, cosines = index.neighbours.search(
        index.trained.space(features[None]), how.neighbours, how.threshold
    )
    found = rows[0] >= 0
    near = one_row(rows[0, found].tolist(), cosines[0, found].tolist()) if looks else Csr.empty(1)
    numbers = [index.tag_names.index(name) for name in tags]
    told = one_row(numbers, list(tags.values())) if tags else Csr.empty(1)
    grown = Graph(
        graph.num_images + 1,
        graph.num_tags,
        with_node(graph.similar, near),
        with_node(graph.tags_of_image, told),
        graph.images_of_tag,
        graph.related,
    )
    with torch.no_grad():
        states = full_states(
            model,
            messages_of(index.trained, grown),
            torch.from_numpy(np.concatenate([index.features, features[None]])),
            torch.from_numpy(index.tag_text),
            torch.from_numpy(tag_numbers(index.trained, index.tag_names)),
        )
        embedding = model.embed_images(states.images)[-1:].numpy()
        of_tags = model.embed_tags(states.tags).numpy()
    readout = QueryEngine(index)._readout
    weights = np.array(list(tags.values()), np.float32)
    mean = weights @ of_tags[numbers] / weights.sum() if tags else np.zeros(model.dim, np.float32)
    return (
        readout.visual(embedding)[0],
        readout.conceptual(embedding, lambda: mean[None], np.array([bool(tags)]))[0],
    )


TOLD = {"red": 2.0, "crimson": 0.5, "tiny": 0.25}
QUESTIONS: dict[str, tuple[tuple[float, ...], dict[str, float], Attach]] = {
    "a picture": ((1.0,), {}, "auto"),
    "a picture and tags": ((1.0,), TOLD, "auto"),
    "a picture and an unseen tag": ((1.0,), {"tiny": 1.0}, "mixed"),
    "a picture by its tags only": ((1.0,), TOLD, "tags"),
    "a picture by its looks only": ((1.0,), TOLD, "image"),
    "pictures and tags": ((2.0, 1.0), TOLD, "auto"),
    "pictures, one to be unlike": ((1.0, -0.5), {}, "auto"),
    "tags": ((), TOLD, "auto"),
}


def query_of(question: str) -> Query:
    weights, told, attach = QUESTIONS[question]
    tags = tuple(QueryTag(name, weight) for name, weight in told.items())
    return Query(pictures(len(weights)) if weights else None, weights, tags=tags, attach=attach)


def expected(index: GraphIndex, question: str) -> tuple[Float32Array, Float32Array]:
    """The mean over the question's nodes by the size of their weights."""
    weights, told, attach = QUESTIONS[question]
    if not weights:
        shown = (
            np.array(list(told.values()), np.float32)
            @ index.prototypes[[index.tag_names.index(name) for name in told]]
        )
        return node(index, shown / np.linalg.norm(shown), told, looks=False)
    parts = [
        node(index, features, {} if attach == "image" else told, looks=attach != "tags")
        for features in pictures(len(weights))
    ]
    shares = np.array(weights, np.float32) / np.abs(weights).sum()
    visual, conceptual = (shares @ np.stack(each) for each in zip(*parts, strict=True))
    return visual, conceptual


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_asked_with_what_its_nodes_would_be_in_the_graph(
    index: GraphIndex, question: str
) -> None:
    found = QueryEngine(index).embed(query_of(question))
    visual, conceptual = expected(index, question)
    np.testing.assert_allclose(found.visual, visual, atol=ATOL)
    np.testing.assert_allclose(found.conceptual, conceptual, atol=ATOL)


def test_so_are_many_questions_at_once(index: GraphIndex) -> None:
    engine = QueryEngine(index)
    for question, found in zip(
        QUESTIONS, engine.embed_many([query_of(question) for question in QUESTIONS]), strict=True
    ):
        visual, conceptual = expected(index, question)
        np.testing.assert_allclose(found.visual, visual, atol=ATOL, err_msg=question)
        np.testing.assert_allclose(found.conceptual, conceptual, atol=ATOL, err_msg=question)


def test_an_indexed_image_asks_with_what_it_is_in_the_graph(index: GraphIndex) -> None:
    engine = QueryEngine(index)
    carriers = index.graph.images_of_tag.row(6)[0]
    for row in (0, 1, int(carriers[0])):
        quick, attached = engine.embed(Query(indexed_row=row)), engine.embed_many([Query(indexed_row=row)])[0]
        np.testing.assert_allclose(quick.visual, attached.visual, atol=ATOL)
        np.testing.assert_allclose(quick.conceptual, attached.conceptual, atol=ATOL)


def test_a_picture_written_beside_the_snapshot_is_what_it_would_be_in_the_graph(index: GraphIndex) -> None:
    base, features = QueryEngine(index), pictures(2)
    told: tuple[dict[str, float], ...] = ({"red": 3.0, "crimson": 0.5}, {})
    changes = {
        f"new-{row}": Change(
            row + 1,
            ImageRecord(f"new-{row}", row=row, tags=tuple(Tag(*each) for each in tags.items())),
        )
        for row, tags in enumerate(told)
    }
    delta = Delta.empty(base, 0).after(base, Changes(len(told), changes), features)
    live = LiveEngine(base, delta.pictures)
    assert live.num_images == NUM + 2
    for place, tags in enumerate(told):
        row = live.row_of(f"new-{place}")
        assert row is not None
        asked = live.embed(Query(indexed_row=row))
        visual, conceptual = node(index, features[place], tags)
        np.testing.assert_allclose(asked.visual, visual, atol=ATOL)
        np.testing.assert_allclose(asked.conceptual, conceptual, atol=ATOL)
        question = live.embed(query_of("tags"))
        hits = live.search(question, 0.3, live.num_images)
        # Each preset's readout has said above what these vectors are; what is found is scored by them.
        (score,) = hits.score[hits.rows == row]
        assert score == pytest.approx(
            float(live.image_vectors(np.array([row]))[0] @ question.blend(0.3)), abs=ATOL
        )
