"""How many pictures a second are encoded, with and without decoding them first.

    python benchmarks/encode_throughput.py FOLDER [--images 600] [--rounds 5]

`forward` encodes pictures that were decoded before; `end to end` reads, decodes, preprocesses and encodes
them as ingestion does (its own threads and batches). The two take turns, so that whatever else the machine
does falls on both. Each figure is the best round, beside the median, and the CPU time per picture of this
process, which other programs hardly touch: cores / that time is the rate of an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.images import decode
from app.ingest.parallel import ordered_map
from gnn.encoders.base import ImageEncoder
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER, image_encoder
from graph_store.arrays import AnyArray

BATCH = 32


def end_to_end(encoder: ImageEncoder, paths: list[Path]) -> None:
    """Files to features, decoding ahead of the encoder in threads."""

    def pixels(path: Path) -> AnyArray:
        return encoder.preprocess(decode(path.read_bytes()).image)

    batch: list[AnyArray] = []
    for one in ordered_map(pixels, paths, workers=os.cpu_count() or 1, ahead=2 * BATCH):
        batch.append(one)
        if len(batch) == BATCH:
            encoder.encode(np.stack(batch))
            batch.clear()
    if batch:
        encoder.encode(np.stack(batch))


def forward(encoder: ImageEncoder, pixels: AnyArray) -> None:
    """Pixels to features."""
    for start in range(0, len(pixels), BATCH):
        encoder.encode(pixels[start : start + BATCH])


def measure(work: Callable[[], None], images: int) -> tuple[float, float]:
    """Images a second, and CPU milliseconds an image."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return images / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / images


def main() -> None:
    """Print both figures and their ratio, as lines and as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default=DEFAULT_IMAGE_ENCODER)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    paths = sorted(path for path in options.folder.iterdir() if path.is_file())[: options.images]
    if not paths:
        parser.error(f"there are no files in {options.folder}")
    encoder = image_encoder(options.encoder)
    decoded = np.stack([encoder.preprocess(decode(path.read_bytes()).image) for path in paths])
    works: dict[str, Callable[[], None]] = {
        "forward": lambda: forward(encoder, decoded),
        "end to end": lambda: end_to_end(encoder, paths),
    }
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    forward(encoder, decoded[:BATCH])  # memory is allocated in the first call
    for _ in range(options.rounds):
        for name, work in works.items():
            rounds[name].append(measure(work, len(paths)))

    figures = {
        name: {
            "best": max(rate for rate, _ in measured),
            "median": statistics.median(rate for rate, _ in measured),
            "cpu_ms": statistics.median(cpu for _, cpu in measured),
        }
        for name, measured in rounds.items()
    }
    for name, figure in figures.items():
        print(
            f"{name:>10}: {figure['best']:6.0f} images/s at best, {figure['median']:6.0f} in the median,"
            f" {figure['cpu_ms']:5.2f} ms of CPU each"
        )
    ratio = figures["end to end"]["best"] / figures["forward"]["best"]
    print(f"end to end is {ratio:.0%} of forward ({len(paths)} images, {os.cpu_count()} cores)")
    print(json.dumps({"images": len(paths), "cores": os.cpu_count(), "ratio": ratio, **figures}))


if __name__ == "__main__":
    main()
