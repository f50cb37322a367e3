"""One page in the browser, and all that goes wrong on it."""

from __future__ import annotations

import json

from playwright.sync_api import ConsoleMessage, Page, Request, Response


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
        self.page.wait_for_load_state("networkidle")
        return self.page

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
        if _is_search(request):
            self.searches.append(request)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)

    def _answered(self, request: Request) -> None:
        if _is_search(request):
            self._running -= 1


def _is_search(request: Request) -> bool:
    return "/v1/search" in request.url
