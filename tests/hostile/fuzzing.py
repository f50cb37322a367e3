"""How long to fuzz: some seconds in `make test`, as long as it takes in `make chaos`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

TIMES = 50 if "IMSAGE_CHAOS" in os.environ else 1


def fuzzing(examples: int) -> Any:
    """Settings of a fuzz test: so many examples, fifty times as many in `make chaos`."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples * TIMES, suppress_health_check=slow)
