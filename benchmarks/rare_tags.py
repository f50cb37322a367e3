"""Whether a tag finds the images that carry it, by how many do, on the index of a data directory.

    python -m benchmarks.rare_tags --data D [--tags 120]

Each tag is asked for alone, for as many results as carry it, 20 at most: the share of these that do, in the
mean over the tags of a line, for the slider at the end of concepts and in its middle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gnn.query import Query, QueryEngine
from gnn.query_types import QueryTag
from graph_store.arrays import Int64Array
from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot

CARRIERS = ((1, 1), (2, 3), (4, 9), (10, 30), (31, 100), (101, 1000))
STOPS = (0.0, 0.5)
MOST_RESULTS = 20


def share_found(engine: QueryEngine, tags: Int64Array, visual_weight: float) -> float:
    """The mean over these tags of how many of the first results carry the tag."""
    shares = []
    for tag in tags.tolist():
        carriers = engine.carried.of_tag.row(tag)[0]
        asked = engine.embed(Query(tags=(QueryTag(engine.tag_names[tag]),)))
        found = engine.search(asked, visual_weight, min(len(carriers), MOST_RESULTS))
        shares.append(float(np.isin(found.rows, carriers).mean()))
    return float(np.mean(shares))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data directory with a snapshot")
    parser.add_argument("--tags", type=int, default=120, help="at most so many a line")
    asked = parser.parse_args()
    engine = QueryEngine.open(Snapshot.open(DataDir(asked.data)))
    carriers = np.array(engine.tag_counts)
    rng = np.random.default_rng(0)
    print("| carried by | tags | found, v = 0 | found, v = 0.5 |\n|---|---|---|---|")
    for fewest, most in CARRIERS:
        tags = np.flatnonzero((carriers >= fewest) & (carriers <= most))
        if not len(tags):
            continue
        some = np.sort(rng.permutation(tags)[: asked.tags])
        cells = [f"{share_found(engine, some, stop):.2f}" for stop in STOPS]
        images = str(fewest) if fewest == most else f"{fewest} to {most:,}"
        print(f"| {images} | {len(tags):,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
