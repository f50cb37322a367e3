"""Words become edges to tags: by name, by meaning, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn.encoders.base import TextEncoder
from gnn.encoders.registry import text_encoder
from gnn.words import TagEdge, Words, merged, name_vectors
from graph_store.errors import BadInput

NAMES = ("Café", "car", "dog", "hot dog", "red", "sofa", "किताब")


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return text_encoder("minilm", threads=1)


@pytest.fixture(scope="module")
def words(encoder: TextEncoder) -> Words:
    return Words(NAMES, name_vectors(encoder, NAMES), encoder)


@pytest.fixture(scope="module")
def silent() -> Words:
    """Without a text encoder."""
    return Words(NAMES, np.zeros((len(NAMES), 4), np.float32), None)


def named(edges: list[TagEdge]) -> set[str]:
    return {NAMES[edge.tag] for edge in edges}


@pytest.mark.parametrize(
    ("asked", "tag"),
    [
        ("dog", "dog"),
        ("DOG", "dog"),
        (" Dog ", "dog"),
        ("hot  DOG", "hot dog"),
        ("CAFÉ", "Café"),
        ("cafe\u0301", "Café"),
    ],
)
def test_a_known_name_is_found_whatever_its_case_and_spacing(silent: Words, asked: str, tag: str) -> None:
    (edge,) = silent.tag(asked, 0.5)
    assert (NAMES[edge.tag], edge.weight, edge.asked_as) == (tag, 0.5, asked)


@pytest.mark.parametrize("text", ["a dog on a red sofa " * 40, "https://example.org/" + "x" * 400])
def test_a_text_that_is_too_long_for_a_tag_is_read_as_a_description(words: Words, text: str) -> None:
    assert words.text(text.strip())


def test_a_text_that_composing_makes_longer_than_a_tag_is_read_as_a_text(words: Words) -> None:
    """These letters have no composed form: two characters stand for each."""
    assert words.text("\u0958" * 200)


@given(asked=st.sampled_from(["puppy", "automobile", "couch", "xyzzy", "crimson"]), weight=st.floats(0.01, 9))
def test_the_weights_of_a_word_by_meaning_add_up_to_what_was_asked(
    words: Words, asked: str, weight: float
) -> None:
    edges = words.tag(asked, weight)
    assert sum(edge.weight for edge in edges) == pytest.approx(weight, rel=1e-5)
    assert all(edge.weight > 0 and edge.asked_as == asked for edge in edges)
    assert len({edge.tag for edge in edges}) == len(edges)


@pytest.mark.parametrize(
    ("asked", "meant"), [("puppy", "dog"), ("automobile", "car"), ("couch", "sofa"), ("crimson", "red")]
)
def test_a_word_nobody_tagged_with_leads_to_the_tag_nearest_in_meaning(
    words: Words, asked: str, meant: str
) -> None:
    assert NAMES[max(words.tag(asked), key=lambda edge: edge.weight).tag] == meant


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a red sofa by a window", {"red", "sofa"}),
        ("red sofa", {"red", "sofa"}),
        ("a HOT DOG, please", {"hot dog"}),
        ("a hot dog and a dog", {"hot dog", "dog"}),
        ("dog dog dog", {"dog"}),
        ("in the café!", {"Café"}),
        ("in the cafe\u0301!", {"Café"}),
        ("एक किताब।", {"किताब"}),
        ("'red', -dog-", {"red", "dog"}),
        ("red-car dogs", set()),
    ],
)
def test_without_an_encoder_free_text_is_the_tags_that_stand_in_it(
    silent: Words, text: str, tags: set[str]
) -> None:
    if not tags:
        with pytest.raises(BadInput, match="no text encoder"):
            silent.text(text)
        return
    edges = silent.text(text)
    assert named(edges) == tags and len(edges) == len(tags)
    assert {edge.weight for edge in edges} == {1.0}


def chances(edges: list[TagEdge]) -> dict[str, float]:
    return {NAMES[edge.tag]: edge.chance for edge in edges}


def test_a_description_that_names_no_tag_leads_to_several_by_meaning(words: Words) -> None:
    edges = words.text("somewhere to sit in the living room")
    assert max(edges, key=lambda edge: edge.weight).tag == NAMES.index("sofa")
    assert sum(edge.weight for edge in edges) > 1
    assert all(0 < edge.chance <= 1 and edge.weight == edge.chance for edge in edges)


def test_a_description_speaks_of_more_than_the_tags_that_stand_in_it(words: Words) -> None:
    told = chances(words.text("a puppy sleeps on the sofa of a coffee bar"))
    assert told["sofa"] == 1.0
    assert 0 < told["dog"] < 1 and told["dog"] > told.get("red", 0.0)
    assert all(edge.weight == 1.0 for edge in words.text("a dog on a sofa") if edge.chance == 1.0)


@pytest.mark.parametrize("text", ["dog", "hot dog", " Hot  DOG ", "café"])
def test_a_text_that_is_the_name_of_a_tag_means_that_tag_and_no_other(words: Words, text: str) -> None:
    (edge,) = words.text(text)
    assert (edge.weight, edge.chance) == (1.0, 1.0)


def test_a_name_made_of_tags_means_some_of_each_and_most_what_it_means_as_a_whole(words: Words) -> None:
    told = chances(words.text("red sofa"))
    assert told["red"] >= 0.125 and told["sofa"] >= 0.125
    assert sum(told.values()) == pytest.approx(1.0, rel=1e-5)


def test_a_name_that_a_tag_is_only_a_part_of_is_read_as_a_whole(words: Words) -> None:
    told = chances(words.text("hot sausage bun"))
    assert max(told, key=told.__getitem__) == "hot dog"


@given(asked=st.sampled_from(["puppy", "automobile", "couch", "crimson settee", "red sofa"]))
def test_the_chances_of_a_name_add_up_to_one(words: Words, asked: str) -> None:
    assert sum(edge.chance for edge in words.text(asked)) == pytest.approx(1.0, rel=1e-5)


def test_without_an_encoder_an_unknown_word_is_refused_with_a_way_out(silent: Words) -> None:
    with pytest.raises(BadInput, match=r"'puppy' is no tag.*no text encoder") as refused:
        silent.tag("puppy")
    assert refused.value.hint


def test_a_graph_without_tags_has_nothing_to_lead_to(encoder: TextEncoder) -> None:
    empty = Words((), np.zeros((0, encoder.spec.dim), np.float32), encoder)
    assert empty.tag("dog") == empty.text("a dog") == []


EDGES = st.lists(
    st.builds(TagEdge, st.integers(0, 3), st.floats(0.1, 5), st.sampled_from(["puppy", "dog"])), max_size=12
)


@given(EDGES)
def test_merging_keeps_the_weight_of_each_tag_and_lists_it_once(edges: list[TagEdge]) -> None:
    together = merged(edges)
    assert [edge.tag for edge in together] == sorted({edge.tag for edge in edges})
    for one in together:
        weight = sum(edge.weight for edge in edges if edge.tag == one.tag)
        assert one.weight == pytest.approx(weight, rel=1e-9)


@given(EDGES, st.randoms(use_true_random=False))
def test_the_order_of_asking_does_not_matter(edges: list[TagEdge], random: object) -> None:
    shuffled = list(edges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merged(shuffled) == merged(edges)


def test_names_are_read_one_by_one_whatever_stands_beside_them(encoder: TextEncoder) -> None:
    together = name_vectors(encoder, NAMES)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for name, vector in zip(NAMES, together, strict=True):
        assert np.allclose(name_vectors(encoder, [name])[0], vector, atol=1e-4)


def test_a_word_that_is_near_several_tags_leads_to_more_than_one_of_them(words: Words) -> None:
    edges = words.tag("motor vehicle dog")
    assert {"dog", "car"} <= named(edges)
