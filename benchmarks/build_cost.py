"""What `imsage build` costs: minutes and the peak of resident memory, by step.

    python -m benchmarks.build_cost SOURCE [--encoder NAME] [--json FILE]

Ingests, trains and reindexes as `imsage build` does, each step a process of its own, so that each has a peak
of its own. The data directory is a temporary one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.load.machine import machine
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER

STEPS = ("ingest", "train", "reindex")


def cost(step: str, *arguments: str) -> dict[str, float]:
    """Seconds and the peak of resident memory in GiB of one command. Ends the program when it fails."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "app", step, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"imsage {step} failed with status {os.waitstatus_to_exitcode(status)}.")
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 1), "peak_gib": round(usage.ru_maxrss / 2**20, 2)}


def main() -> None:
    """Read the command line, build, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--encoder", default=DEFAULT_IMAGE_ENCODER)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for step in STEPS:
            brought = [str(options.source), "--encoder", options.encoder] if step == "ingest" else []
            found[step] = cost(step, *brought, "--data", folder)
    whole = {
        "seconds": round(sum(one["seconds"] for one in found.values()), 1),
        "peak_gib": max(one["peak_gib"] for one in found.values()),
    }
    text = json.dumps({"machine": machine(), "steps": found, "build": whole}, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
