"""Cost against size: generated catalogues of 10,000, 100,000 and a million pictures, trained on, indexed,
served.

    python -m benchmarks.scale --cache C [--sizes 10000,100000] [--quick] [--json FILE] [--plots DIR]

Each step is a process of its own (:mod:`benchmarks.scale.steps`). What has been measured is kept in the cache
and not measured again, so an interrupted run goes on; figures of another state of the code are measured
again. Data directories are removed when their size is done.
`--quick` takes 5,000 and 20,000 pictures and some minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.load.machine import machine
from benchmarks.scale.report import draw, table
from benchmarks.scale.steps import STEPS
from benchmarks.state import code_state

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (5_000, 20_000)
COMPARED_UP_TO = 200_000
"""A second full reindex of larger catalogues takes longer than all that it tells."""


def measured(step: str, data: Path, images: int) -> dict[str, Any]:
    """The figures of one step. Ends the program when it fails."""
    command = [sys.executable, "-m", "benchmarks.scale.steps", step]
    done = subprocess.run(
        [*command, "--data", str(data), "--images", str(images)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"Step {step} of {images:,} images failed.")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(images: int, cache: Path) -> dict[str, Any]:
    """All steps of one size, those that the cache holds left out."""
    kept, data = cache / f"{images}.json", cache / f"data-{images}"
    code = code_state()
    cached: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"code": code, "steps": {}}
    if cached.get("code") != code:
        of = cached.get("code", "an unknown state")
        print(f"{images:,}: the figures are of {of}, so all are measured again.", file=sys.stderr, flush=True)
        cached = {"code": code, "steps": {}}
    figures: dict[str, Any] = cached["steps"]
    for step in STEPS:
        if step in figures or (step == "compare" and images > COMPARED_UP_TO):
            continue
        if step == "generate":
            shutil.rmtree(data, ignore_errors=True)
        figures[step] = measured(step, data, images)
        print(f"{images:,} {step}: {figures[step]}", file=sys.stderr, flush=True)
        kept.write_text(json.dumps(cached, indent=2))
    shutil.rmtree(data, ignore_errors=True)
    return figures


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="keeps data directories and figures")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="how many pictures, by commas")
    parser.add_argument("--quick", action="store_true", help="two small sizes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--plots", type=Path, help="also draw cost and memory against size into this folder")
    asked = parser.parse_args()
    sizes = QUICK_SIZES if asked.quick else tuple(int(size) for size in asked.sizes.split(","))
    asked.cache.mkdir(parents=True, exist_ok=True)
    found = {images: measure(images, asked.cache) for images in sizes}
    if asked.json:
        asked.json.write_text(
            json.dumps({"machine": machine(), "code": code_state(), "sizes": found}, indent=2),
            encoding="utf-8",
        )
    if asked.plots:
        draw(found, asked.plots)
    print(table(found))


if __name__ == "__main__":
    main()
