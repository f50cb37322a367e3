"""What a reindex costs after 1 % new pictures, beside a full one, and whether both give the same embeddings.

python -m benchmarks.incremental --images 50000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.generated import generate
from gnn.reindex import reindex
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.progress import SilentProgress


def main() -> None:
    """Generate, hide the last pictures, index, show them again, index both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--share", type=float, default=0.01)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = DataDir(Path(folder))
        generate(data_dir, asked.images)
        with Catalog.open(data_dir.catalog_path) as catalog:
            new = list(catalog.records("train"))[-round(asked.share * asked.images) :]
            catalog.delete([record.id for record in new])
        reindex(data_dir, full=True, progress=SilentProgress())
        with Catalog.open(data_dir.catalog_path) as catalog:
            catalog.upsert(new)
        seconds, work, embeddings, anew = [], [], [], []
        for full in (False, True):
            started, worked = time.perf_counter(), time.process_time()
            made = reindex(data_dir, full=full, progress=SilentProgress())
            seconds.append(time.perf_counter() - started)
            work.append(time.process_time() - worked)
            embeddings.append(np.asarray(made.array("embeddings")))
            anew.append(made.manifest["parameters"]["embedded_anew"])
    apart = float(np.abs(embeddings[0] - embeddings[1]).max())
    print(f"{asked.images:,} images, {len(new):,} of them new, {anew[0]:,} embedded again")
    for name, took in (("time", seconds), ("processor time", work)):
        print(f"{name}: {took[0]:.1f} s, full {took[1]:.1f} s, so {took[0] / took[1]:.1%} of it")
    print(f"embeddings at most {apart:.1e} apart")


if __name__ == "__main__":
    main()
