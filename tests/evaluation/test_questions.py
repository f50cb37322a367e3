"""Lining a catalogue up with the index, and the words that are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gnn.evaluation.protocol.words import carrying_share
from gnn.evaluation.questions import Questions, captions_of
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Systems
from gnn.evaluation.synonyms import SYNONYMS, synonym_queries
from gnn.evaluation.text_baseline import (
    TagsInText,
    TextOverTags,
    standing_rows,
    tune_share,
    tune_text_baseline,
)
from gnn.evaluation.words_run import words
from graph_store.arrays import Float32Array
from graph_store.errors import BadInput
from graph_store.records import ImageRecord, Tag


def record(name: str, row: int, *tags: str, **attributes: object) -> ImageRecord:
    return ImageRecord(name, tags=tuple(Tag(t) for t in tags), row=row, attributes=dict(attributes))


FEATURES = np.array([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]], dtype=np.float32)


def ask(**changes: object) -> Questions:
    given: dict[str, object] = {
        "index_ids": ["b", "a"],
        "known_tags": ["dog", "cat"],
        "train": [record("a", 0, "cat"), record("b", 1, "Dog", "cat")],
        "test": [record("q", 2, "dog", "unicorn")],
        "features": FEATURES,
    }
    return Questions.build(**{**given, **changes})  # type: ignore[arg-type]


def test_rows_follow_the_index_and_features_become_unit() -> None:
    questions = ask()
    assert_allclose(questions.index_features, [[0, 1], [1, 0]])
    assert_allclose(questions.query_features, [[0.6, 0.8]])
    assert questions.index_tags.tags_of(0).tolist() == [0, 1]
    assert questions.index_tags.tags_of(1).tolist() == [1]


def test_a_tag_that_only_held_out_images_carry_counts_but_is_not_known() -> None:
    questions = ask()
    assert questions.tag_names == ("dog", "cat", "unicorn")
    assert questions.num_known_tags == 2
    assert questions.query_tags.sizes().tolist() == [2]
    assert questions.known_query_tags.sizes().tolist() == [1]


def test_a_catalogue_without_a_test_split_is_told_how_to_get_one() -> None:
    with pytest.raises(BadInput, match="no test split") as error:
        ask(test=[])
    assert '"split": "test"' in error.value.hint


def test_an_index_that_is_older_than_the_catalogue_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"1 indexed images .* b for one"):
        ask(train=[record("a", 0, "cat")])


def test_too_many_queries_are_thinned_out_the_same_way_each_time() -> None:
    many = [record(str(i), 0, "cat") for i in range(20)]
    one, two = (ask(test=many, limit=5, seed=3) for _ in range(2))
    assert len(one.query_records) == 5
    assert one.query_records == two.query_records


def test_counts_come_from_attributes_and_a_tag_without_one_counts_once() -> None:
    questions = ask(
        train=[record("a", 0, "cat"), record("b", 1, "dog", "cat", counts={"Dog": 3})],
        test=[record("q", 2, "dog", counts={"dog": 2})],
    )
    found = questions.counts()
    assert not isinstance(found, str)
    assert found[0].toarray().tolist() == [[2, 0]]
    assert found[1].toarray().tolist() == [[3, 1], [0, 1]]
    assert "held-out" in str(ask().counts())


def test_captions_are_a_list_in_the_attributes_or_the_single_caption() -> None:
    assert captions_of(record("a", 0, captions=["one", "", 3, "two"])) == ("one", "two")
    assert captions_of(ImageRecord("a", caption="three")) == ("three",)
    assert captions_of(ImageRecord("a", caption=" ")) == ()


def test_synonyms_are_words_outside_the_vocabulary_for_tags_inside() -> None:
    pairs = synonym_queries(["Dog", "couch", "bike", "bicycle"])
    assert ("puppy", "Dog") in pairs
    assert ("sofa", "couch") in pairs
    assert not any(word in ("bike", "bicycle") for word, _ in pairs)
    # "pushbike" would stand for both bike and bicycle.
    assert not any(word == "pushbike" for word, _ in pairs)
    assert synonym_queries(["nothing known"]) == []


def test_no_tag_is_its_own_synonym() -> None:
    assert not any(tag in words or len(set(words)) < len(words) for tag, words in SYNONYMS.items())


def test_text_finds_images_through_the_nearest_tags() -> None:
    names = np.eye(3, dtype=np.float32)
    tags = TagTable.from_dense(np.array([[1, 0, 0], [0, 1, 0]], dtype=bool))
    baseline = TextOverTags.build(names, tags, k=1, sharpness=20.0)
    text = np.array([[0.6, 0.8, 0.0], [0.1, 0.0, 0.9]], dtype=np.float32)
    found = baseline.search(text, 10)
    assert found.shape == (2, 10)
    assert found[0, :3].tolist() == [1, 0, -1]
    # The nearest tag of the second text is carried by no image, so the next one speaks.
    assert found[1, 0] == 0


def test_the_text_baseline_takes_the_best_settings() -> None:
    names = np.eye(2, dtype=np.float32)
    tags = TagTable.from_dense(np.eye(2, dtype=bool))
    text = np.array([[0.0, 1.0]], dtype=np.float32)

    def quality(rows: np.ndarray) -> float:
        return float(carrying_share(rows, np.array([1]), tags, k=1).mean())

    assert quality(tune_text_baseline(names, tags, text, quality).search(text, 1)) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two dogs running.", {"dog", "run"}),
        ("The traffic lights", {"traffic light", "light"}),
        ("traffic, no lamp", set()),
        ("a bushy berry", {"berries"}),
        ("he is dancing", {"dance"}),
        ("a runner is as", set()),
        ("the dogged", {"dogged"}),
    ],
)
def test_tags_are_found_in_a_text_by_words_and_simple_stems(text: str, expected: set[str]) -> None:
    names = ("dog", "run", "traffic light", "light", "berries", "dance", "dogged", "!")
    (found,) = TagsInText(names)([text])
    assert {names[column] for column in np.flatnonzero(found)} == expected


def test_images_without_a_tag_of_the_text_are_ranked_by_the_nearest_tags() -> None:
    tags = TagTable.from_dense(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=bool))
    nearest = TextOverTags.build(np.eye(3, dtype=np.float32), tags, k=2, sharpness=5.0)
    texts = np.array([[0.0, 0.6, 0.8]] * 2, dtype=np.float32)
    standing = np.array([[1, 0, 0], [0, 0, 0]], dtype=np.float32)
    assert standing_rows(standing, nearest, texts, 1.0, 3).tolist() == [[0, 2, 1], [2, 1, 0]]

    shares = [
        tune_share(standing, nearest, texts, lambda rows, wanted=wanted: float(rows[0, 0] == wanted))  # type: ignore[misc]  # mypy cannot infer it
        for wanted in (0, 2)
    ]
    assert shares[0] > shares[1]


class Deaf:
    """A text encoder that hears no difference."""

    def encode_text(self, texts: list[str]) -> Float32Array:
        return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(texts), 1))


def test_captions_stand_beside_a_baseline_that_needs_no_encoder() -> None:
    tags = ("dog", "cat", "bird", "horse")
    shown = [(a, b) for a in tags for b in tags if a < b]
    questions = Questions.build(
        [str(i) for i in range(len(shown))],
        tags,
        [record(str(i), i, *each, captions=[f"A {each[0]} and {each[1]}s"]) for i, each in enumerate(shown)],
        [record("q", 0, "horse", captions=["horses"])],
        np.eye(len(shown), dtype=np.float32),
    )
    _, part = words(questions, {}, Deaf(), Systems(frozenset()), 0, True)  # type: ignore[arg-type]  # no spec
    found = {row.system: row.figures["nDCG@10, held out"].mean for row in part.rows}
    assert found["tags that stand in the text"] == found["both mixed"] == pytest.approx(1.0)
    assert found["text kNN over tags"] < 1
