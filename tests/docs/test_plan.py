"""The plan for large catalogues stands on measured figures, and its formulas hold where those are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import plan

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("slope", plan.SLOPES, ids=lambda slope: slope.what)
def test_every_slope_is_on_the_page_that_it_names(slope: plan.Slope) -> None:
    page = " ".join((DOCS / slope.page).read_text(encoding="utf-8").split())
    assert slope.words in page
    said = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", slope.words)]
    # As measured, or a core's share of it: there were two.
    assert slope.value in said or 2 * slope.value in said


def test_the_page_shows_what_the_script_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["plan"])
    plan.main()
    assert capsys.readouterr().out in (DOCS / "scale.md").read_text(encoding="utf-8")


def test_the_formulas_give_what_was_measured_at_the_size_that_was_measured() -> None:
    assert plan.growth(plan.MEASURED_AT) == 1
    assert plan.reindex_core_seconds(plan.MEASURED_AT) == plan.REINDEX.value
    assert plan.answers_a_core(plan.MEASURED_AT) == plan.ANSWERS.value
    assert plan.encode_core_seconds(186, plan.FLOAT) == 2  # two cores, one second


def test_what_is_n_log_n_grows_faster_than_what_is_linear() -> None:
    assert plan.searched_bytes(10**9) == pytest.approx(10 * plan.searched_bytes(10**8))
    assert plan.reindex_core_seconds(10**10) == pytest.approx(2e5 * plan.reindex_core_seconds(10**5))
    assert plan.answers_a_core(10**10) == pytest.approx(plan.answers_a_core(10**5) / 2)


def test_other_assumptions_change_what_rests_on_them_and_nothing_else() -> None:
    usual = plan.text().splitlines()
    dear = plan.text(plan.Assumed(core_hour=0.08)).splitlines()
    changed = [line.split("|")[1].strip() for line, other in zip(usual, dear, strict=True) if line != other]
    assert len(changed) == 3 and all(each.startswith("cost of") for each in changed)
