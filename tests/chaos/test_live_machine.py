"""The whole live service against a dictionary and a search by brute force, over random histories.

Catalogue, delta and snapshot are the real ones behind the real HTTP application; the features of pictures are
brought along. Every answer is held against `tests.chaos.oracle`: exactly where the index is exact, and where
it is approximate every score exactly and 95 % of the ten best. `IMSAGE_CHAOS=1` makes it thousands of steps.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.catalogue_reader import CatalogueReader
from app.live.new_pictures import NewPicture
from app.live.writer import CatalogueWriter
from gnn.encoders.base import TextEncoder
from gnn.encoders.registry import text_encoder
from gnn.reindex import reindex
from gnn.trained_model import load_trained_model
from gnn.training import train
from graph_store import faiss_index, index_choice
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_bytes
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord, Tag
from graph_store.snapshot import Snapshot
from tests.api.conftest import service_of, serving
from tests.chaos.oracle import Asked, Oracle, Picture
from tests.conftest import make_once
from tests.copies import copy_of
from tests.gnn.worlds import SPEC, TAGS, drawn_features, drawn_tags, write_catalogue
from tests.hostile.fuzzing import CHAOS

NUM = 160
RERANKED = 40
EXACT = 2e-5
"""Scores are float32 cosines, told with six decimals."""

PATIENCE = 7200 if CHAOS else 300

COLOURS = ("red", "green", "Blue")
BASE_IDS = [f"image-{row}" for row in range(NUM)]
DRAWN = drawn_features(drawn_tags(24, seed=5), seed=5)

new_ids = st.sampled_from([f"new/{n} ü.png" for n in range(8)])
ids = st.one_of(st.sampled_from(BASE_IDS), new_ids)
weights = st.sampled_from([1.0, 0.5, 2.0])
known_tags = st.dictionaries(st.sampled_from(TAGS), weights, max_size=4)
"""Tags of the trained model; `new_tags` are also some that it has never seen."""
new_tags = st.dictionaries(st.sampled_from([*TAGS, "crimson", "zebra crossing"]), weights, max_size=4)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "area": st.integers(0, 9) | st.floats(0, 9).map(lambda number: round(number, 2)),
        "colour": st.sampled_from(COLOURS),
        "labels": st.lists(st.sampled_from(["a", "b"]), max_size=2),
    },
)
clauses = st.one_of(
    st.builds(lambda name: {"key": "tags", "match": name}, st.sampled_from([*TAGS, "Crimson", "none"])),
    st.builds(lambda names: {"key": "tags", "any": names}, st.lists(st.sampled_from(TAGS), min_size=1)),
    st.builds(lambda there: {"key": "tags", "exists": there}, st.booleans()),
    st.builds(lambda low: {"key": "area", "range": {"gte": low}}, st.integers(0, 9)),
    st.builds(lambda low, wide: {"key": "area", "range": {"gt": low, "lt": low + wide}},
              st.integers(0, 8), st.integers(1, 5)),
    st.builds(lambda colour: {"key": "colour", "match": colour}, st.sampled_from(COLOURS)),
    st.builds(lambda key, there: {"key": key, "exists": there},
              st.sampled_from(["area", "labels", "other"]), st.booleans()),
    st.builds(lambda label: {"key": "labels", "match": label}, st.sampled_from("ab")),
)  # fmt: skip
filters = st.none() | st.fixed_dictionaries(
    {}, optional={name: st.lists(clauses, max_size=2) for name in ("must", "should", "must_not")}
)
DIALS = (0.0, 0.3, 0.5, 1.0)
dials = st.sampled_from(DIALS)


def passes(picture: Picture, asked: Mapping[str, Any] | None) -> bool:
    """What a filter means, read off its description."""
    asked = asked or {}
    any_of = asked.get("should", [])
    return (
        all(holds(picture, clause) for clause in asked.get("must", []))
        and (not any_of or any(holds(picture, clause) for clause in any_of))
        and not any(holds(picture, clause) for clause in asked.get("must_not", []))
    )


def holds(picture: Picture, clause: Mapping[str, Any]) -> bool:
    if clause["key"] == "tags":
        names = {name.casefold() for name in picture.tags}
        if "exists" in clause:
            return bool(names) == clause["exists"]
        return bool(names & {name.casefold() for name in clause.get("any", [clause.get("match")])})
    value = picture.attributes.get(clause["key"])
    if "exists" in clause:
        return (value is not None and value != []) == clause["exists"]
    values = value if isinstance(value, list) else [value]
    if "match" in clause:
        return clause["match"] in values
    bounds = clause["range"]
    return any(
        each is not None
        and each >= bounds.get("gte", each)
        and (each > bounds["gt"] if "gt" in bounds else True)
        and (each < bounds["lt"] if "lt" in bounds else True)
        for each in values
    )


@dataclass
class Tally:
    """How many of the ten best were found, over all searches of a run, and how many searches there were."""

    found: int = 0
    wanted: int = 0
    searches: int = 0

    @property
    def recall(self) -> float:
        return self.found / max(self.wanted, 1)


@dataclass
class Seen:
    """A list of results that is being read page by page, begun when the catalogue was `at_first`."""

    body: dict[str, Any]
    cursor: str
    version: str
    shown: list[str]
    at_first: dict[str, Picture]


@dataclass(frozen=True)
class World:
    """Where a machine starts: a data directory, trained and indexed, and what it holds."""

    folder: Path
    pictures: Mapping[str, Picture]
    exact: bool
    encoder: TextEncoder
    tally: Tally = field(default_factory=Tally)


class LiveMachine(RuleBasedStateMachine):
    """`pictures` is the dictionary. Each snapshot on the disk has its oracle, and the set of ids that were
    written since it was made.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.root = Path(tempfile.mkdtemp())
        shutil.copytree(world.folder, self.root, dirs_exist_ok=True)
        self.data_dir = DataDir(self.root)
        self.pictures = dict(world.pictures)
        self.oracles: dict[str, Oracle] = {}
        self.changed: dict[str, set[str]] = {}
        self.seen: Seen | None = None
        self.choose = random.Random(0)
        self.reader = CatalogueReader(self.data_dir)
        self.stack = ExitStack()
        self.remember(Snapshot.open(self.data_dir))
        self.start()

    def start(self) -> None:
        # The machine itself says when to look for changes, so that a history can be repeated.
        self.client = self.stack.enter_context(serving(self.root, snapshot_poll_seconds=3600))
        self.states = service_of(self.client).states

    def teardown(self) -> None:
        self.stack.close()
        self.reader.close()
        shutil.rmtree(self.root)

    def remember(self, snapshot: Snapshot) -> None:
        self.version = snapshot.version
        self.oracles[self.version] = Oracle(snapshot.directory, self.pictures, self.world.encoder)
        self.changed[self.version] = set()
        assert sorted(self.oracles[self.version].ids) == sorted(self.pictures)

    def note(self, *image_ids: str) -> None:
        for changed in self.changed.values():
            changed.update(image_ids)

    # -- writing

    @rule(image_id=ids, number=st.integers(0, len(DRAWN) - 1), tags=new_tags, told=attributes)
    def upsert(self, image_id: str, number: int, tags: dict[str, float], told: dict[str, Any]) -> None:
        record = ImageRecord(
            image_id,
            tags=tuple(Tag(*tag) for tag in tags.items()),
            attributes=told,
            sha256=sha256_of_bytes(DRAWN[number].tobytes()),
        )
        # As another server process would.
        writer = CatalogueWriter(self.data_dir, self.reader)
        stored = writer.store([NewPicture(record, DRAWN[number][None], b"small", None)], SPEC)
        assert stored == {image_id: "replaced" if image_id in self.pictures else "created"}
        self.states.revise()
        self.pictures[image_id] = Picture(DRAWN[number], tags, told)
        self.note(image_id)

    @rule(image_id=ids, tags=st.none() | new_tags, told=st.none() | attributes, without=st.booleans())
    def describe(
        self, image_id: str, tags: dict[str, float] | None, told: dict[str, Any] | None, without: bool
    ) -> None:
        patch = None if told is None else {**told, **({"area": None} if without else {})}
        body: dict[str, Any] = {"attributes": patch}
        if tags is not None:
            body["tags"] = [{"name": name, "weight": weight} for name, weight in tags.items()]
        if patch is None:
            body = {"tags": body.get("tags", [])}
            tags = tags or {}
        response = self.client.patch(f"/v1/images/{_quoted(image_id)}", json=body)
        picture = self.pictures.get(image_id)
        if picture is None:
            assert response.status_code == 404
            return
        assert response.status_code == 200, response.text
        merged = {**picture.attributes, **(patch or {})}
        self.pictures[image_id] = replace(
            picture,
            tags=picture.tags if tags is None else tags,
            attributes={key: value for key, value in merged.items() if value is not None},
        )
        self.note(image_id)

    @rule(doomed=st.lists(ids, min_size=1, max_size=12, unique=True))
    def delete(self, doomed: list[str]) -> None:
        answer = self.client.post("/v1/images/delete", json={"ids": doomed}).json()
        there = [image_id for image_id in doomed if image_id in self.pictures]
        assert [each["status"] for each in answer["results"]] == [
            "deleted" if image_id in self.pictures else "missing" for image_id in doomed
        ]
        for image_id in there:
            del self.pictures[image_id]
        self.note(*there)

    @rule(kept=st.integers(0, 3))
    @precondition(lambda self: len(self.pictures) > 20)
    def delete_nearly_all(self, kept: int) -> None:
        doomed = sorted(self.pictures)[kept:]
        assert self.client.post("/v1/images/delete", json={"ids": doomed}).json()["deleted"] == len(doomed)
        self.pictures = {image_id: self.pictures[image_id] for image_id in sorted(self.pictures)[:kept]}
        self.note(*doomed)

    @rule()
    @precondition(lambda self: self.pictures)
    def reindex(self) -> None:
        snapshot = reindex(self.data_dir)
        if snapshot.version != self.version:
            self.remember(snapshot)
        self.states.refresh()
        for version in list(self.oracles):
            if not (self.data_dir.snapshots_dir / version).exists():
                del self.oracles[version], self.changed[version]

    @rule()
    def restart(self) -> None:
        self.stack.close()
        self.start()

    # -- asking

    @rule(
        image_id=ids,
        tags=known_tags.filter(bool),
        unwanted=st.booleans(),
        dial=dials,
        attach=st.sampled_from(["auto", "tags", "image"]),
        limit=st.integers(1, 30),
    )
    def search_by_both(
        self, image_id: str, tags: dict[str, float], unwanted: bool, dial: float, attach: str, limit: int
    ) -> None:
        tags = dict(tags)
        if unwanted and len(tags) > 1:
            tags[max(tags)] *= -0.5
        self.search(Asked(image_id, tags, attach, dial), limit, None)

    @rule(tags=known_tags.filter(bool), dial=dials, limit=st.integers(1, 40), asked_filter=filters)
    def begin_to_read(
        self, tags: dict[str, float], dial: float, limit: int, asked_filter: dict[str, Any] | None
    ) -> None:
        body = self.search(Asked(tags=tags, visual_weight=dial), limit, asked_filter)
        if body is not None and body["next_cursor"] is not None:
            asked = self.body(Asked(tags=tags, visual_weight=dial), limit, asked_filter)
            shown = [hit["id"] for hit in body["hits"]]
            self.seen = Seen(asked, body["next_cursor"], self.version, shown, dict(self.pictures))

    @rule(pages=st.integers(1, 8))
    @precondition(lambda self: self.seen is not None)
    def read_on(self, pages: int) -> None:
        seen = self.seen
        assert seen is not None
        for _ in range(pages):
            response = self.client.post("/v1/search", json={**seen.body, "cursor": seen.cursor})
            if seen.version not in self.oracles:
                # It may still be served from memory; if not, that is said.
                assert response.status_code in (200, 410)
                self.seen = None
                return
            assert response.status_code == 200, response.text
            answer = response.json()
            assert answer["index_version"] == seen.version
            seen.shown += [hit["id"] for hit in answer["hits"]]
            same = {i for i, picture in self.pictures.items() if seen.at_first.get(i) is picture}
            twice = [image_id for image_id in same if seen.shown.count(image_id) > 1]
            assert not twice
            if answer["next_cursor"] is None:
                wanted = {i for i in same if passes(self.pictures[i], seen.body.get("filter"))}
                missed = wanted - set(seen.shown)
                assert not missed if self.world.exact else len(missed) <= 0.05 * len(wanted)
                self.seen = None
                return
            seen.cursor = answer["next_cursor"]

    @rule(image_id=ids)
    def look_at(self, image_id: str) -> None:
        address = f"/v1/images/{_quoted(image_id)}"
        found, edges = self.client.get(address), self.client.get(f"{address}/neighbors")
        picture = self.pictures.get(image_id)
        if picture is None:
            assert (found.status_code, edges.status_code) == (404, 404)
            return
        told = found.json()
        assert {tag["name"]: tag["weight"] for tag in told["tags"]} == picture.tags
        assert told["attributes"] == picture.attributes and told["indexed"]
        shown = edges.json()
        assert {tag["name"]: tag["weight"] for tag in shown["tags"]} == picture.tags
        others = [edge["id"] for edge in shown["similar"]]
        assert set(others) <= set(self.pictures) - {image_id} and len(others) == len(set(others))

    # -- always

    @invariant()
    def counts_are_those_of_the_dictionary(self) -> None:
        told = self.client.get("/v1/index").json()
        assert told["counts"]["images"] == len(self.pictures)
        assert told["index_version"] == self.version
        counts: dict[str, int] = {}
        for picture in self.pictures.values():
            for name in picture.tags:
                counts[name] = counts.get(name, 0) + 1
        tags = self.client.get("/v1/tags", params={"limit": 1000}).json()["tags"]
        assert {tag["name"]: tag["count"] for tag in tags} == counts

    @invariant()
    def questions_are_answered_rightly(self) -> None:
        """Some of each kind after every step: most faults come of writing, and show in any question."""
        choose = self.choose
        written = sorted(self.changed[self.version] & set(self.pictures)) or BASE_IDS
        image = choose.choice(written if choose.random() < 0.5 else BASE_IDS)
        self.search(Asked(image=image, visual_weight=choose.choice(DIALS)), choose.choice([1, 10, 30]), None)
        tags = dict.fromkeys(choose.sample(TAGS, choose.randint(1, 3)), 1.0)
        asked_filter = choose.choice(
            [
                None,
                {"must_not": [{"key": "tags", "match": choose.choice(TAGS)}]},
                {"must": [{"key": "area", "range": {"gte": choose.randint(0, 8)}}]},
                {"should": [{"key": "colour", "match": "red"}, {"key": "tags", "exists": False}]},
            ]
        )
        self.search(Asked(tags=tags, visual_weight=choose.choice(DIALS)), 12, asked_filter)

    # -- inside

    def body(self, asked: Asked, limit: int, asked_filter: dict[str, Any] | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "limit": limit,
            "visual_weight": asked.visual_weight,
            "attach": asked.attach,
            "tags": [{"name": name, "weight": weight} for name, weight in asked.tags.items()],
        }
        if asked.image is not None:
            body["image"] = {"id": asked.image}
        if asked_filter is not None:
            body["filter"] = asked_filter
        return body

    def search(self, asked: Asked, limit: int, asked_filter: dict[str, Any] | None) -> dict[str, Any] | None:
        """Ask, and hold the answer against the oracle. None for a question that cannot be answered."""
        response = self.client.post("/v1/search", json=self.body(asked, limit, asked_filter))
        if asked.image is not None and asked.image not in self.pictures:
            assert response.status_code == 404
            return None
        oracle, changed = self.oracles[self.version], self.changed[self.version]
        if any(name not in oracle.tags for name in asked.tags) or response.status_code == 422:
            # A word that the snapshot does not know, or nothing left of the question at this end of the dial.
            assert response.status_code in (200, 422), response.text
            assert response.status_code == 200 or oracle.cancels(asked, self.pictures, changed), response.text
            return None
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        hits = answer["hits"]
        scores = oracle.scores(asked, self.pictures, changed)
        allowed = {
            image_id
            for image_id, picture in self.pictures.items()
            if image_id != asked.image and passes(picture, asked_filter)
        }
        found = [hit["id"] for hit in hits]
        assert len(found) == len(set(found)) == min(limit, len(allowed))
        assert set(found) <= allowed
        for hit in hits:
            expected = scores[hit["id"]]
            assert hit["visual"] == pytest.approx(expected.visual, abs=EXACT)
            assert hit["conceptual"] == pytest.approx(expected.conceptual, abs=EXACT)
            assert hit["score"] == hit["visual"] + hit["conceptual"]
            picture = self.pictures[hit["id"]]
            assert {tag["name"]: tag["weight"] for tag in hit["tags"]} == picture.tags
            assert hit["attributes"] == picture.attributes
        assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
        best = sorted((scores[image_id].total for image_id in allowed), reverse=True)
        if self.world.exact:
            assert [hit["score"] for hit in hits] == pytest.approx(best[: len(hits)], abs=EXACT)
        if limit >= 10 and len(best) > 10:
            self.world.tally.wanted += 10
            self.world.tally.found += sum(scores[each].total >= best[9] - EXACT for each in found[:10])
        self.world.tally.searches += 1
        return answer


