"""Attributes are changed as RFC 7396 has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.live.merge_patch import merged

# Appendix A: the original, the patch and the result. Left out is the patch that is null as a whole.
TABLE = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("original", "patch", "result"), TABLE)
def test_a_patch_does_what_the_rfc_says(original: str, patch: str, result: str) -> None:
    before, change, after = (json.loads(text) for text in (original, patch, result))
    # All three are the value of an attribute here, since those of a picture are an object in any case.
    assert merged({"kept": 1, "x": before}, {"x": change}) == {"kept": 1, "x": after}
    if all(isinstance(value, dict) for value in (before, change)):
        assert merged(before, change) == after
    assert before == json.loads(original), "it has been changed in place"


def test_what_was_no_object_becomes_one() -> None:
    before: dict[str, Any] = {"size": 3}
    assert merged(before, {"size": {"w": 1, "h": None}}) == {"size": {"w": 1}}
