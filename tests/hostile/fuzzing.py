"""How long to fuzz and to draw histories: seconds in `make test`, as long as it takes in `make chaos`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

CHAOS = float(os.environ.get("IMSAGE_CHAOS", 0))
"""1 in `make chaos`; 0.1 for a tenth of it."""

TIMES = max(1, round(50 * CHAOS))


def fuzzing(examples: int) -> Any:
    """Settings of a fuzz test: so many examples, fifty times as many in `make chaos`."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples * TIMES, suppress_health_check=slow)
