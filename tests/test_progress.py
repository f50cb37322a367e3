"""Progress bars: on a terminal they end complete; elsewhere there are none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from app.progress import RichProgress, terminal_progress
from graph_store.progress import SilentProgress


def bars() -> tuple[RichProgress, io.StringIO]:
    screen = io.StringIO()
    return RichProgress(Console(file=screen, force_terminal=True, width=120)), screen


def test_nothing_is_drawn_when_standard_error_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = terminal_progress()
    with progress.phase("Reading", 3) as advance:
        advance(3)

    assert isinstance(progress, SilentProgress)
    assert capsys.readouterr().err == ""


def test_a_phase_shows_its_name_and_how_much_is_done() -> None:
    progress, screen = bars()

    with progress.phase("Reading", 3) as advance:
        advance(1)
        advance(2)

    assert "Reading" in screen.getvalue()
    assert "3/3" in screen.getvalue()


def test_a_phase_of_unknown_length_ends_at_what_was_done() -> None:
    progress, screen = bars()

    with progress.phase("Reading") as advance:
        advance(7)

    assert "7/7" in screen.getvalue()


def test_phases_may_lie_inside_each_other_and_follow_each_other() -> None:
    progress, screen = bars()

    with progress.phase("Outer", 1) as outer, progress.phase("Inner", 2) as inner:
        inner(2)
        outer(1)
    with progress.phase("Next", 1) as advance:
        advance(1)

    assert all(name in screen.getvalue() for name in ("Outer", "Inner", "Next"))


def test_an_error_inside_a_phase_passes_and_leaves_the_terminal_usable() -> None:
    progress, screen = bars()

    with pytest.raises(KeyError), progress.phase("Reading", 3):
        raise KeyError("x")
    with progress.phase("Again", 1) as advance:
        advance(1)

    assert "1/1" in screen.getvalue()