def _quoted(image_id: str) -> str:
    return "".join(f"%{byte:02X}" for byte in image_id.encode())


def trained_world(shared_dir: Path, preset: str) -> Path:
    """A catalogue of features, trained and indexed; made once."""

    def make(folder: Path) -> None:
        chosen = drawn_tags(NUM, seed=3)
        records = [
            ImageRecord(
                BASE_IDS[row],
                row=row,
                tags=tuple(Tag(name) for name, shown in zip(TAGS, chosen[row], strict=True) if shown),
                attributes={"area": row % 10, "colour": COLOURS[row % 3]} if row % 7 else {},
            )
            for row in range(NUM)
        ]
        data_dir = write_catalogue(folder, records, drawn_features(chosen, seed=3))
        train(data_dir, preset, epochs=1)
        directory = data_dir.models_dir / preset
        model = load_trained_model(directory)
        if model.hashing is not None:
            # So few that the codes have something to choose.
            replace(model, hashing=replace(model.hashing, reranked=RERANKED)).save(directory)
        reindex(data_dir)

    return make_once(shared_dir / f"machine-{preset}", make)


def held(folder: Path) -> dict[str, Picture]:
    """What a data directory of `trained_world` holds."""
    data_dir = DataDir(folder)
    with Catalog.open(data_dir.catalog_path) as catalog:
        features = FeatureFile.open(data_dir.features_dir, SPEC.slug, SPEC.dim).view()
        return {
            record.id: Picture(
                np.array(features[record.row]),
                {tag.name: tag.weight for tag in record.tags},
                record.attributes,
            )
            for record in catalog.records()
        }


