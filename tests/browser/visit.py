"""One page in the browser, and all that goes wrong on it."""

from __future__ import annotations

import json
import time

from playwright.sync_api import ConsoleMessage, Page, Request, Response

STILL_FRAMES = 3
"""An answer leads to the next question within a frame: the page waits for one before it shows results."""
PATIENCE_SECONDS = 30
# The next frame of the page, and what was put off until after it, in JavaScript.
FRAME = "() => new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)))"


class Visit:
    """Collects console errors, exceptions, policy violations, failed and foreign requests, and searches."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.expected_statuses: set[int] = set()
        self.searches: list[Request] = []
        self.most_at_once = 0
        self._running = 0
        self._num_asked = 0
        self._on_the_way: set[Request] = set()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", self._asked)
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._answered)
        page.on("response", self._seen)
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )

    def open(self, address: str = "/") -> Page:
        """Goes to the address and waits until the page has asked all that it asks."""
        self.page.goto(self.url + address)
        self.be_quiet()
        return self.page

    def be_quiet(self) -> None:
        """Waits until nothing is on its way and nothing more is asked."""
        until = time.monotonic() + PATIENCE_SECONDS
        still = 0
        while still < STILL_FRAMES:
            asked = self._num_asked
            self.page.evaluate(FRAME)
            still = 0 if self._on_the_way or self._num_asked > asked else still + 1
            assert time.monotonic() < until, [request.url for request in self._on_the_way]

    def settle(self) -> None:
        """Waits until the results belong to what was asked last."""
        self.page.wait_for_selector("#results[aria-busy='false']", state="attached")

    def last_search(self) -> dict[str, object]:
        """The body of the latest search that was sent as JSON."""
        sent: dict[str, object] = json.loads(self.searches[-1].post_data or "{}")
        return sent

    def _heard(self, message: ConsoleMessage) -> None:
        # Chromium writes each failed request as an error; those are judged by their status in _seen.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"console: {message.text}")

    def _seen(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected_statuses:
            self.complaints.append(f"{response.status} from {response.url}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.complaints.append(f"foreign request: {request.url}")
        self._num_asked += 1
        self._on_the_way.add(request)
        if _is_search(request):
            self.searches.append(request)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)

    def _answered(self, request: Request) -> None:
        self._on_the_way.discard(request)
        if _is_search(request):
            self._running -= 1


def _is_search(request: Request) -> bool:
    return "/v1/search" in request.url
