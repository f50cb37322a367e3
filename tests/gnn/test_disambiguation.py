"""One tag beside photos of two contexts finds different things (Misraa et al. 2020, Fig. 6)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gnn.evaluation.protocol.contexts import ContextQueries, context_queries
from gnn.evaluation.questions import Questions
from gnn.graph_data import load_graph_data
from gnn.query import Query, QueryEngine, QueryTag
from graph_store.arrays import BoolArray
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile

PHOTOS = Path(os.environ.get("IMSAGE_TEST_DATA", "../shared/data")) / "coco6k"
TAGS = ("mouse", "tie", "orange", "wine glass")
BESIDE = 1200  # as many photos without any of them

pytestmark = pytest.mark.skipif(
    not (PHOTOS / "tags.jsonl").exists(), reason=f"no photos in {PHOTOS} (set IMSAGE_TEST_DATA)"
)


def write_catalogue(folder: Path) -> Path:
    """tags.jsonl with every photo that carries one of TAGS, BESIDE of the other train photos, and all others
    of the test split.
    """
    lines = (PHOTOS / "tags.jsonl").read_text(encoding="utf-8").splitlines()
    chosen, beside = [], 0
    for line in lines:
        photo = json.loads(line)
        wanted = bool(set(TAGS) & set(photo["tags"])) or photo["split"] == "test"
        beside += not wanted
        if wanted or beside <= BESIDE:
            chosen.append(line)
    (folder / "images").symlink_to((PHOTOS / "images").resolve())
    source = folder / "tags.jsonl"
    source.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return source


@dataclass(frozen=True, eq=False)
class Asked:
    """pairs: of questions about TAGS; features: of the held-out photos; carries: [indexed, tags]."""

    engine: QueryEngine
    pairs: ContextQueries
    features: np.ndarray
    carries: BoolArray


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    from app.ingest.pipeline import ingest
    from gnn.reindex import reindex
    from gnn.training import train

    folder = tmp_path_factory.mktemp("photos")
    data_dir = DataDir(folder / "data")
    ingest(write_catalogue(folder), data_dir)
    train(data_dir, "default")
    engine = QueryEngine.open(reindex(data_dir))
    data = load_graph_data(data_dir)
    features = FeatureFile.open(data_dir.features_dir, data.encoder.slug, data.encoder.dim).view()
    with Catalog.open(data_dir.catalog_path) as catalog:
        held_out, indexed = list(catalog.records("test")), list(catalog.records("train"))
    questions = Questions.build(data.ids, data.tag_names, indexed, held_out, features)
    index = questions.known_index_tags
    pairs = context_queries(questions.known_query_tags, index, together=5, limit=10_000)
    named = np.isin(pairs.tags, [questions.tag_names.index(tag) for tag in TAGS])
    pairs = ContextQueries(pairs.tags[named], pairs.contexts[named], pairs.images[named])
    return Asked(engine, pairs, questions.query_features, index.dense())


def test_a_tag_beside_photos_of_two_contexts_finds_it_in_each(asked: Asked) -> None:
    engine, pairs, features, carries = asked.engine, asked.pairs, asked.features, asked.carries
    assert len({int(tag) for tag in pairs.tags}) == len(TAGS)
    with_tag, own, other, same = [], [], [], []
    for tag, contexts, images in zip(pairs.tags, pairs.contexts, pairs.images, strict=True):
        found = []
        for image in images:
            query = Query(images=features[image][None], tags=(QueryTag(engine.tag_names[tag]),))
            found.append(engine.search(engine.embed(query), 0.5, 10).rows)
        for rows, mine, theirs in zip(found, contexts, contexts[::-1], strict=True):
            with_tag.append(carries[rows, tag].mean())
            own.append(carries[rows, mine].mean())
            other.append(carries[rows, theirs].mean())
        same.append(len(set(found[0]) & set(found[1])) / 10)
    assert np.mean(with_tag) > 0.85
    assert np.mean(own) > 2 * np.mean(other)
    assert np.mean(same) < 0.4
