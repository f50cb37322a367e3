"""Answers that do not come, for the routes of a page."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Route


def losing_the_first(tries: list[str]) -> Callable[[Route], None]:
    """A route on which the first request is lost and the others are answered. tries: gets their addresses."""

    def lose(route: Route) -> None:
        tries.append(route.request.url)
        if len(tries) == 1:
            route.abort()
        else:
            route.continue_()

    return lose
