"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, str | int | None]:
    """Cores, processor and Python."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    return {"cores": os.cpu_count(), "processor": processor, "python": platform.python_version()}
