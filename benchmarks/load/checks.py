"""What must hold of every answer that was given while pictures came, went and were indexed anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from benchmarks.load.clients import Asked
from benchmarks.load.questions import Asking
from benchmarks.load.writer import Written
from gnn.query import Query, QueryEngine
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot

SCORED = 500
_NOISE = 2e-5


class Served:
    """One snapshot as it lies on the disk."""

    def __init__(self, data_dir: DataDir, version: str) -> None:
        snapshot = Snapshot.open(data_dir, version, verify=False)
        self.engine = QueryEngine.open(snapshot, None)
        self._records = RecordTable.open(snapshot.path("records"))

    def shows(self, image_id: str) -> dict[str, Any] | None:
        """What a hit of this picture shows; None when the snapshot does not have it."""
        row = self.engine.row_of(image_id)
        if row is None:
            return None
        shown: dict[str, Any] = json.loads(self._records.fragment(row))
        return shown

    def score(self, asked: str, found: str) -> float:
        """What the one picture scores as a result of the other, of this snapshot's vectors."""
        row, other = self.engine.row_of(asked), self.engine.row_of(found)
        assert row is not None and other is not None
        vectors = self.engine.embed(Query(images=None, indexed_row=row))
        image = self.engine.image_vectors(np.array([other]))[0]
        return float((vectors.parts(0.5) @ image).sum())


def wrong_answers(
    data_dir: DataDir,
    questions: Sequence[Asking],
    sure: Sequence[int],
    asked: Sequence[Asked],
    written: Written,
) -> list[str]:
    """What is wrong with the answers, in words; nothing should be. asked: in order of their ends; sure: for
    each question how many results there are at least.

    Each hit is a picture of the snapshot that the answer names, or was stored since, and is shown as that
    snapshot knows it; it passes the filter; and it was not deleted before the question was asked. Nobody is
    answered by an older snapshot than somebody before. For some answers the scores are computed again.
    """

    @cache
    def served(version: str) -> Served | None:
        try:
            return Served(data_dir, version)
        except ImsageError:
            return None

    wrong: list[str] = []
    newest = _Newest()
    step = max(1, len(asked) // SCORED)
    for place, one in enumerate(asked):
        if one.status != 200:
            wrong.append(f"status {one.status}: {one.body[:300].decode(errors='replace')}")
            continue
        question, answer = questions[one.number], json.loads(one.body)
        version = answer["index_version"]
        snapshot = served(version)
        if snapshot is None:
            wrong.append(f"there is no snapshot {version}")
            continue
        if not newest.may_answer(version, one):
            wrong.append(f"{version} answered a question that was asked after a newer one had answered")
        for hit in answer["hits"]:
            problem = _problem(hit, question, one, snapshot, written)
            if problem:
                wrong.append(f"{version}, asked for {question.image_id}: {hit['id']} {problem}")
            elif place % step == 0 and hit["id"] not in written.stored:
                score = snapshot.score(question.image_id, hit["id"])
                if abs(score - hit["score"]) > _NOISE:
                    wrong.append(f"{version}: {hit['id']} scores {hit['score']}, not {score}")
        if len(answer["hits"]) < sure[one.number]:
            wrong.append(f"{len(answer['hits'])} hits for {question}, not {sure[one.number]}")
    return wrong


class _Newest:
    """Since when there are answers of which snapshot. Versions sort by age."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def may_answer(self, version: str, one: Asked) -> bool:
        self._since.setdefault(version, one.ended)
        return not any(newer > version and since < one.began for newer, since in self._since.items())


def _problem(
    hit: dict[str, Any], question: Asking, one: Asked, snapshot: Served, written: Written
) -> str | None:
    name = hit["id"]
    if written.deleted.get(name, float("inf")) < one.began:
        return "was deleted before"
    if name == question.image_id:
        return "is what was asked for"
    if not question.admits(hit["attributes"], [tag["name"] for tag in hit["tags"]]):
        return "does not pass the filter"
    if hit["score"] != hit["visual"] + hit["conceptual"]:
        return "has a score that is not the sum of its parts"
    shown = snapshot.shows(name)
    if shown is None:
        return None if written.stored.get(name, float("inf")) < one.ended else "is not in this snapshot"
    if name not in written.stored and any(hit[key] != value for key, value in shown.items()):
        return f"is shown as {hit}, not {shown}"
    return None
