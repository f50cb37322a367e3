"""The plan for large catalogues stands on measured figures, and its formulas hold where those are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.serving_state import _KEPT_OLD_STATES
from benchmarks import plan
from gnn.hashing.codes import LENGTHS, LOOKS_BITS
from graph_store.index_choice import IndexPolicy, choose_index
from graph_store.pq_layout import compressed_bytes

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("slope", plan.SLOPES, ids=lambda slope: slope.what)
def test_every_slope_is_on_the_page_that_it_names(slope: plan.Slope) -> None:
    page = " ".join((DOCS / slope.page).read_text(encoding="utf-8").split())
    assert slope.words in page
    said = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", slope.words)]
    assert slope.value in [slope.times * number for number in said]


def test_the_page_shows_what_the_script_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["plan"])
    plan.main()
    assert capsys.readouterr().out in (DOCS / "scale.md").read_text(encoding="utf-8")


def test_the_formulas_give_what_was_measured_at_the_size_that_was_measured() -> None:
    small, million = plan.MEASURED_AT, plan.MILLION
    assert plan.growth(small) == plan.growth(million, million) == 1
    assert plan.answers_a_core(small) == plan.ANSWERS.value
    assert plan.encode_core_seconds(186, plan.FLOAT) == 2  # two cores, one second
    assert plan.reindex_core_seconds(million) == plan.REINDEX.value
    assert plan.linking_core_seconds(million) == plan.REINDEX_LINKS.value
    for of_plan, seconds in ((plan.TRAINING, 160), (plan.TRAINING_MILLION, 319), (plan.REINDEX, 395)):
        assert of_plan.value == 2 * seconds  # as the page tells it, of two cores
    trained = plan.training_core_seconds(small), plan.training_core_seconds(million)
    assert trained == pytest.approx((plan.TRAINING.value, plan.TRAINING_MILLION.value))
    own = plan.reindex_bytes(small) / 2**30, plan.reindex_bytes(million) / 2**30
    assert own == pytest.approx((plan.OWN.value, plan.OWN_MILLION.value))
    resident = plan.reindex_bytes(million, plan.RESIDENT, plan.RESIDENT_MILLION)
    assert resident / 2**30 == pytest.approx(plan.RESIDENT_MILLION.value)


def test_the_page_gives_for_a_million_what_was_measured_of_a_million() -> None:
    rows = {line.split("|")[1].strip(): line for line in plan.text().splitlines() if line.startswith("|")}
    assert next(iter(plan.SIZES)) == "1 million"
    first = {name.partition(":")[0]: line.split("|")[3] for name, line in rows.items()}
    assert float(first["full reindex, codes"].split("/")[0]) == pytest.approx(2 * 395 / 3600, abs=5e-4)
    assert float(first["training, preset `default`"].split("/")[0]) == pytest.approx(2 * 319 / 3600, abs=5e-4)
    assert float(first["memory of a reindex with codes, its own"].split()[0]) == pytest.approx(
        2.2 * 2**30 / 1e9, abs=5e-3
    )


def test_each_part_grows_as_it_is_said_to() -> None:
    assert plan.searched_bytes(10**9) == pytest.approx(10 * plan.searched_bytes(10**8))
    assert plan.reindex_core_seconds(10**9) == pytest.approx(10**1.19 * plan.reindex_core_seconds(10**8))
    assert plan.linking_core_seconds(10**12) == pytest.approx(2e6 * plan.linking_core_seconds(10**6))
    assert plan.answers_a_core(10**10) == pytest.approx(plan.answers_a_core(10**5) / 2)
    one, two, three = (plan.training_core_seconds(n * 10**8) for n in (1, 2, 3))
    assert three - two == pytest.approx(two - one) and two < 2 * one


def test_a_replica_has_room_for_what_each_worker_holds_of_the_states_that_it_keeps() -> None:
    million, hundred = plan.MILLION, 10**8
    grown = plan.worker_bytes(million, 178) / 2**30  # codes of 640 numbers, as they were measured
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert "| of that its own, GiB | 0.7 | 0.7 | 1.2 | |" in page
    assert grown == pytest.approx(1.2 - 0.7, abs=0.05)
    assert plan.Assumed().states_held == _KEPT_OLD_STATES + 1
    assert plan.worker_bytes(hundred, plan.CODED_INDEX.value) / 1e9 == pytest.approx(58, abs=1)
    assert plan.worker_bytes(hundred, plan.CODES.value) / 1e9 == pytest.approx(42, abs=1)
    for codes, dim in ((plan.CODED_INDEX, 784), (plan.NEAR_CODES, 256)):
        assert compressed_bytes(hundred, dim) / hundred == pytest.approx(codes.value, abs=1)


def test_hnsw_of_many_images_wants_the_memory_that_the_page_says() -> None:
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    assert "full at 1.26 million images of 784 numbers" in page and "335,000 at 100 million" in page
    assert choose_index(1_255_000, 784, IndexPolicy()).allows("hnsw")
    assert not choose_index(1_265_000, 784, IndexPolicy()).allows("hnsw")
    assert choose_index(10**8, 784, IndexPolicy(memory=335_000)).allows("hnsw")


def test_codes_of_the_preset_hash_are_as_long_as_the_code_makes_them() -> None:
    assert 8 * plan.CODES.value == LENGTHS[-1] + LOOKS_BITS


def test_other_assumptions_change_what_rests_on_them_and_nothing_else() -> None:
    usual = plan.text().splitlines()
    dear = plan.text(plan.Assumed(core_hour=0.08)).splitlines()
    changed = [line.split("|")[1].strip() for line, other in zip(usual, dear, strict=True) if line != other]
    assert len(changed) == 3 and all(each.startswith("cost of") for each in changed)
