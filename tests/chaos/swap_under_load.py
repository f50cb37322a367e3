"""Swaps snapshots under readers and looks at every answer: no error, no mixture, nothing kept for nothing.

    python -m tests.chaos.swap_under_load --swaps 20

Two snapshots of one catalogue, made with different models, take turns; each swap writes its number into every
record. So an answer tells by its scores and by its records which snapshot each part of it came from. Readers
ask by picture, by tag, in words, by filter and page by page, and some follow a cursor after the next swaps.
Exits with 1 when an answer is an error or is not exactly what its own snapshot says.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from app.ingest.pipeline import ingest
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.image_table import ImageTable
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot, SnapshotWriter, prune
from graph_store.snapshot_files import number_of, versions
from tests.api.test_serve import started
from tests.shapes import all_shapes, is_test, write_shapes

KEEP = 3
HELD_IN_MEMORY = 3
"""The state that is served and two before it, for their cursors."""

_BASES = ("default", "paper")
_PAGE = 7
_PATIENCE_SECONDS = 120.0
_WORDS = "words"
_ROUNDED = 1e-5
"""How far scores of a question in words may differ: what else is asked meanwhile is read in the same call."""
_SET_BY_COMMIT = {"schema_version", "version", "created", "files"}

Answer = list[tuple[str, float]]
"""(id, score) of each hit."""


@dataclass
class Figures:
    """What was seen. Bytes are of all snapshots together, between two swaps."""

    swaps: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    followed_after_swaps: int = 0
    gone: int = 0
    versions_answered: int = 0
    most_on_disk: int = 0
    most_bytes: int = 0
    bytes_of_one: int = 0
    mapped_at_the_end: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "answers": dict(self.answers), "all_answers": self.answers.total()}


def questions() -> dict[str, dict[str, Any]]:
    """What is asked, by name."""
    indexed = [shape.id for shape in all_shapes() if not is_test(shape.id)]
    return {
        "picture": {"image": {"id": indexed[5]}, "limit": 12},
        "tags": {"tags": ["red", {"name": "star", "weight": -0.5}], "limit": 12},
        "both": {"image": {"id": indexed[40]}, "tags": ["circle"], "visual_weight": 0.3, "limit": 12},
        "filter": {
            "tags": ["blue"],
            "limit": 12,
            "filter": {"must": [{"key": "shape_group", "match": "round"}]},
        },
        "explained": {"image": {"id": indexed[9]}, "limit": 5, "explain": True},
        _WORDS: {"text": "something scarlet", "limit": 12},
    }


class World:
    """The data directory whose snapshot is swapped, and what each snapshot answers."""

    def __init__(self, data_dir: DataDir) -> None:
        self.data_dir = data_dir
        self._bases = [reindex(data_dir, preset, full=True) for preset in _BASES]
        self.aside = data_dir.root.parent / "bases"
        for base in self._bases:
            shutil.copytree(base.directory, self.aside / base.version)
        self.number = 0
        # Versions count on by one. A reader may meet a version before `swap` has returned, so what number it
        # has is told by its name.
        self._first = number_of(self._bases[-1].version) + 1
        self._expected: dict[int, dict[str, Answer]] = {}

    def swap(self) -> str:
        """Make the next snapshot current; returns its version."""
        base = self._bases[self.number % len(_BASES)]
        with self.data_dir.lock("swap"), SnapshotWriter(self.data_dir) as writer:
            for name in base.manifest["files"]:
                shutil.copyfile(self.aside / base.version / name, writer.path(name))
            with Catalog.open(self.data_dir.catalog_path) as catalog:
                records = list(catalog.records("train"))
            for record in records:
                record.attributes["swap"] = self.number
            RecordTable.write(writer.path("records"), ImageTable.of(records).fragments())
            told = {key: value for key, value in base.manifest.items() if key not in _SET_BY_COMMIT}
            made = writer.commit(told)
            assert self.number_of(made.version) == self.number
            prune(self.data_dir, KEEP)
        self.number += 1
        return made.version

    def number_of(self, version: str) -> int:
        """Which swap made that version."""
        return number_of(version) - self._first

    def learn(self, client: httpx.Client) -> None:
        """What the snapshot that is served now answers, asked while nothing else goes on."""
        answers = {name: client.post("/v1/search", json=body).json() for name, body in questions().items()}
        all_pages = client.post("/v1/search", json={**questions()["tags"], "limit": 3 * _PAGE}).json()
        (version,) = {answer["index_version"] for answer in [*answers.values(), all_pages]}
        self._expected[self.number_of(version) % len(_BASES)] = {
            name: hits_of(answer) for name, answer in {**answers, "pages": all_pages}.items()
        }

    def complaint(self, name: str, answer: Any, start: int = 0) -> str | None:
        """What is wrong with an answer to the question `name`, whose hits begin with the `start`-th."""
        number = self.number_of(answer["index_version"])
        expected = self._expected[number % len(_BASES)][name]
        hits = hits_of(answer)
        if not hits or not are_the_same(hits, expected[start : start + len(hits)], exactly=name != _WORDS):
            return f"{name}, swap {number}: {hits} in place of {expected}"
        told = {hit["attributes"]["swap"] for hit in answer["hits"]}
        return None if told == {number} else f"{name}, swap {number}: records of {told}"

    def is_kept(self, version: str) -> bool:
        """Whether a snapshot is on the disk."""
        return version in versions(self.data_dir)


def hits_of(answer: Any) -> Answer:
    """(id, score) of each hit."""
    return [(hit["id"], hit["score"]) for hit in answer["hits"]]


def are_the_same(hits: Answer, expected: Answer, *, exactly: bool) -> bool:
    """Whether an answer is the expected one. If not exactly, what scores the same may change places."""
    if exactly:
        return hits == expected
    pairs = zip(hits, expected, strict=False)
    return len(hits) == len(expected) and all(abs(one[1] - other[1]) < _ROUNDED for one, other in pairs)


class Reader(threading.Thread):
    """Asks until it is told to stop; the first wrong answer ends it."""

    def __init__(self, world: World, address: httpx.URL, seed: int, patient: bool) -> None:
        super().__init__(name=f"reader {seed}")
        self._world = world
        self._address = address
        self._random = random.Random(seed)
        self._patient = patient
        self.over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.followed = 0
        self.gone = 0
        self.versions: set[str] = set()
        self.wrong = ""

    def run(self) -> None:
        """Until `over`."""
        try:
            with httpx.Client(base_url=self._address, timeout=60, trust_env=False) as client:
                while not self.over.is_set() and not self.wrong:
                    if self._patient:
                        self._page_through(client)
                    else:
                        self._ask(client)
        except Exception as error:
            self.wrong = f"{type(error).__name__}: {error}"

    def _ask(self, client: httpx.Client) -> None:
        name, body = self._random.choice(list(questions().items()))
        response = client.post("/v1/search", json=body)
        if response.status_code != 200:
            self.wrong = f"{name}: {response.status_code} {response.text}"
            return
        self._take(name, response.json())

    def _page_through(self, client: httpx.Client) -> None:
        """Three pages of one answer, with a pause in which there may be swaps."""
        body = {**questions()["tags"], "limit": _PAGE}
        first = client.post("/v1/search", json=body).json()
        self._take("pages", first)
        answer = first
        for page in (1, 2):
            before = self._world.number
            self.over.wait(self._random.uniform(0, 2.0))
            response = client.post("/v1/search", json={**body, "cursor": answer["next_cursor"]})
            if response.status_code == 410:
                # It may go only when the disk does not have it any more.
                self.gone += 1
                if self._world.is_kept(first["index_version"]):
                    self.wrong = f"the cursor of {first['index_version']} is gone, which is there"
                return
            answer = response.json()
            if response.status_code != 200 or answer["index_version"] != first["index_version"]:
                self.wrong = f"page {page + 1}: {response.status_code} {response.text}"
                return
            self.followed += self._world.number > before
            self._take("pages", answer, start=page * _PAGE)

    def _take(self, name: str, answer: Any, start: int = 0) -> None:
        self.answers[name] += 1
        self.versions.add(answer["index_version"])
        self.wrong = self.wrong or self._world.complaint(name, answer, start) or ""


def swap_under_load(
    data_dir: DataDir,
    log: Path,
    swaps: int,
    *,
    readers: int,
    say: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> Figures:
    """Serve, read and swap; what was seen. Raises AssertionError for what must not be."""
    began = time.monotonic()
    figures = Figures(swaps=swaps)
    world = World(data_dir)
    world.swap()
    with started(data_dir.root, log, snapshot_poll_seconds=0.05, **settings) as (client, process):
        world.learn(client)
        wait_for(client, world.swap())
        world.learn(client)
        crowd = [Reader(world, client.base_url, seed, patient=seed % 2 == 1) for seed in range(readers)]
        for reader in crowd:
            reader.start()
        try:
            for number in range(swaps):
                wait_for(client, world.swap(), crowd)
                wait_until(partial(has_answered, crowd, answered(crowd) + 2 * readers), crowd)
                there = versions(data_dir)
                figures.most_on_disk = max(figures.most_on_disk, len(there))
                figures.most_bytes = max(figures.most_bytes, size_of(data_dir.snapshots_dir))
                say(f"{number + 1}/{swaps}: {there[-1]}")
        finally:
            for reader in crowd:
                reader.over.set()
            for reader in crowd:
                reader.join()
        assert not [reader.wrong for reader in crowd if reader.wrong], [reader.wrong for reader in crowd]
        figures.mapped_at_the_end = len(mapped_versions(process.pid))
    figures.answers = sum((reader.answers for reader in crowd), Counter())
    figures.followed_after_swaps = sum(reader.followed for reader in crowd)
    figures.gone = sum(reader.gone for reader in crowd)
    figures.versions_answered = len(set().union(*(reader.versions for reader in crowd)))
    figures.bytes_of_one = size_of(Snapshot.open(data_dir).directory)
    figures.seconds = time.monotonic() - began
    assert figures.most_on_disk <= KEEP
    assert figures.most_bytes <= KEEP * 1.1 * figures.bytes_of_one
    assert 0 < figures.mapped_at_the_end <= HELD_IN_MEMORY
    return figures


def answered(crowd: Sequence[Reader]) -> int:
    """How many answers the readers have taken together."""
    return sum(reader.answers.total() for reader in crowd)


def has_answered(crowd: Sequence[Reader], enough: int) -> bool:
    """Whether they have taken so many."""
    return answered(crowd) >= enough


def wait_for(client: httpx.Client, version: str, crowd: Sequence[Reader] = ()) -> None:
    """Until the service has moved to that version."""
    wait_until(lambda: client.get("/readyz").json()["index_version"] == version, crowd)


def wait_until(holds: Callable[[], bool], crowd: Sequence[Reader] = ()) -> None:
    """Until it holds, or a reader has met something wrong."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        wrong = [reader.wrong for reader in crowd if reader.wrong]
        assert not wrong, wrong
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def mapped_versions(process: int) -> set[str]:
    """The snapshots of which a process still maps files, also when their names are gone."""
    maps = Path(f"/proc/{process}/maps").read_text(encoding="utf-8")
    return set(re.findall(r"/snapshots/(\d{6}-[0-9a-f]{8})/", maps))


def size_of(directory: Path) -> int:
    """Bytes of all files below; one that goes meanwhile counts nothing."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--readers", type=int, default=6)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data_dir = DataDir(Path(folder) / "data")
        ingest(write_shapes(Path(folder) / "source"), data_dir)
        for preset in _BASES:
            train(data_dir, preset, epochs=2)
        try:
            figures = swap_under_load(
                data_dir,
                Path(folder) / "log",
                given.swaps,
                readers=given.readers,
                say=lambda line: print(line, flush=True),
            )
        except AssertionError as error:
            print(f"broken: {error}", file=sys.stderr)
            return 1
    print(json.dumps(figures.to_dict(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
