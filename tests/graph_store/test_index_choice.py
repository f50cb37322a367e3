"""Which index a catalogue gets, and what is said about it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from graph_store.index_choice import (
    COMPRESSED_FROM,
    FLAT_BELOW,
    IndexPolicy,
    UnknownIndex,
    WrongIndexMemory,
    choose_index,
    index_bytes,
)

DIM = 784
AUTO = IndexPolicy()


def test_a_small_catalogue_is_compared_whole() -> None:
    choice = choose_index(FLAT_BELOW - 1, DIM, AUTO)
    assert choice.kind == "flat"
    assert choice.reason == "19,999 images are fewer than 20,000, so all are compared."


def test_a_large_catalogue_that_fits_is_walked_by_links() -> None:
    choice = choose_index(FLAT_BELOW, DIM, AUTO)
    assert choice.kind == "hnsw"
    assert choice.reason == (
        "20,000 images are 20,000 or more and 66 MiB fit into the 4,096 MiB of index_memory."
    )


def test_a_catalogue_that_does_not_fit_is_compressed() -> None:
    choice = choose_index(3_000_000, DIM, AUTO)
    assert choice.kind == "ivfpq"
    assert choice.reason.startswith("hnsw would take 9,751 MiB for 3,000,000 images, more than the 4,096 MiB")
    assert "compressed they take" in choice.reason


def test_longer_vectors_are_compressed_sooner() -> None:
    assert choose_index(1_000_000, 784, AUTO).allows("hnsw")
    assert not choose_index(1_000_000, 2048, AUTO).allows("hnsw")


def test_a_small_catalogue_is_compressed_where_memory_is_smaller_still() -> None:
    choice = choose_index(10_000, DIM, IndexPolicy(memory=10))
    assert choice.kind == "ivfpq"
    assert choice.reason.startswith("flat would take 30 MiB for 10,000 images, more than the 10 MiB")


def test_memory_without_a_limit_never_needs_codes() -> None:
    choice = choose_index(1_000_000_000, DIM, IndexPolicy(memory=0)).settled("hnsw")
    assert choice.kind == "hnsw"
    assert "fit into memory without a limit; " in choice.reason


def test_where_nothing_fits_the_smallest_is_made_and_the_setting_named() -> None:
    choice = choose_index(1_000_000, DIM, IndexPolicy(memory=1))
    assert choice.kind == "ivfpq"
    assert choice.reason.endswith("so raise index_memory.")


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivfpq"])
def test_a_kind_that_is_asked_for_is_made(kind: str) -> None:
    choice = choose_index(50_000, DIM, IndexPolicy(kind))  # type: ignore[arg-type]
    assert (choice.kind, choice.reason) == (kind, f"The setting index asks for {kind}.")


def test_a_kind_that_is_asked_for_is_made_beyond_the_memory_too_and_that_is_said() -> None:
    choice = choose_index(100_000, DIM, IndexPolicy("flat", 100))
    assert choice.kind == "flat"
    assert choice.reason == (
        "The setting index asks for flat, which takes 300 MiB for 100,000 images, more than the 100 MiB of"
        " index_memory."
    )


def test_a_compressed_index_of_a_hundred_thousand_is_judged_at_less_than_300_bytes_an_image() -> None:
    for dim in (24, 384, 784, 1280, 4096):
        assert index_bytes("ivfpq", 100_000, dim) < 100_000 * (300 if dim <= 784 else 400)


def test_the_same_choice_is_described_as_json() -> None:
    choice = choose_index(5, 8, AUTO)
    assert choice.to_dict() == {"kind": "flat", "reason": choice.reason}


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UnknownIndex, match=r"no index 'tree'.*auto, flat, hnsw, ivfpq"):
        IndexPolicy("tree")  # type: ignore[arg-type]


def test_less_memory_than_none_is_refused() -> None:
    with pytest.raises(WrongIndexMemory, match=r"-5 MiB.*0 for no limit"):
        IndexPolicy(memory=-5)


def test_settings_are_read_without_loading_faiss() -> None:
    code = "import sys, app.settings; print('faiss' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_very_large_catalogue_is_compressed_if_a_search_then_reads_little() -> None:
    choice = choose_index(COMPRESSED_FROM, DIM, AUTO)
    assert choice.kind == "ivfpq"
    assert choice.reason == "Of 250,000 compressed images a search reads at most 20,000."
    assert choice.otherwise is not None
    assert choice.otherwise.kind == "hnsw"
    assert choice.otherwise.reason == (
        "250,000 images are 20,000 or more and 813 MiB fit into the 4,096 MiB of index_memory; of 250,000"
        " compressed images a search reads more than 20,000."
    )


def test_a_choice_between_two_is_settled_by_what_was_made() -> None:
    choice = choose_index(COMPRESSED_FROM, DIM, AUTO)
    assert [kind for kind in ("flat", "hnsw", "ivfpq", "hash") if choice.allows(kind)] == ["hnsw", "ivfpq"]
    for kind in ("hnsw", "ivfpq"):
        settled = choice.settled(kind)
        assert (settled.kind, settled.otherwise) == (kind, None)
        assert settled.settled(kind) == settled


def test_a_choice_is_told_without_what_it_was_not() -> None:
    choice = choose_index(COMPRESSED_FROM, DIM, AUTO)
    assert choice.to_dict() == {"kind": "ivfpq", "reason": choice.reason}
