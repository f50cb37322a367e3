"""The documentation says what the code does: settings, commands, calls, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import generate

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize(("file", "part"), generate.GENERATED.items())
def test_generated_parts_are_up_to_date(file: str, part: str) -> None:
    text = (generate.DOCS / file).read_text(encoding="utf-8")

    written = generate.between_markers(text, part)[1]
    assert written == generate.generated(part), "run `python -m docs.generate`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))

    assert not [target for target in targets if not (page.parent / target).exists()]


def test_the_readme_names_every_page_of_the_documentation() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert not [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme]
