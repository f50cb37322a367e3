"""How long a job still takes."""

from __future__ import annotations

import pytest

from app.jobs.estimate import Pace, seconds_left
from app.jobs.tracker import Stopped, Tracker

EARLIER = [("start", 2.0), ("embed", 10.0), ("write", 5.0)]


def test_a_steady_pace_goes_on() -> None:
    pace = Pace()
    for second in range(11):
        pace.look(float(second), second * 5)

    assert pace.seconds_for(100) == 20.0


def test_a_leap_at_the_beginning_says_nothing_of_the_pace() -> None:
    pace = Pace()
    pace.look(0.0, 900)
    pace.look(10.0, 910)

    assert pace.seconds_for(90) == 90.0


def test_only_the_last_minute_counts() -> None:
    pace = Pace()
    for second in range(200):
        pace.look(float(second), 10 * min(second, 100) + max(0, second - 100))

    assert pace.seconds_for(60) == pytest.approx(60.0)


def test_without_any_progress_there_is_no_pace() -> None:
    pace = Pace()
    pace.look(0.0, 0)
    pace.look(10.0, 0)

    assert pace.seconds_for(1) is None


def test_the_phases_to_come_take_what_they_took_last_time() -> None:
    assert seconds_left("embed", 3.0, 8.0, EARLIER) == 13.0


def test_a_phase_without_a_pace_takes_what_it_took_last_time() -> None:
    assert seconds_left("embed", 4.0, None, EARLIER) == 11.0
    assert seconds_left("embed", 40.0, None, EARLIER) == 5.0


def test_without_an_earlier_job_only_this_phase_is_known() -> None:
    assert seconds_left("embed", 3.0, 8.0, []) == 8.0
    assert seconds_left("embed", 3.0, None, []) is None


def test_a_tracker_tells_the_phase_and_the_time_left() -> None:
    now = 0.0
    tracker = Tracker(EARLIER, clock=lambda: now)
    assert tracker.progress().phase == "start" and tracker.progress().seconds_left == 17.0

    now = 2.0
    with tracker.phase("embed", 100) as advance:
        tracker.progress()
        now = 6.0
        advance(40)
        told = tracker.progress()

    assert (told.phase, told.done, told.total, told.seconds_left) == ("embed", 40, 100, 11.0)
    assert tracker.phases() == [("start", 2.0), ("embed", 4.0)]


def test_a_phase_inside_another_is_not_shown() -> None:
    tracker = Tracker()
    with tracker.phase("embed", 3) as advance:
        with tracker.phase("detail", 50) as inner:
            inner(7)
        advance(1)

    assert (tracker.progress().phase, tracker.progress().done) == ("embed", 1)


def test_work_that_is_told_to_stop_stops_at_its_next_report() -> None:
    tracker = Tracker()
    with pytest.raises(Stopped) as stopped, tracker.phase("embed", 3) as advance:
        advance(1)
        tracker.stop("canceled")
        tracker.stop("interrupted")
        advance(1)

    assert stopped.value.reason == "canceled"
    with pytest.raises(Stopped), tracker.phase("write"):
        pytest.fail("it went on")
