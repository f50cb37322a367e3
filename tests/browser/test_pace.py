"""What the page does when questions and answers come faster than the screen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

# A task that tells what happens to it, and is answered and shown when the test says so.
TASKS = """
const { Latest } = await import('/static/latest.js');
const told = [];
const latest = new Latest((busy) => told.push(busy ? 'busy' : 'at rest'));
const open = {};
const task = (name) => async (signal, answered) => {
  told.push(`${name} asked`);
  await new Promise((done) => { open[name] = { answer: () => { answered(); return done; }, done }; });
  if (signal.aborted) told.push(`${name} dropped`);
  signal.throwIfAborted();
  told.push(`${name} shown`);
};
const turn = () => new Promise((done) => setTimeout(done));
"""

CARDS = """
const { Grid } = await import('/static/grid.js');
const list = document.body.appendChild(document.createElement('ul'));
list.className = 'grid';
document.body.prepend(list);
const grid = new Grid(list, {});
const hit = (id) => ({ id, score: 1, visual: 0.5, conceptual: 0.5, tags: [] });
const gliding = () => list.getAnimations({ subtree: true })
  .filter((one) => one instanceof Animation && !(one instanceof CSSTransition)).length;
const rest = (ms) => new Promise((done) => setTimeout(done, ms));
grid.show(['a', 'b', 'c'].map(hit));
await rest(300);
"""


def told(visit: Visit, steps: str, setting: str = TASKS) -> Any:
    """What the steps return, run in the page after the setting."""
    page = visit.open("/")
    return page.evaluate(f"(async () => {{ {setting} {steps} }})()")


def test_the_next_question_is_asked_while_the_last_answer_waits_for_the_screen(visit: Visit) -> None:
    steps = """
    latest.queue(task('first'));
    latest.queue(task('dropped'));
    latest.queue(task('second'));
    const show = open.first.answer();
    await turn();
    show(); await turn();
    open.second.done(); await turn();
    return told.filter((words) => words !== 'busy');
    """
    assert told(visit, steps) == ["first asked", "second asked", "first shown", "second shown", "at rest"]


def test_an_answer_takes_the_place_of_an_older_one_that_is_not_shown_yet(visit: Visit) -> None:
    steps = """
    latest.queue(task('old'));
    latest.queue(task('new'));
    const late = open.old.answer();
    await turn();
    const show = open.new.answer();
    late(); await turn();
    show(); await turn();
    return told.filter((words) => words !== 'busy');
    """
    assert told(visit, steps) == ["old asked", "new asked", "old dropped", "new shown", "at rest"]


@pytest.mark.parametrize("end", ["latest.cancel()", "latest.replace(task('other'))"])
def test_another_question_drops_what_is_asked_and_what_is_not_shown_yet(visit: Visit, end: str) -> None:
    steps = f"""
    latest.queue(task('unshown'));
    latest.queue(task('asked'));
    const late = open.unshown.answer();
    await turn();
    {end};
    late(); open.asked.done(); await turn();
    return told.filter((words) => words.endsWith('dropped') || words.endsWith('shown'));
    """
    assert told(visit, steps) == ["unshown dropped", "asked dropped"]


def test_the_page_is_busy_until_the_last_answer_is_shown(visit: Visit) -> None:
    steps = """
    latest.queue(task('only'));
    const show = open.only.answer();
    await turn();
    const before = told.includes('at rest');
    show(); await turn();
    return [before, told.at(-1)];
    """
    assert told(visit, steps) == [False, "at rest"]


def test_cards_go_straight_to_their_places_when_orders_follow_faster_than_they_glide(
    moving_visit: Visit,
) -> None:
    moving_visit.expected_statuses.add(404)  # these cards have no thumbnails
    steps = """
    grid.show(['c', 'b', 'a'].map(hit));
    const first = gliding();
    grid.show(['a', 'c', 'b'].map(hit));
    const second = gliding();
    await rest(300);
    grid.show(['b', 'a', 'c'].map(hit));
    return [first > 0, second, gliding() > 0];
    """
    assert told(moving_visit, steps, CARDS) == [True, 0, True]