def run(world: World, histories: int, steps: int) -> Tally:
    """So many histories of so many steps each; many more where time is no matter."""
    run_state_machine_as_test(
        lambda: LiveMachine(world),
        settings=settings(
            max_examples=max(histories, round(30 * CHAOS * histories)),
            stateful_step_count=3 * steps if CHAOS else steps,
            deadline=None,
            # Few histories are the same ones each time: looking for new ones is what the many are for.
            derandomize=not CHAOS,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    return world.tally


@pytest.fixture(scope="session")
def encoder() -> TextEncoder:
    return text_encoder()


@pytest.mark.timeout(PATIENCE)
def test_a_live_catalogue_answers_as_brute_force_does(shared_dir: Path, encoder: TextEncoder) -> None:
    folder = trained_world(shared_dir, "default")
    tally = run(World(folder, held(folder), True, encoder), histories=2, steps=16)
    assert tally.searches > 10 and tally.recall == 1.0


@pytest.mark.timeout(PATIENCE)
def test_a_walk_through_links_finds_nearly_all_that_brute_force_does(
    shared_dir: Path, tmp_path: Path, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a large catalogue: links instead of a scan, also for filters and removed pictures.
    monkeypatch.setattr(index_choice, "FLAT_BELOW", 0)
    monkeypatch.setattr(faiss_index, "SCAN_ALLOWED_UP_TO", 8)
    folder = tmp_path / "hnsw"
    copy_of(trained_world(shared_dir, "default"), folder)
    reindex(DataDir(folder), full=True)
    tally = run(World(folder, held(folder), False, encoder), histories=2, steps=9)
    assert tally.searches > 10 and tally.recall >= 0.95


@pytest.mark.timeout(PATIENCE)
def test_codes_find_nearly_all_that_brute_force_does(shared_dir: Path, encoder: TextEncoder) -> None:
    folder = trained_world(shared_dir, "hash")
    tally = run(World(folder, held(folder), False, encoder), histories=2, steps=10)
    assert tally.searches > 10 and tally.recall >= 0.95
