"""Adds to the OpenAPI description what holds for every call alike: keys, and limits that may be met."""

from __future__ import annotations

from typing import Any

from app.api.access import needed_scope
from app.api.problems import problem_responses

_SCHEME = "key"


def add_access(description: dict[str, Any]) -> None:
    """Complete the calls that need a key where keys are in use, in place."""
    schemes = description.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes[_SCHEME] = {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "An API key of `imsage keys create`. Needed as soon as there is one; "
            "what changes something needs the scope write, all else read."
        ),
    }
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            if needed_scope(method.upper(), path) is None:
                continue
            # {}: where there are no keys, none is needed.
            call["security"] = [{}, {_SCHEME: []}]
            for status, response in problem_responses(401, 403, 429, 503).items():
                call["responses"].setdefault(str(status), response)
            call["responses"] = dict(sorted(call["responses"].items()))
