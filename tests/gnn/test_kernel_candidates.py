"""The order of the search: a pure function of what has been measured."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from gnn.kernel_candidates import Candidate, Measured, best_candidate, margin_of, next_candidate

MOST = 50


def searched(qualities: list[float]) -> list[Measured]:
    """The whole search, when the i-th candidate has the i-th quality."""
    done: list[Measured] = []
    while (candidate := next_candidate(done)) is not None:
        done.append(Measured(candidate, qualities[len(done) % len(qualities)], 0.5))
        assert len(done) <= MOST, "the search does not end"
    return done


QUALITIES = st.lists(st.floats(0, 1), min_size=1, max_size=MOST)


def test_the_search_begins_with_the_usual_numbers() -> None:
    assert next_candidate([]) == Candidate()


@given(QUALITIES)
def test_no_candidate_is_measured_twice(qualities: list[float]) -> None:
    tried = [each.candidate for each in searched(qualities)]
    assert len(set(tried)) == len(tried) > 1


@given(QUALITIES)
def test_every_step_is_decided_by_the_steps_before_it_alone(qualities: list[float]) -> None:
    done = searched(qualities)
    for count in range(len(done)):
        assert next_candidate(done[:count]) == done[count].candidate
        assert next_candidate(list(done[:count])) == done[count].candidate


@given(QUALITIES)
def test_each_candidate_changes_one_number_of_the_best_before_it(qualities: list[float]) -> None:
    done = searched(qualities)
    for count in range(1, len(done)):
        ours = asdict(done[count].candidate)
        changes = [
            sum(ours[name] != value for name, value in asdict(each.candidate).items())
            for each in done[:count]
        ]
        assert min(changes) == 1


def test_a_number_that_helps_is_kept_for_the_rest_of_the_search() -> None:
    first = next_candidate([Measured(Candidate(), 0.5, 0.5)])
    assert first is not None
    changed = [name for name, value in asdict(first).items() if value != asdict(Candidate())[name]]
    done = searched([0.5, 0.9, *[0.1] * MOST])
    assert done[1].candidate == first
    others = [each.candidate for each in done[2:]]
    kept = [all(asdict(c)[name] == asdict(first)[name] for name in changed) for c in others]
    assert sum(kept) > len(kept) / 2


@given(QUALITIES)
def test_all_candidates_can_be_used(qualities: list[float]) -> None:
    for each in searched(qualities):
        assert each.candidate.ridge > 0 and each.candidate.length > 0
        assert each.candidate.neighbour_weight >= 0 and each.candidate.vote_weight >= 0


def finished(margin: float, qualities: list[float]) -> list[Measured]:
    """The whole search with a margin, when the i-th candidate has the i-th quality."""
    done: list[Measured] = []
    while (candidate := next_candidate(done, margin)) is not None:
        done.append(Measured(candidate, qualities[len(done) % len(qualities)], 0.5))
    return done


@given(st.lists(st.floats(0.5, 0.55), min_size=1, max_size=MOST))
def test_gains_within_the_margin_leave_the_usual_numbers_as_they_are(qualities: list[float]) -> None:
    done = finished(0.06, qualities)
    assert best_candidate(done, 0.06).candidate == Candidate()


def test_a_gain_beyond_the_margin_is_taken() -> None:
    done = finished(0.06, [0.5, 0.6, *[0.1] * MOST])
    assert best_candidate(done, 0.06) == done[1]


@given(QUALITIES)
def test_without_a_margin_no_neighbour_of_the_last_choice_was_better(qualities: list[float]) -> None:
    done = searched(qualities)
    best = asdict(best_candidate(done).candidate)
    for each in done:
        if sum(best[name] != value for name, value in asdict(each.candidate).items()) == 1:
            near_the_end = each.candidate.ridge != best["ridge"]
            assert not near_the_end or each.ndcg_at_5 <= best_candidate(done).ndcg_at_5


def test_fewer_views_ask_for_a_larger_gain() -> None:
    assert margin_of(50) > 2 * margin_of(500) > 0
