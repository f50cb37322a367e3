"""A short measurement for the demo: seconds, where `imsage evaluate` tunes every baseline for minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from gnn.evaluation.baselines import SearchBaseline, TagSpace, VotePredictor, Whitening
from gnn.evaluation.intervals import Interval, bootstrap
from gnn.evaluation.protocol.graded import graded_ndcg, mean_cosine
from gnn.evaluation.questions import Questions
from gnn.evaluation.systems import BaselineSystem, EngineSystem
from gnn.graph_data import load_graph_data
from gnn.query import QueryEngine
from graph_store.arrays import Int64Array
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.snapshot import Snapshot

STOPS = (0.0, 0.5, 1.0)
_RESULTS = 10
_VOTERS, _SHARPNESS = 20, 10.0


@dataclass(frozen=True)
class Measured:
    """By system: how much its first ten results are about the same (nDCG) and look the same (cosine)."""

    queries: int
    about: Mapping[str, Interval]
    looks: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "queries": self.queries,
            "systems": {
                name: {
                    f"ndcg@{_RESULTS}": self.about[name].mean,
                    f"cosine@{_RESULTS}": self.looks[name].mean,
                }
                for name in self.about
            },
        }

    def table(self) -> Table:
        """One line a system."""
        title = f"{self.queries} held-out drawings as queries, without their tags; first {_RESULTS} results"
        table = Table(title=title, title_justify="left", header_style="bold")
        table.add_column("search")
        table.add_column("about the same\n(tag nDCG, 95 %)", justify="right")
        table.add_column("look the same\n(feature cosine)", justify="right")
        for name, about in self.about.items():
            interval = f"{about.mean:.3f} ({about.low:.3f} to {about.high:.3f})"
            table.add_row(name, interval, f"{self.looks[name].mean:.3f}")
        return table


def measure_demo(data_dir: DataDir, snapshot: Snapshot) -> Measured:
    """The snapshot at three stops of the slider, beside a search by looks and a vote of the nearest images.

    The baselines have fixed settings here; `imsage evaluate` tunes them first.
    """
    data = load_graph_data(data_dir)
    with Catalog.open(data_dir.catalog_path) as catalog:
        held_out, indexed = list(catalog.records("test")), list(catalog.records("train"))
    features = FeatureFile.open(data_dir.features_dir, data.encoder.slug, data.encoder.dim).view()
    asked = Questions.build(data.ids, data.tag_names, indexed, held_out, features)

    index = asked.index_features
    whitening = Whitening.fit(index)
    vote = VotePredictor(whitening(index), asked.known_index_tags, _VOTERS, _SHARPNESS, whitening)
    space = TagSpace.build(asked.known_index_tags, 0.0)
    baselines = {
        "nearest by features": SearchBaseline(index),
        f"vote of the {_VOTERS} nearest": SearchBaseline(index, vote, space),
    }
    rows: dict[str, Int64Array] = {
        name: BaselineSystem(search).rows(asked.query_features, _RESULTS)
        for name, search in baselines.items()
    }
    engine = EngineSystem(QueryEngine.open(snapshot))
    vectors = engine.image_queries(asked.query_features)
    for stop in STOPS:
        rows[f"imsage, visual weight {stop:g}"] = engine.rows(vectors, stop, _RESULTS)

    about = graded_ndcg(rows, asked.query_tags, asked.index_tags, (_RESULTS,))
    looks = {name: mean_cosine(found, asked.query_features, index) for name, found in rows.items()}
    return Measured(
        queries=len(held_out),
        about={name: bootstrap(values[_RESULTS]) for name, values in about.items()},
        looks={name: bootstrap(values) for name, values in looks.items()},
    )
