"""The page of commands lists the options of every recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnn.presets import PRESETS
from gnn.recipe_options import OPTIONS, options_of

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_listed_with_the_presets_that_have_it(name: str) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    having = [preset for preset in PRESETS.values() if name in options_of(preset)]
    listed = row.split("|")[2].strip()
    assert listed == ("all" if len(having) == len(PRESETS) else ", ".join(each.name for each in having))
