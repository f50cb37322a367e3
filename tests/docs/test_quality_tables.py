"""The tables of docs/quality.md are put between its marks from what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs.quality_tables import MARKS, renewed
from gnn.evaluation.run import ORDER

PAGE = Path(__file__).parents[2] / "docs" / "quality.md"
MADE = {"about", "seeds", "captioned", "robustness", "ablations", "wrong", "hash", "gaps"}


def report(value: float) -> dict[str, object]:
    rows = [
        {"system": system, "kind": kind, "figures": {"R@5": {"value": of, "low": 0.0, "high": 1.0}}}
        for system, kind, of in (("MLP", "baseline", 0.4), ("default", "preset", value))
    ]
    return {"parts": [{"name": "tags", "rows": rows}]}


def between(name: str, outcomes: Path) -> str:
    page = renewed(f"before\n<!-- measured: {name} -->\nold\n<!-- end -->\nafter", outcomes)
    assert page.startswith("before\n") and page.endswith("\nafter") and "old" not in page
    return page


def test_a_table_takes_the_place_of_the_old_one_and_nothing_else_changes(tmp_path: Path) -> None:
    (tmp_path / "photos-0.json").write_text(json.dumps(report(0.5)))
    assert "| **default** | 0.500 (0.000-1.000) |" in between("tags", tmp_path)


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    assert "Not measured." in between("untagged", tmp_path)


def test_seeds_are_summed_up_by_mean_and_half_the_range(tmp_path: Path) -> None:
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        (tmp_path / f"photos-{seed}.json").write_text(json.dumps(report(value)))
    assert "| tags: R@5 | 0.600 ± 0.100 | 0.400 ± 0.000 |" in between("seeds", tmp_path)


def test_the_captioned_photos_have_a_table_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "photos-0.json").write_text(json.dumps(report(0.5)))
    assert "Not measured." in between("captioned", tmp_path)
    (tmp_path / "captioned-0.json").write_text(json.dumps(report(0.7)))
    assert "| tags: R@5 | 0.700 | 0.400 |" in between("captioned", tmp_path)


def test_what_the_page_says_of_single_seeds_comes_from_what_was_measured(tmp_path: Path) -> None:
    for seed, value in enumerate((0.75, 0.5)):
        shown = {"with the tag": {"value": value}}
        rows = [{"system": "default", "kind": "preset", "figures": shown}]
        found = {"seed": seed, "parts": [{"name": "contexts", "rows": rows}, {"name": "slider"}]}
        (tmp_path / f"photos-{seed}.json").write_text(json.dumps(found))
    page = between("gaps", tmp_path)
    assert "| figure | seed 0 | seed 1 |" in page
    assert "| contexts: share of results that lack the tag, default | 0.250 | 0.500 |" in page
    assert "| slider: Spearman(v, -nDCG@10), default | - | - |" in page


@pytest.mark.parametrize(("column", "found"), [(5, "R@5 on (.*?), and in"), (7, "F1 on (.*?)\\.\n")])
def test_the_page_names_all_catalogues_on_which_naming_is_behind(column: int, found: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (table,) = [each[0] for each in MARKS.finditer(page) if each[2] == "robustness"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "±" in line]
    gaps = {row[0]: float(row[column + 1].split()[0]) - float(row[column].split()[0]) for row in rows}
    behind = {name: round(gap, 3) for name, gap in gaps.items() if gap > 0}
    (bullet,) = re.findall(r"- In naming it is behind(?s:.*?)\n- ", page)
    (named,) = re.findall(found, bullet, re.DOTALL)
    assert set(re.findall(r"\*(.*?)\*", named)) == set(behind)
    if column == 5:
        assert f"by {min(behind.values())} to {max(behind.values())} R@5" in bullet


def test_every_mark_of_the_page_names_something_that_is_measured() -> None:
    names = {found[2] for found in MARKS.finditer(PAGE.read_text(encoding="utf-8"))}
    assert names and names <= MADE | set(ORDER)
