"""The default preset must beat what a user builds without a graph, on real drawings and real features.

547 OpenMoji drawings of four groups, rendered from the installed packages and encoded by the real
EfficientNet-lite0. They are cut into four parts; each is asked about, without tags, in an index of the other
three. Baselines are tuned on held-back parts of the index, exactly as `imsage evaluate` does.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.demo.drawings import Drawing, all_drawings
from app.demo.source import render
from gnn.encoders.base import EncoderSpec
from gnn.encoders.registry import image_encoder, text_encoder
from gnn.evaluation.grids import Grids
from gnn.evaluation.mlp import MlpConfig
from gnn.evaluation.protocol.contexts import filtered_rows
from gnn.evaluation.protocol.graded import graded_ndcg
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.systems import BaselineSystem, EngineSystem
from gnn.evaluation.tuning import fit_baselines
from gnn.graph_data import GraphData
from gnn.presets import DEFAULT
from gnn.query import QueryEngine
from gnn.reindex import build_index
from graph_store.arrays import BoolArray, Float32Array
from graph_store.image_table import ImageTable
from graph_store.records import ImageRecord, Tag
from tests.conftest import make_once
from tests.gnn.worlds import tag_edges, trained

GROUPS = frozenset({"activities", "animals & nature", "food & drink", "smileys & emotion"})
PARTS = 4
FEWEST_CARRIERS = 3  # a tag on fewer drawings says nothing about others
RESULTS = 10
MIDDLE = 0.5

# The full grids take minutes; these keep what won on drawings.
GRIDS = Grids(
    neighbours=(10, 20),
    raw_sharpness=(20.0,),
    whitenings=((256, 0.5),),
    white_sharpness=(10.0,),
    ridge_penalties=(0.3, 1.0, 3.0),
    idf_powers=(0.0, 0.5),
    concept_weights=(0.5, 0.7, 0.9),
    mlps=(MlpConfig(),),
)

# nDCG@10, measured over eight ways of cutting the drawings (seeds 0 to 7; the test makes the first): default
# 0.597 to 0.620, ahead of raw kNN by 0.167 to 0.191, of the votes by 0.017 to 0.053, of ridge by 0.013 to
# 0.040, of the MLP by -0.003 to 0.024 and of the best late fusion by -0.003 to 0.028: behind the last two on
# one cut of the eight. That was before the dial moved from its first steps on (decision 0002); since then it
# has 0.610 on the first cut and is ahead by 0.186, 0.038, 0.032 (whitened), 0.025, 0.019 and 0.023.
# What broken models reach on that cut: 0.21 trained on shuffled tags, 0.26 with the readout's values shuffled
# or zeroed, 0.436 with looks alone, 0.585 with a kernel three times too long, which is under ridge and MLP.
# The margins leave slack for changes that are no mistakes.
MARGINS = {"raw kNN": 0.15, "vote": 0.02, "whitened vote": 0.015, "ridge": 0.01, "MLP": 0.005}
MARGIN_OVER_LATE_FUSION = 0.005
FLOOR = 0.6


@dataclass(frozen=True)
class Drawn:
    """Features [n, 1280] and tags [n, t] of all drawings."""

    features: Float32Array
    tag_names: tuple[str, ...]
    tag_text: Float32Array
    carries: BoolArray


def chosen_drawings() -> list[Drawing]:
    return [drawing for drawing in all_drawings() if drawing.group in GROUPS]


def write_features(folder: Path) -> None:
    encoder = image_encoder("efficientnet_lite0", device="cpu")
    pictures = []
    for drawing in chosen_drawings():
        with Image.open(io.BytesIO(render(drawing.svg))) as picture:
            pictures.append(encoder.preprocess(picture.convert("RGB")))
    np.save(folder / "features.npy", encoder.encode(np.stack(pictures)))


@pytest.fixture(scope="session")
def drawn(shared_dir: Path) -> Drawn:
    folder = make_once(shared_dir / "drawings", write_features)
    tags = [{tag.lower() for tag in drawing.tags} for drawing in chosen_drawings()]
    counts = Counter(tag for each in tags for tag in each)
    names = tuple(sorted(tag for tag, count in counts.items() if count >= FEWEST_CARRIERS))
    carries = np.array([[name in each for name in names] for each in tags])
    words = text_encoder("minilm", device="cpu")
    return Drawn(np.load(folder / "features.npy"), names, words.encode_text(names), carries)


def indexed(drawn: Drawn, rows: np.ndarray) -> GraphData:
    records = [
        ImageRecord(
            id=str(number), tags=tuple(Tag(drawn.tag_names[t]) for t in np.flatnonzero(carried)), row=row
        )
        for row, (number, carried) in enumerate(zip(rows, drawn.carries[rows], strict=True))
    ]
    return GraphData(
        ImageTable.of(records),
        drawn.features[rows],
        drawn.tag_names,
        tag_edges(records, drawn.tag_names),
        drawn.tag_text,
        EncoderSpec("efficientnet_lite0", "", 1280, ""),
        EncoderSpec("minilm", "", 384, ""),
    )


@pytest.fixture(scope="session")
def ndcg_at_10(drawn: Drawn, shared_dir: Path) -> dict[str, float]:
    """Mean over all drawings as untagged queries, by system."""
    folder = make_once(shared_dir / "quality", lambda folder: measure(drawn, folder))
    means: dict[str, float] = json.loads((folder / "ndcg.json").read_text())
    return means


def measure(drawn: Drawn, folder: Path, seed: int = 0) -> None:
    part = np.random.default_rng(seed).permutation(len(drawn.features)) % PARTS
    values: dict[str, list[np.ndarray]] = {}
    for number in range(PARTS):
        rows, asked = np.flatnonzero(part != number), np.flatnonzero(part == number)
        tags, asked_tags = (TagTable.from_dense(drawn.carries[each]) for each in (rows, asked))
        queries = drawn.features[asked]
        data = indexed(drawn, rows)
        model = trained(data, folder / str(number), epochs=DEFAULT.epochs, seed=seed)
        system = EngineSystem(QueryEngine(build_index(model, data)))
        results = {"default": system.rows(system.image_queries(queries), MIDDLE, RESULTS)}
        for name, search in fit_baselines(data.features, tags, seed=seed, grids=GRIDS).searches.items():
            results[name] = BaselineSystem(search).rows(queries, RESULTS)
        results["one tag told"], results["hard filter"] = with_one_tag(
            system, data, queries, asked_tags, tags
        )
        for name, by_cut in graded_ndcg(results, asked_tags, tags, (RESULTS,)).items():
            values.setdefault(name, []).append(by_cut[RESULTS])
    means = {name: float(np.nanmean(np.concatenate(parts))) for name, parts in values.items()}
    (folder / "ndcg.json").write_text(json.dumps(means))


def with_one_tag(
    system: EngineSystem, data: GraphData, queries: Float32Array, asked: TagTable, tags: TagTable
) -> tuple[np.ndarray, np.ndarray]:
    """Results of the default and of filtering by the tag, each drawing with the first of its tags."""
    first = np.array([asked.tags_of(row)[0] if len(asked.tags_of(row)) else 0 for row in range(len(queries))])
    told = TagTable.from_pairs(np.arange(len(first)), first, len(first), tags.num_tags)
    found = system.rows(system.image_queries(queries, told, "mixed"), MIDDLE, RESULTS)
    carry = np.asarray(tags.matrix.tocsc()[:, first].toarray().T, dtype=np.float32)
    return found, filtered_rows(queries @ data.features.T, carry, RESULTS)


@pytest.mark.parametrize(("baseline", "margin"), MARGINS.items())
def test_the_default_preset_beats_a_simple_search(
    ndcg_at_10: dict[str, float], baseline: str, margin: float
) -> None:
    assert ndcg_at_10["default"] > ndcg_at_10[baseline] + margin, ndcg_at_10


def test_one_tag_told_beside_a_drawing_makes_its_results_better(ndcg_at_10: dict[str, float]) -> None:
    assert ndcg_at_10["one tag told"] > ndcg_at_10["default"] + 0.05, ndcg_at_10
    assert ndcg_at_10["one tag told"] > ndcg_at_10["hard filter"] + 0.05, ndcg_at_10


def test_the_default_preset_beats_the_best_late_fusion(ndcg_at_10: dict[str, float]) -> None:
    best = max(value for name, value in ndcg_at_10.items() if name.endswith("+ raw"))
    assert ndcg_at_10["default"] > best + MARGIN_OVER_LATE_FUSION, ndcg_at_10


def test_the_default_preset_ranks_about_as_well_as_when_it_was_measured(ndcg_at_10: dict[str, float]) -> None:
    assert ndcg_at_10["default"] > FLOOR, ndcg_at_10
